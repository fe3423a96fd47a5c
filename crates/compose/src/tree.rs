//! A document as a tree of values, each with its place in the text.

use std::collections::BTreeMap;

use crate::source::Span;

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a document holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Something that was wrong and is reported; whoever reads it says nothing more.
    Broken,
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) text: String,
}

impl Node {
    pub(crate) fn null(span: Span) -> Self {
        Self {
            span,
            value: Value::Null,
        }
    }

    pub(crate) fn text(span: Span, text: impl Into<String>) -> Self {
        Self {
            span,
            value: Value::Text(text.into()),
        }
    }

    /// The entry with this key, when it is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.text == key)
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value {
            return entries;
        }
        &[]
    }

    /// What it is, in words.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Flag(_) => "true or false",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Broken => "not readable",
        }
    }

    /// A scalar as Compose writes it where it wants text (`1.10` is the number 1.1).
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Mapping(_) | Value::Broken => None,
        }
    }
}

/// Where each key of a mapping is.
pub(crate) fn positions(entries: &[Entry]) -> BTreeMap<&str, usize> {
    let keys = entries.iter().map(|entry| entry.key.text.as_str());
    keys.zip(0..).collect()
}
