//! Values in their long forms, each checked against the table of keys.
//!
//! After this a command is a list of words, a size is a number of bytes, a path is absolute, and
//! of all the ways to write a port there is one. What is wrong is reported and the value broken,
//! so that one run reports all. Null values and templates that are kept pass through.

mod collection;
mod port;
mod scalar;
mod short;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use text::{Finding, Findings, Node, Span, Tag, Value};

use crate::load::Variables;
use crate::schema::Shape;

pub(crate) use collection::united;
pub(crate) use port::{port_number, range};
pub(crate) use scalar::{choice_help, octal};

/// What the values of a file depend on.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Which it is: each included app has its own.
    pub(crate) number: usize,
    /// What relative paths are relative to; absolute.
    pub(crate) directory: PathBuf,
    /// What `${VARIABLE}` stands for.
    pub(crate) environment: Rc<BTreeMap<String, String>>,
    pub(crate) variables: Variables,
}

/// How values become long.
pub(crate) struct Normalise<'a> {
    pub(crate) findings: &'a mut Findings,
    pub(crate) scope: &'a Scope,
    /// How many ports were read from ranges; a short text can name very many.
    pub(crate) ports: &'a mut usize,
}

/// What a value is called in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What<'a> {
    Key(&'a str),
    ItemOf(&'a str),
    /// As it is.
    The(&'a str),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::ItemOf(key) => write!(f, "each item of `{key}`"),
            Self::The(what) => f.write_str(what),
        }
    }
}

impl What<'_> {
    fn item(&self) -> What<'_> {
        let (Self::Key(key) | Self::ItemOf(key) | Self::The(key)) = self;
        What::ItemOf(key)
    }
}

impl Normalise<'_> {
    /// A value of this shape in its long form.
    pub(crate) fn value(&mut self, node: Node, shape: &Shape, what: What<'_>) -> Node {
        let tag = node.tag;
        let as_it_is =
            matches!(node.value, Value::Null | Value::Broken) || self.is_template(&node, shape);
        let node = match tag {
            Tag::Reset => Node::null(node.span),
            Tag::None | Tag::Override if as_it_is => node,
            Tag::None | Tag::Override => self.shaped(node, shape, what),
        };
        Node { tag, ..node }
    }

    /// Whether it is a text with a variable that stays, where that says nothing of its form.
    fn is_template(&self, node: &Node, shape: &Shape) -> bool {
        let has_form = match shape {
            Shape::OneOrMany(..) => true,
            Shape::Short(short, _) => short.is_of_one_key(),
            Shape::Any
            | Shape::One(_)
            | Shape::Command
            | Shape::Test
            | Shape::Assignments(..)
            | Shape::Hosts
            | Shape::List(..)
            | Shape::Table(_)
            | Shape::Named(..)
            | Shape::NamesOr(..)
            | Shape::Gpus(_)
            | Shape::External => false,
        };
        self.scope.variables == Variables::Kept
            && !has_form
            && node.as_text().is_some_and(|text| text.contains('$'))
    }

    fn shaped(&mut self, node: Node, shape: &Shape, what: What<'_>) -> Node {
        match shape {
            Shape::Any => node,
            Shape::Command => self.command(node, what),
            Shape::Test => self.test(node, what),
            Shape::Assignments(unset, value) => self.assignments(node, *unset, value, what),
            Shape::Hosts => self.hosts(node, what),
            Shape::List(item, unique) => self.list(node, item, *unique, what),
            Shape::OneOrMany(item, unique) => self.one_or_many(node, item, *unique, what),
            Shape::Table(table) => self.table(node, table, what),
            Shape::Named(names, value) => self.named(node, *names, value, what),
            Shape::NamesOr(alone, value) => self.names_or(node, *alone, value, what),
            Shape::Short(short, table) => {
                let span = node.span;
                let long = self.short(node, *short, table, what).into_iter().next();
                long.unwrap_or_else(|| Node::broken(span))
            }
            Shape::Gpus(item) => self.gpus(node, item, what),
            Shape::External => self.external(node, what),
            Shape::One(scalar) => self.scalar(node, *scalar, what),
        }
    }

    /// Reports that a value is not of its type; nothing when it is known to be broken.
    fn wrong_type(&mut self, node: &Node, what: What<'_>, wanted: Wanted) -> Node {
        if node.value != Value::Broken {
            let is_scalar = node.as_text().is_none() && node.scalar().is_some();
            let help = if is_scalar && wanted.takes_text() {
                let written = self.findings.sources.slice(node.span);
                format!("write it in quotes: \"{written}\"")
            } else {
                wanted.help().to_owned()
            };
            let finding = Finding::error(node.span, format!("{what} must be {wanted}"))
                .because(format!("this is {}", node.kind()))
                .help(help);
            self.findings.push(finding);
        }
        Node::broken(node.span)
    }

    /// Reports a value of the right type that does not do.
    fn invalid(&mut self, node: &Node, what: impl fmt::Display, why: impl fmt::Display) -> Node {
        self.findings.invalid(node, what, why);
        Node::broken(node.span)
    }

    fn narrow(&self, node: &Node, part: &str) -> Span {
        node.span.narrow(&self.findings.sources, part)
    }
}

/// What a key wants as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Text,
    TextOrList,
    TextOrMapping,
    List,
    ListOrMapping,
    Mapping,
    Number,
    WholeNumber,
    Flag,
}

impl Wanted {
    fn takes_text(self) -> bool {
        matches!(self, Self::Text | Self::TextOrList | Self::TextOrMapping)
    }

    /// How to write one.
    fn help(self) -> &'static str {
        match self {
            Self::Text => "write one text here",
            Self::TextOrList => "write one text, or several as [a, b]",
            Self::TextOrMapping => "write one text, or its parts as { key: value }",
            Self::List => "write it as [a, b], or each item on a line of its own after `- `",
            Self::ListOrMapping => "write it as [a, b] or { key: value }",
            Self::Mapping => "write it as { key: value }, or each `key: value` on a line below",
            Self::Number => "write it in digits",
            Self::WholeNumber => "write it in digits, without a fraction",
            Self::Flag => "write true or false",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::TextOrList => "text or a list of texts",
            Self::TextOrMapping => "text or a mapping",
            Self::List => "a list",
            Self::ListOrMapping => "a list or a mapping",
            Self::Mapping => "a mapping",
            Self::Number => "a number",
            Self::WholeNumber => "a whole number",
            Self::Flag => "true or false",
        })
    }
}

/// An absolute path without `.`, `..` and doubled slashes, from `path` as seen from `base`.
pub(crate) fn absolute(base: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in base.join(path).components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(part) => clean.push(part),
        }
    }
    clean
}
