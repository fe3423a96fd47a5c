//! The table of keys for others: the documentation, the JSON schema, the tests.

use super::{APP, Honour, Presence, Scalar, Shape, Table};

/// An engine that runs instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Ours.
    Embedded,
    /// Docker, and Podman's compatible API.
    Docker,
}

/// What becomes of a key, for the people who write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What the specification says.
    Honoured,
    /// What the specification says, on these engines; on others a warning says what happens.
    HonouredOn(&'static [Engine]),
    /// Nothing; a warning says what happens instead.
    Warned,
    /// The file is refused; a hint says what to do.
    Refused,
}

/// What a key takes as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A length of time, as `1m30s`.
    Duration,
    /// A number of bytes, as `512m`.
    Bytes,
    /// A path of this machine.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A command: words, or a line that is split into words.
    Command,
    /// A list of texts.
    Texts,
    /// One text, or a list of them.
    TextOrTexts,
    /// `NAME: value`, or a list of `NAME=value`.
    Assignments,
    /// A list of items; their keys, if they have some, are below `KEY[]`.
    List,
    /// A mapping; its keys are below this one, or below `KEY.*` where people choose the names.
    Mapping,
    /// One text, or a mapping as above.
    TextOrMapping,
    /// A list of names, or a mapping as above.
    NamesOrMapping,
}

/// One key of the Compose specification or of `x-roads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands, as `services.*.ports[].target`.
    pub path: String,
    /// What it takes.
    pub kind: Kind,
    /// Whether its mapping is wrong without it.
    pub required: bool,
    /// What becomes of it.
    pub standing: Standing,
    /// What happens instead, what to do, or what it means where that is ours to say.
    pub note: &'static str,
}

/// Every key, a mapping before its own keys. What is below a key that is not honoured is not
/// honoured either.
pub fn keys() -> impl Iterator<Item = Key> {
    let mut keys = Vec::new();
    below("", &APP, &mut keys);
    keys.into_iter()
}

fn below(prefix: &str, table: &Table, keys: &mut Vec<Key>) {
    for row in table.rows {
        let path = format!("{prefix}{}", row.name);
        keys.push(Key {
            path: path.clone(),
            kind: row.shape.kind(),
            required: row.presence == Presence::Required,
            standing: match row.honour {
                Honour::Full => Standing::Honoured,
                Honour::On(engines) => Standing::HonouredOn(engines),
                Honour::Ignored => Standing::Warned,
                Honour::Refused => Standing::Refused,
            },
            note: row.note,
        });
        inside(&path, &row.shape, keys);
    }
}

/// The keys of the mappings that a value of this shape holds.
fn inside(path: &str, shape: &Shape, keys: &mut Vec<Key>) {
    match shape {
        Shape::Table(table) | Shape::Short(_, table) => below(&format!("{path}."), table, keys),
        Shape::NamesOr(_, item) | Shape::Named(_, item) => inside(&format!("{path}.*"), item, keys),
        Shape::List(item, _) | Shape::OneOrMany(item, _) | Shape::Gpus(item) => {
            inside(&format!("{path}[]"), item, keys);
        }
        Shape::Any
        | Shape::One(_)
        | Shape::Command
        | Shape::Test
        | Shape::Assignments(..)
        | Shape::Hosts
        | Shape::External => {}
    }
}

impl Shape {
    /// As others know it.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Any => Kind::Any,
            Self::One(scalar) => scalar.kind(),
            Self::External => Kind::Flag,
            Self::Command | Self::Test => Kind::Command,
            Self::Assignments(..) | Self::Hosts => Kind::Assignments,
            Self::List(item, _) | Self::OneOrMany(item, _)
                if matches!(item, Self::Table(_) | Self::Short(..)) =>
            {
                Kind::List
            }
            Self::List(..) => Kind::Texts,
            Self::OneOrMany(..) => Kind::TextOrTexts,
            Self::Gpus(_) => Kind::List,
            Self::Table(_) | Self::Named(..) => Kind::Mapping,
            Self::NamesOr(..) => Kind::NamesOrMapping,
            Self::Short(..) => Kind::TextOrMapping,
        }
    }
}

impl Scalar {
    fn kind(&self) -> Kind {
        match self {
            Self::Text
            | Self::Quantity
            | Self::Word
            | Self::Mode
            | Self::Devices
            | Self::Published
            | Self::Exposed
            | Self::Like(..)
            | Self::Address => Kind::Text,
            Self::Flag => Kind::Flag,
            Self::Whole(..) => Kind::Whole,
            Self::Number => Kind::Number,
            Self::Duration => Kind::Duration,
            Self::Bytes | Self::Swap => Kind::Bytes,
            Self::Path | Self::Context => Kind::Path,
            Self::Choice(words) => Kind::Choice(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(table: &Table) {
        assert!(table.rows.is_sorted_by_key(|row| row.name), "{}", table.of);
        for row in table.rows {
            tables(&row.shape);
        }
    }

    fn tables(shape: &Shape) {
        match shape {
            Shape::Table(table) | Shape::Short(_, table) => sorted(table),
            Shape::List(item, _)
            | Shape::OneOrMany(item, _)
            | Shape::Gpus(item)
            | Shape::NamesOr(_, item)
            | Shape::Named(_, item) => tables(item),
            Shape::Any
            | Shape::One(_)
            | Shape::Command
            | Shape::Test
            | Shape::Assignments(..)
            | Shape::Hosts
            | Shape::External => {}
        }
    }

    #[test]
    fn every_table_is_sorted() {
        sorted(&APP);
    }

    #[test]
    fn what_is_not_honoured_says_what_happens() {
        for key in keys() {
            let says = !key.note.is_empty();
            assert!(says || key.standing == Standing::Honoured, "{}", key.path);
        }
    }
}
