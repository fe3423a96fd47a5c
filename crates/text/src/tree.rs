//! A document as a tree of values, each with its place in the text.

use std::collections::BTreeMap;

use crate::source::Span;

/// A value and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is written.
    pub span: Span,
    /// What it does to an earlier one.
    pub tag: Tag,
    /// What it is.
    pub value: Value,
}

/// What a value does to that of an earlier file (compose-spec, "Merge and override").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// They are merged.
    None,
    /// `!reset`: there is none.
    Reset,
    /// `!override`: this one counts.
    Override,
}

/// What a document holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~`, or no value at all.
    Null,
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Items in order.
    List(Vec<Node>),
    /// Entries in the order of the text.
    Mapping(Vec<Entry>),
    /// Something that was wrong and is reported; whoever reads it says nothing more.
    Broken,
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Node,
}

/// A key and where it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Where it is written.
    pub span: Span,
    /// What it says.
    pub text: String,
}

impl Node {
    /// A value at a place.
    pub fn new(span: Span, value: Value) -> Self {
        let tag = Tag::None;
        Self { span, tag, value }
    }

    /// Nothing at a place.
    pub fn null(span: Span) -> Self {
        Self::new(span, Value::Null)
    }

    /// Something wrong at a place, which is reported.
    pub fn broken(span: Span) -> Self {
        Self::new(span, Value::Broken)
    }

    /// True or false at a place.
    pub fn flag(span: Span, flag: bool) -> Self {
        Self::new(span, Value::Flag(flag))
    }

    /// Text at a place.
    pub fn text(span: Span, text: impl Into<String>) -> Self {
        Self::new(span, Value::Text(text.into()))
    }

    /// A mapping at a place.
    pub fn mapping(span: Span, entries: Vec<Entry>) -> Self {
        Self::new(span, Value::Mapping(entries))
    }

    /// A list at a place.
    pub fn list(span: Span, items: Vec<Node>) -> Self {
        Self::new(span, Value::List(items))
    }

    /// The entry with this key, when it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.text == key)
    }

    /// As [`Self::get`], to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        let Value::Mapping(entries) = &mut self.value else {
            return None;
        };
        entries.iter_mut().find(|entry| entry.key.text == key)
    }

    /// Takes an entry out of a mapping.
    pub fn take(&mut self, key: &str) -> Option<Entry> {
        let Value::Mapping(entries) = &mut self.value else {
            return None;
        };
        let at = entries.iter().position(|entry| entry.key.text == key)?;
        Some(entries.remove(at))
    }

    /// Adds an entry to a mapping, unless it has one with this key.
    pub fn or_insert(&mut self, key: &str, value: Node) {
        if let Value::Mapping(entries) = &mut self.value
            && !entries.iter().any(|entry| entry.key.text == key)
        {
            entries.push(Entry::new(value.span, key, value));
        }
    }

    /// The value of a key, unless it is absent, nothing or broken.
    pub fn at(&self, key: &str) -> Option<&Node> {
        let value = &self.get(key)?.value;
        (!matches!(value.value, Value::Null | Value::Broken)).then_some(value)
    }

    /// The text of a key.
    pub fn text_at(&self, key: &str) -> Option<&str> {
        self.at(key)?.as_text()
    }

    /// The flag of a key.
    pub fn flag_at(&self, key: &str) -> Option<bool> {
        match self.at(key)?.value {
            Value::Flag(flag) => Some(flag),
            Value::Null
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Mapping(_)
            | Value::Broken => None,
        }
    }

    /// The whole number of a key, when it fits.
    pub fn number_at<T: TryFrom<i128>>(&self, key: &str) -> Option<T> {
        self.at(key)?.as_number()
    }

    /// The items of the list at a key; none of anything else.
    pub fn items_at(&self, key: &str) -> &[Node] {
        self.at(key).map_or(&[], Self::items)
    }

    /// The entries of the mapping at a key; none of anything else.
    pub fn entries_at(&self, key: &str) -> &[Entry] {
        self.at(key).map_or(&[], Self::entries)
    }

    /// The texts of the list at a key, when there is one.
    pub fn texts_at(&self, key: &str) -> Option<Vec<String>> {
        let Value::List(items) = &self.at(key)?.value else {
            return None;
        };
        let texts = items.iter().filter_map(Self::as_text);
        Some(texts.map(str::to_owned).collect())
    }

    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value {
            return Some(text);
        }
        None
    }

    /// The whole number, when it is one that fits.
    pub fn as_number<T: TryFrom<i128>>(&self) -> Option<T> {
        if let Value::Integer(number) = self.value {
            return T::try_from(number).ok();
        }
        None
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Mapping(entries) = &self.value {
            return entries;
        }
        &[]
    }

    /// As [`Self::entries`], to change them.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        if let Value::Mapping(entries) = &mut self.value {
            return entries;
        }
        &mut []
    }

    /// As [`Self::items`], to change them.
    pub fn items_mut(&mut self) -> &mut [Node] {
        if let Value::List(items) = &mut self.value {
            return items;
        }
        &mut []
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value {
            return items;
        }
        &[]
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
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
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Mapping(_) | Value::Broken => None,
        }
    }

    /// How many values it holds, itself included.
    pub fn size(&self) -> usize {
        let below: usize = match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
            Value::Null
            | Value::Flag(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Broken => 0,
        };
        below + 1
    }
}

impl Entry {
    /// A value under a key that is written at this place.
    pub fn new(span: Span, key: &str, value: Node) -> Self {
        let text = key.to_owned();
        let key = Key { span, text };
        Self { key, value }
    }
}

/// Where each key of a mapping is.
pub fn positions(entries: &[Entry]) -> BTreeMap<&str, usize> {
    let keys = entries.iter().map(|entry| entry.key.text.as_str());
    keys.zip(0..).collect()
}

/// Whether two values are the same, wherever they are written and in whatever order.
pub fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Mapping(a), Value::Mapping(b)) => {
            let (a, of_b) = (a.iter(), positions(b));
            let equal = |entry: &Entry| {
                let other = of_b.get(entry.key.text.as_str()).and_then(|&at| b.get(at));
                other.is_some_and(|other| same(&entry.value, &other.value))
            };
            a.len() == b.len() && { a }.all(equal)
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => a == b,
    }
}
