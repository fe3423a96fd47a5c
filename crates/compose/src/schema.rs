//! The one table of keys: what each takes, what becomes of it, and how two of them are merged.
//!
//! The rows are in [`app`], [`service`], [`deploy`] and [`roads`]. From them come the checks, the
//! hints, the normal form, the rules of merging, the warnings, and for others [`keys`].

mod app;
mod deploy;
mod editor;
mod public;
mod roads;
mod service;

pub(crate) use app::APP;
pub use editor::roads_schema;
pub use public::{Engine, Key, Kind, Standing, keys};
pub(crate) use service::SERVICE;

/// The shape of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Any,
    One(Scalar),
    /// Words, or a line that is split into words; nothing clears it.
    Command,
    /// `healthcheck.test`.
    Test,
    /// `NAME: value`, or a list of `NAME=value`.
    Assignments(Unset, &'static Shape),
    /// `extra_hosts`.
    Hosts,
    List(&'static Shape, Unique),
    /// A list, or one item of it.
    OneOrMany(&'static Shape, Unique),
    Table(&'static Table),
    /// A mapping in which people choose the names.
    Named(Names, &'static Shape),
    /// A list of names, or a mapping of them.
    NamesOr(Alone, &'static Shape),
    /// A mapping, or a shorter form of it.
    Short(Short, &'static Table),
    /// `gpus`: a list of requests for devices, or `all`.
    Gpus(&'static Shape),
    /// `external`: a flag, or in its old form a mapping with a name.
    External,
}

/// A value that is one word, number or flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar {
    Text,
    /// Text or a number, kept as text.
    Quantity,
    /// Text, a number or a flag, kept as text.
    Word,
    Flag,
    /// A whole number within these bounds.
    Whole(i64, i64),
    Number,
    Duration,
    Bytes,
    /// Bytes, or -1 for no limit.
    Swap,
    /// Permission bits: a number, or octal digits.
    Mode,
    /// A number of devices, or `all`, which is -1.
    Devices,
    /// A path of this machine; made absolute.
    Path,
    /// A folder to build from, or where one is fetched from; made absolute.
    Context,
    /// A port of this machine, or a range of them.
    Published,
    /// A port or a range of them, and perhaps a protocol.
    Exposed,
    Address,
    Choice(&'static [&'static str]),
    /// Text that these words describe, if this says that it is so.
    Like(fn(&str) -> bool, &'static str),
}

/// What a name without a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// The empty text.
    Empty,
    /// What the environment has under this name.
    Environment,
}

/// Which names people may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Any,
    /// Letters, digits, `.`, `_` and `-`.
    Resource,
}

/// What a name in a list says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    Nothing,
    /// `condition: service_started`.
    Started,
}

/// The shorter forms of mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    Activation,
    Build,
    Device,
    EnvFile,
    Extends,
    FileMount,
    Include,
    Mount,
    Port,
    Ulimit,
}

impl Short {
    /// Whether the short form is the value of one key of the mapping, whatever it says.
    pub(crate) fn is_of_one_key(self) -> bool {
        match self {
            Self::Activation
            | Self::Build
            | Self::EnvFile
            | Self::Extends
            | Self::FileMount
            | Self::Include => true,
            Self::Device | Self::Mount | Self::Port | Self::Ulimit => false,
        }
    }
}

/// When two items of a list are one; the later counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unique {
    /// Never.
    Any,
    /// Never, and two that are equal are an error.
    Once,
    /// When they are equal.
    Whole,
    /// When what stands before `=` is equal.
    Name,
    /// When this key of theirs is equal.
    Key(&'static str),
    /// When their targets are equal; without one, it is this folder and the source.
    File(&'static str),
    Port,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Honour {
    /// What the specification says.
    Full,
    /// What the specification says, on these engines.
    On(&'static [Engine]),
    /// Nothing; a warning says what happens instead.
    Ignored,
    /// The file would mean something else without it, so it is an error; a hint says what to do.
    Refused,
}

/// A key of one kind of mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) honour: Honour,
    /// What happens instead, what to do, or what it means.
    pub(crate) note: &'static str,
    pub(crate) presence: Presence,
}

/// Whether a key must be there once all files are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Optional,
    Required,
    /// It has this value when it is not there.
    Flag(bool),
    /// It has this value when it is not there.
    Text(&'static str),
}

impl Row {
    const fn ignored(self, note: &'static str) -> Self {
        let honour = Honour::Ignored;
        Self {
            honour,
            note,
            ..self
        }
    }

    const fn on(self, engines: &'static [Engine], note: &'static str) -> Self {
        let honour = Honour::On(engines);
        Self {
            honour,
            note,
            ..self
        }
    }

    const fn refused(self, note: &'static str) -> Self {
        let honour = Honour::Refused;
        Self {
            honour,
            note,
            ..self
        }
    }

    const fn noted(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    const fn presence(self, presence: Presence) -> Self {
        Self { presence, ..self }
    }

    const fn required(self) -> Self {
        self.presence(Presence::Required)
    }
}

const fn whole(least: i64, most: i64) -> Shape {
    Shape::One(Scalar::Whole(least, most))
}

const fn choice(words: &'static [&'static str]) -> Shape {
    Shape::One(Scalar::Choice(words))
}

const fn row(name: &'static str, shape: Shape) -> Row {
    Row {
        name,
        shape,
        honour: Honour::Full,
        note: "",
        presence: Presence::Optional,
    }
}

/// The keys that one kind of mapping may have.
#[derive(Debug)]
pub(crate) struct Table {
    /// What such a mapping is called in messages.
    pub(crate) of: &'static str,
    /// Sorted, since they are searched.
    pub(crate) rows: &'static [Row],
    pub(crate) empty: Empty,
    /// Of two that differ in this key, the later counts and nothing is merged.
    pub(crate) same: Option<&'static str>,
    /// Whose mapping it is; those that are ours have no keys that begin with `x-`.
    pub(crate) grammar: Grammar,
}

/// What a mapping without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// It is an error, as everywhere.
    Wrong,
    /// It is there, and says nothing.
    Nothing,
}

/// Who says which keys there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grammar {
    /// The Compose specification.
    Compose,
    /// We: `x-roads`.
    Roads,
}

impl Table {
    const fn new(of: &'static str, rows: &'static [Row]) -> Self {
        Self {
            of,
            rows,
            empty: Empty::Wrong,
            same: None,
            grammar: Grammar::Compose,
        }
    }

    const fn or_nothing(self) -> Self {
        let empty = Empty::Nothing;
        Self { empty, ..self }
    }

    const fn merged_if_same(self, key: &'static str) -> Self {
        let same = Some(key);
        Self { same, ..self }
    }

    const fn ours(self) -> Self {
        let grammar = Grammar::Roads;
        Self { grammar, ..self }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Row> {
        let found = self.rows.binary_search_by(|row| row.name.cmp(name));
        self.rows.get(found.ok()?)
    }

    /// The shape of a key's value; that of an unknown one is any.
    pub(crate) fn shape(&self, name: &str) -> &'static Shape {
        self.find(name).map_or(&Shape::Any, |row| &row.shape)
    }
}

const TEXT: Shape = Shape::One(Scalar::Text);
const QUANTITY: Shape = Shape::One(Scalar::Quantity);
const WORD: Shape = Shape::One(Scalar::Word);
const FLAG: Shape = Shape::One(Scalar::Flag);
const NUMBER: Shape = Shape::One(Scalar::Number);
const DURATION: Shape = Shape::One(Scalar::Duration);
const BYTES: Shape = Shape::One(Scalar::Bytes);
const SWAP: Shape = Shape::One(Scalar::Swap);
const MODE: Shape = Shape::One(Scalar::Mode);
const DEVICES: Shape = Shape::One(Scalar::Devices);
const PATH: Shape = Shape::One(Scalar::Path);
const CONTEXT: Shape = Shape::One(Scalar::Context);
const PUBLISHED: Shape = Shape::One(Scalar::Published);
const EXPOSED: Shape = Shape::One(Scalar::Exposed);
const ADDRESS: Shape = Shape::One(Scalar::Address);
const COUNT: Shape = whole(0, i64::MAX);
const INTEGER: Shape = whole(i64::MIN, i64::MAX);
const TEXTS: Shape = Shape::List(&TEXT, Unique::Whole);
const TEXTS_ONCE: Shape = Shape::List(&TEXT, Unique::Once);
const TEXT_OR_TEXTS: Shape = Shape::OneOrMany(&TEXT, Unique::Whole);
const ASSIGNMENTS: Shape = Shape::Assignments(Unset::Empty, &WORD);
const ENVIRONMENT: Shape = Shape::Assignments(Unset::Environment, &WORD);
/// Options of a driver: a mapping of names to texts and numbers.
const OPTIONS: Shape = Shape::Named(Names::Any, &WORD);
