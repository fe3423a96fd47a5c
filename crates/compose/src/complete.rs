//! An app's tree with all that it leaves unsaid, and what is wrong in any one part of it.
//!
//! [`by_table`] knows each key alone: what is required, what has a default, what is not honoured.
//! [`app`] knows what one key says of another: names, the `default` network, and the dependencies
//! that `links` imply.

mod app;

use std::collections::BTreeMap;

use text::{Entry, Finding, Findings, Node, Value};

use crate::normalise::choice_help;
use crate::schema::{Empty, Honour, Presence, Row, Scalar, Shape, Table, Unique};

pub(crate) use app::{complete, default_network};

/// Checks the keys of a merged tree, and gives those that have a default theirs.
pub(crate) fn by_table(app: &mut Node, table: &Table, findings: &mut Findings) {
    let honoured = Below::Honoured;
    Keys { findings }.table(app, table, honoured);
}

/// Whether what is below a key is honoured; if not, that was said at the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Honoured,
    Ignored,
}

struct Keys<'a> {
    findings: &'a mut Findings,
}

impl Keys<'_> {
    fn value(&mut self, node: &mut Node, shape: &Shape, below: Below) {
        match shape {
            Shape::Table(table) | Shape::Short(_, table) => self.table(node, table, below),
            Shape::Named(_, value) | Shape::NamesOr(_, value) => {
                for entry in node.entries_mut() {
                    self.named(entry, value, below);
                }
            }
            Shape::List(item, unique) | Shape::OneOrMany(item, unique) => {
                if *unique == Unique::Once {
                    self.once(node);
                }
                for node in node.items_mut() {
                    self.value(node, item, below);
                }
            }
            Shape::Gpus(item) => {
                for node in node.items_mut() {
                    self.value(node, item, below);
                }
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

    /// A value under a name that somebody chose.
    fn named(&mut self, entry: &mut Entry, shape: &Shape, below: Below) {
        let empty = if let Shape::Table(table) = shape {
            table.empty
        } else {
            Empty::Nothing
        };
        if entry.value.value == Value::Null {
            match (empty, shape) {
                (Empty::Wrong, _) => self.nothing(entry),
                // An option of a driver.
                (Empty::Nothing, Shape::One(_)) => entry.value.value = Value::Text(String::new()),
                (Empty::Nothing, _) => {}
            }
        }
        self.value(&mut entry.value, shape, below);
    }

    fn table(&mut self, node: &mut Node, table: &Table, below: Below) {
        let Value::Mapping(entries) = &mut node.value else {
            return;
        };
        entries.retain_mut(|entry| self.key(entry, table, below));
        for row in table.rows {
            match row.presence {
                Presence::Optional => {}
                Presence::Flag(flag) => node.or_insert(row.name, Node::flag(node.span, flag)),
                Presence::Text(text) => node.or_insert(row.name, Node::text(node.span, text)),
                Presence::Required if node.get(row.name).is_some() => {}
                Presence::Required => self.missing(node, table, row),
            }
        }
    }

    /// Checks one entry; whether it stays.
    fn key(&mut self, entry: &mut Entry, table: &Table, below: Below) -> bool {
        let Some(row) = table.find(&entry.key.text) else {
            return true;
        };
        if entry.value.value == Value::Null {
            let may_be = if let Shape::Table(table) = row.shape {
                table.empty == Empty::Nothing
            } else {
                matches!(row.shape, Shape::Command | Shape::Any)
            };
            if !may_be {
                self.nothing(entry);
            }
            return false;
        }
        let below = match (row.honour, below) {
            (_, Below::Ignored) => Below::Ignored,
            (Honour::Full | Honour::On(_), Below::Honoured) => Below::Honoured,
            (Honour::Ignored, Below::Honoured) => {
                let message = format!("`{}` is not honoured", row.name);
                let finding = Finding::warning(entry.key.span, message).help(row.note);
                self.findings.push(finding);
                Below::Ignored
            }
            (Honour::Refused, Below::Honoured) => {
                let message = format!("`{}` is not supported here", row.name);
                let finding = Finding::error(entry.key.span, message).help(row.note);
                self.findings.push(finding);
                Below::Ignored
            }
        };
        self.value(&mut entry.value, &row.shape, below);
        true
    }

    fn nothing(&mut self, entry: &Entry) {
        let message = format!("`{}` has no value", entry.key.text);
        let finding = Finding::error(entry.key.span, message)
            .because("nothing follows it")
            .help("write its value, or remove the key");
        self.findings.push(finding);
    }

    fn missing(&mut self, node: &Node, table: &Table, row: &Row) {
        let message = needs(table.of, row.name);
        let help = if let Shape::One(Scalar::Choice(words)) = row.shape {
            choice_help(words)
        } else if row.note.is_empty() {
            format!("add `{}: …`", row.name)
        } else {
            row.note.to_owned()
        };
        self.findings
            .push(Finding::error(node.span, message).help(help));
    }

    /// Reports items that are there twice.
    fn once(&mut self, node: &Node) {
        let mut known = BTreeMap::new();
        for item in node.items() {
            let Some(text) = item.scalar() else {
                continue;
            };
            if let Some(first) = known.insert(text.clone(), item.span) {
                let finding = Finding::error(item.span, format!("{text:?} is there twice"))
                    .also(first, "first here")
                    .help("remove one of them");
                self.findings.push(finding);
            }
        }
    }
}

/// That a mapping lacks a key.
pub(crate) fn needs(of: &str, key: &str) -> String {
    let article = if key.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{of} needs {article} `{key}`")
}
