//! The resolved form of an app: every key of its files in one document, in long syntax.
//!
//! It is what `roads config` prints, it is a compose file, and it loads to itself. Keys that no
//! engine honours are in it too; what an engine is asked for is the [`AppSpec`](model::AppSpec).

use std::collections::BTreeSet;

use serde_json::Value;
use text::Node;

use crate::load::Variables;

/// An app's files as one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    pub(crate) document: Node,
    /// Whether a dollar in it is a dollar or begins a variable.
    pub(crate) variables: Variables,
    /// The profiles of all services, the unwanted ones included.
    pub(crate) profiles: BTreeSet<String>,
}

/// A section of a compose file that names things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// `services`; only the wanted ones.
    Services,
    /// `networks`.
    Networks,
    /// `volumes`.
    Volumes,
    /// `configs`.
    Configs,
    /// `secrets`.
    Secrets,
    /// `models`.
    Models,
}

impl Section {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 6] = [
        Self::Services,
        Self::Networks,
        Self::Volumes,
        Self::Configs,
        Self::Secrets,
        Self::Models,
    ];

    /// Its key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Networks => "networks",
            Self::Volumes => "volumes",
            Self::Configs => "configs",
            Self::Secrets => "secrets",
            Self::Models => "models",
        }
    }
}

impl Resolved {
    /// The document in YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        let first = ["name"].into_iter().chain(Section::ALL.map(Section::key));
        let mut entries: Vec<_> = self.document.entries().iter().collect();
        let order: Vec<&str> = first.collect();
        entries.sort_by_key(|entry| {
            let key = entry.key.text.as_str();
            let at = order.iter().position(|known| *known == key);
            (at.unwrap_or(order.len()), key)
        });
        for entry in entries {
            let value = self.value_of(&entry.value);
            let one = Value::Object([(entry.key.text.clone(), value)].into_iter().collect());
            crate::document::block(&one, 0, &mut text);
        }
        text
    }

    /// The document in JSON, indented.
    #[must_use]
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(&self.value());
        text.expect("a JSON value with text keys can be written")
    }

    /// The document as a JSON value.
    #[must_use]
    pub fn value(&self) -> Value {
        self.value_of(&self.document)
    }

    /// The names in a section, in order.
    #[must_use]
    pub fn names(&self, section: Section) -> Vec<&str> {
        let entries = self.section(section);
        let mut names: Vec<&str> = entries.map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    /// The images of the services, each once, in order.
    #[must_use]
    pub fn images(&self) -> Vec<String> {
        let services = self.section(Section::Services);
        let images = services.filter_map(|(_, service)| service.get("image")?.value.scalar());
        images.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The profiles of all services, in order.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().map(String::as_str)
    }

    /// What a section says of one name, as a JSON value.
    #[must_use]
    pub fn part(&self, section: Section, name: &str) -> Option<Value> {
        let mut entries = self.section(section);
        let (_, node) = entries.find(|(known, _)| *known == name)?;
        Some(self.value_of(node))
    }

    fn section(&self, section: Section) -> impl Iterator<Item = (&str, &Node)> {
        let entry = self.document.get(section.key());
        let entries = entry.map_or(&[][..], |entry| entry.value.entries());
        entries
            .iter()
            .map(|entry| (entry.key.text.as_str(), &entry.value))
    }

    fn value_of(&self, node: &Node) -> Value {
        match &node.value {
            text::Value::Null | text::Value::Broken => Value::Null,
            text::Value::Flag(flag) => (*flag).into(),
            text::Value::Integer(number) => match i64::try_from(*number) {
                Ok(number) => number.into(),
                Err(_) => {
                    u64::try_from(*number).map_or_else(|_| number.to_string().into(), Value::from)
                }
            },
            text::Value::Float(number) => (*number).into(),
            text::Value::Text(text) => match self.variables {
                // A dollar begins a variable, so one that is meant as such is doubled.
                Variables::Replaced => text.replace('$', "$$").into(),
                Variables::Kept => text.as_str().into(),
            },
            text::Value::List(items) => items.iter().map(|item| self.value_of(item)).collect(),
            text::Value::Mapping(entries) => {
                let entries = entries.iter();
                let entries = entries.map(|e| (e.key.text.clone(), self.value_of(&e.value)));
                Value::Object(entries.collect())
            }
        }
    }
}
