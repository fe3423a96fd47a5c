//! Values of the type that a key wants, or a report that they are not.
//!
//! Each reader takes what the value is called, for the message. Text stands for a number or a
//! flag where one is wanted: it may have come from a variable.

use std::fmt;
use std::time::Duration;

use super::Lower;
use crate::diagnostic::Finding;
use crate::keys::{Honour, KeyRow, Table};
use crate::tree::{Entry, Node, Value};
use crate::units;

/// What a key wants as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Text,
    TextOrList,
    TextOrMapping,
    List,
    Mapping,
    Number,
    WholeNumber,
    Flag,
}

impl Wanted {
    /// How to write one.
    fn help(self) -> &'static str {
        match self {
            Self::Text => "write one text here",
            Self::TextOrList => "write one text, or several as [a, b]",
            Self::TextOrMapping => "write one text, or its parts as { key: value }",
            Self::List => "write it as [a, b], or each item on a line of its own after `- `",
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
            Self::Mapping => "a mapping",
            Self::Number => "a number",
            Self::WholeNumber => "a whole number",
            Self::Flag => "true or false",
        })
    }
}

/// A mapping whose keys were checked against their table.
pub(super) struct Fields<'n> {
    node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The value of a key, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// As [`Self::get`], with the key.
    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.node
            .get(key)
            .filter(|entry| entry.value.value != Value::Null)
    }
}

impl Lower<'_> {
    /// The keys of a mapping, each looked up in the table.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, table: &Table) -> Option<Fields<'n>> {
        self.mapping(node, table.of)?;
        for entry in node.entries() {
            let name = entry.key.text.as_str();
            match table.find(name) {
                Some(row) => self.honour(entry, row),
                None if name.starts_with("x-") => {}
                None => self.unknown(entry, table),
            }
        }
        Some(Fields { node })
    }

    fn honour(&mut self, entry: &Entry, row: &KeyRow) {
        match row.honour {
            Honour::Full => {}
            Honour::Ignored(instead) => {
                let message = format!("`{}` is not honoured", row.name);
                let finding = Finding::warning(entry.key.span, message).help(instead);
                self.findings.push(finding);
            }
            Honour::Refused(hint) => {
                let message = format!("`{}` is not supported here", row.name);
                let finding = Finding::error(entry.key.span, message).help(hint);
                self.findings.push(finding);
            }
        }
    }

    fn unknown(&mut self, entry: &Entry, table: &Table) {
        let names = || table.rows.iter().map(|row| row.name);
        let message = format!("unknown key {:?} in {}", entry.key.text, table.of);
        let close = self.findings.did_you_mean(&entry.key.text, names());
        let help = close.unwrap_or_else(|| {
            if table.rows.len() > 12 {
                "keys of your own begin with x-".to_owned()
            } else {
                format!("known are {}", names().collect::<Vec<_>>().join(", "))
            }
        });
        let finding = Finding::error(entry.key.span, message).help(help);
        self.findings.push(finding);
    }

    /// Reports that a value is not of its type; nothing when it is known to be broken.
    pub(super) fn wrong_type(&mut self, node: &Node, what: &str, wanted: Wanted) {
        if node.value == Value::Broken {
            return;
        }
        let is_scalar = !matches!(node.value, Value::Text(_)) && node.scalar().is_some();
        let takes_text = matches!(
            wanted,
            Wanted::Text | Wanted::TextOrList | Wanted::TextOrMapping
        );
        let help = if is_scalar && takes_text {
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

    /// Reports a value of the right type that does not do.
    pub(super) fn invalid(&mut self, node: &Node, what: &str, why: impl fmt::Display) {
        let written = node.scalar().unwrap_or_default();
        let message = format!("{what} cannot be {written:?}");
        let finding = Finding::error(node.span, message).help(why.to_string());
        self.findings.push(finding);
    }

    /// The entries of a mapping; null is an empty one.
    pub(super) fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        if !matches!(node.value, Value::Mapping(_) | Value::Null) {
            self.wrong_type(node, what, Wanted::Mapping);
            return None;
        }
        Some(node.entries())
    }

    /// The items of a list; none, and a report, of anything else.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        if node.value != Value::Null {
            self.wrong_type(node, what, Wanted::List);
        }
        &[]
    }

    /// The items of a list, or a text as the only one.
    pub(super) fn one_or_many<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::Text(_) => std::slice::from_ref(node),
            Value::List(items) => items,
            Value::Null
            | Value::Flag(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Mapping(_)
            | Value::Broken => {
                self.wrong_type(node, what, Wanted::TextOrList);
                &[]
            }
        }
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        if let Value::Text(text) = &node.value {
            return Some(text);
        }
        self.wrong_type(node, what, Wanted::Text);
        None
    }

    /// The texts of a list.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let item = format!("each item of {what}");
        let items = self.list(node, what).iter();
        items
            .filter_map(|node| self.text(node, &item).map(str::to_owned))
            .collect()
    }

    /// A number or text, as text.
    pub(super) fn quantity(&mut self, node: &Node, what: &str) -> Option<String> {
        let is_flag = matches!(node.value, Value::Flag(_));
        let scalar = node.scalar().filter(|_| !is_flag);
        if scalar.is_none() {
            self.wrong_type(node, what, Wanted::Number);
        }
        scalar
    }

    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        let scalar = node.scalar().unwrap_or_default();
        let flag = match scalar.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" => Some(true),
            "false" | "no" | "n" | "off" => Some(false),
            _ => None,
        };
        if flag.is_none() {
            self.wrong_type(node, what, Wanted::Flag);
        }
        flag
    }

    /// A whole number that fits the type.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, node: &Node, what: &str) -> Option<T> {
        let number = node.scalar().and_then(|text| text.trim().parse().ok());
        let Some(number): Option<i128> = number else {
            self.wrong_type(node, what, Wanted::WholeNumber);
            return None;
        };
        let fits = T::try_from(number).ok();
        if fits.is_none() {
            let why = if number < 0 {
                "it cannot be below 0"
            } else {
                "it is too large"
            };
            self.invalid(node, what, why);
        }
        fits
    }

    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        if let Value::Integer(_) = node.value {
            self.invalid(node, what, units::InvalidQuantity::Unitless);
            return None;
        }
        let text = self.text(node, what)?;
        match units::duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.invalid(node, what, error);
                None
            }
        }
    }

    pub(super) fn bytes(&mut self, node: &Node, what: &str) -> Option<u64> {
        let text = self.quantity(node, what)?;
        match units::bytes(&text) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.invalid(node, what, error);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = choices.iter().map(|(name, _)| *name);
            let close = self.findings.did_you_mean(text, names.clone());
            let help = close.unwrap_or_else(|| {
                format!("it is one of {}", names.collect::<Vec<_>>().join(", "))
            });
            self.invalid(node, what, help);
        }
        found.map(|(_, choice)| *choice)
    }

    /// A value by its own reader, whose error says what would do.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        node: &Node,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(node, what)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid(node, what, error);
                None
            }
        }
    }

    /// A key as a name; it is no text node, so it has a reader of its own.
    pub(super) fn key_name<T>(
        &mut self,
        key: &crate::tree::Key,
        parse: impl FnOnce(&str) -> Result<T, model::InvalidName>,
    ) -> Option<T> {
        match parse(&key.text) {
            Ok(name) => Some(name),
            Err(error) => {
                let message = format!("{:?} is no name of a {}", key.text, error.kind);
                let help = format!("a name is {}", error.rule);
                self.findings
                    .push(Finding::error(key.span, message).help(help));
                None
            }
        }
    }
}
