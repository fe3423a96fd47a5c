//! Lists and mappings.

use std::collections::BTreeMap;

use text::{Entry, Finding, Key, Span, Tag, words};

use super::{Node, Normalise, Value, Wanted, What};
use crate::schema::{Alone, Grammar, Names, Scalar, Shape, Table, Unique, Unset};

const TEXT: Shape = Shape::One(Scalar::Text);

impl Normalise<'_> {
    /// The words of a command.
    pub(super) fn command(&mut self, node: Node, what: What<'_>) -> Node {
        if let Value::List(_) = node.value {
            return self.list(node, &TEXT, Unique::Any, what);
        }
        let Some(line) = node.as_text() else {
            return self.wrong_type(&node, what, Wanted::TextOrList);
        };
        let words = match words::split(line) {
            Ok(words) => words,
            Err(error) => {
                let finding = Finding::error(node.span, format!("{what} cannot be split: {error}"))
                    .help("write it as a list, or give it to a shell: [\"sh\", \"-c\", \"…\"]");
                self.findings.push(finding);
                return Node::broken(node.span);
            }
        };
        if let Some(operator) = words.stopped_at {
            let span = self.narrow(&node, &operator.to_string());
            let message = format!("{what} ends at `{operator}`, since no shell reads it");
            let finding = Finding::warning(span, message)
                .because("this and the rest are left out, as Compose does")
                .help("for a shell write [\"sh\", \"-c\", \"…\"]");
            self.findings.push(finding);
        }
        let words = words.words.into_iter();
        let words = words.map(|word| Node::text(node.span, word));
        Node::list(node.span, words.collect())
    }

    pub(super) fn test(&mut self, node: Node, what: What<'_>) -> Node {
        let span = node.span;
        if node.as_text().is_some() {
            return Node::list(span, vec![Node::text(span, "CMD-SHELL"), node]);
        }
        if !matches!(node.value, Value::List(_)) {
            return self.wrong_type(&node, what, Wanted::TextOrList);
        }
        let list = self.list(node, &TEXT, Unique::Any, what);
        let first = list.items().first().and_then(Node::as_text);
        let known = matches!(first, Some("CMD" | "CMD-SHELL" | "NONE"));
        if known || list.value == Value::Broken || list.items().is_empty() {
            return list;
        }
        let finding = Finding::error(span, "`test` is no test")
            .help("write [\"CMD\", PROGRAM, …], [\"CMD-SHELL\", LINE], [\"NONE\"], or a line");
        self.findings.push(finding);
        Node::broken(span)
    }

    pub(super) fn list(
        &mut self,
        node: Node,
        item: &Shape,
        unique: Unique,
        what: What<'_>,
    ) -> Node {
        let Value::List(items) = node.value else {
            return self.wrong_type(&node, what, Wanted::List);
        };
        let mut long = Vec::with_capacity(items.len());
        for node in items {
            self.item(node, item, what.item(), &mut long);
        }
        Node::list(node.span, united(long, unique))
    }

    fn item(&mut self, node: Node, item: &Shape, what: What<'_>, long: &mut Vec<Node>) {
        match (item, node.tag) {
            (_, Tag::Reset) => {}
            (Shape::Short(short, table), Tag::None | Tag::Override)
                if !self.is_template(&node, item) && node.value != Value::Null =>
            {
                long.extend(self.short(node, *short, table, what));
            }
            (_, Tag::None | Tag::Override) if node.value == Value::Null => {
                long.push(self.wrong_type(&node, what, Wanted::of(item)));
            }
            (_, Tag::None | Tag::Override) => long.push(self.value(node, item, what)),
        }
    }

    pub(super) fn one_or_many(
        &mut self,
        node: Node,
        item: &Shape,
        unique: Unique,
        what: What<'_>,
    ) -> Node {
        if let Value::List(_) = node.value {
            return self.list(node, item, unique, what);
        }
        if node.as_text().is_none() && !matches!(item, Shape::One(Scalar::Word | Scalar::Quantity))
        {
            return self.wrong_type(&node, what, Wanted::TextOrList);
        }
        let span = node.span;
        let mut long = Vec::new();
        self.item(node, item, what, &mut long);
        Node::list(span, long)
    }

    pub(super) fn table(&mut self, node: Node, table: &Table, what: What<'_>) -> Node {
        let Value::Mapping(entries) = node.value else {
            return self.wrong_type(&node, what, Wanted::Mapping);
        };
        let mut long = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            let name = key.text.as_str();
            let value = match table.find(name) {
                Some(row) => self.value(value, &row.shape, What::Key(name)),
                None if name.starts_with("x-") && table.grammar == Grammar::Compose => value,
                None => {
                    self.unknown(&key, table);
                    continue;
                }
            };
            long.push(Entry { key, value });
        }
        self.lifted(Node::mapping(node.span, long))
    }

    fn unknown(&mut self, key: &Key, table: &Table) {
        let names = || table.rows.iter().map(|row| row.name);
        let message = format!("unknown key {:?} in {}", key.text, table.of);
        let close = self.findings.did_you_mean(&key.text, names());
        let help = close.unwrap_or_else(|| {
            if table.rows.len() > 12 {
                "keys of your own begin with x-".to_owned()
            } else {
                format!("known are {}", names().collect::<Vec<_>>().join(", "))
            }
        });
        let finding = Finding::error(key.span, message).help(help);
        self.findings.push(finding);
    }

    pub(super) fn named(
        &mut self,
        node: Node,
        names: Names,
        shape: &Shape,
        what: What<'_>,
    ) -> Node {
        let Value::Mapping(entries) = node.value else {
            return self.wrong_type(&node, what, Wanted::Mapping);
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let mut long = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            let is_name = !key.text.is_empty() && key.text.chars().all(valid);
            if names == Names::Resource && !is_name {
                let message = format!("{:?} is no name in {what}", key.text);
                let finding = Finding::error(key.span, message);
                self.findings
                    .push(finding.help("a name is letters, digits, `.`, `_` and `-`"));
                continue;
            }
            let value = self.value(value, shape, What::Key(&key.text));
            long.push(Entry { key, value });
        }
        Node::mapping(node.span, long)
    }

    /// A mapping, or a list of its names.
    pub(super) fn names_or(
        &mut self,
        node: Node,
        alone: Alone,
        shape: &Shape,
        what: What<'_>,
    ) -> Node {
        if let Value::Mapping(_) = node.value {
            return self.named(node, Names::Resource, shape, what);
        }
        let Value::List(items) = node.value else {
            return self.wrong_type(&node, what, Wanted::ListOrMapping);
        };
        let mut entries: Vec<Entry> = Vec::new();
        for item in items {
            let Some(name) = item.as_text() else {
                self.wrong_type(&item, what.item(), Wanted::Text);
                continue;
            };
            let value = match alone {
                Alone::Nothing => Node::null(item.span),
                Alone::Started => started(item.span),
            };
            entries.push(Entry::new(item.span, name, value));
        }
        let entries = last_of_each(entries);
        let entries = Node::mapping(node.span, entries);
        self.named(entries, Names::Resource, &Shape::Any, what)
    }

    pub(super) fn assignments(
        &mut self,
        node: Node,
        unset: Unset,
        shape: &Shape,
        what: What<'_>,
    ) -> Node {
        let node = match node.value {
            Value::List(items) => self.assigned(node.span, items, what),
            Value::Null
            | Value::Flag(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Mapping(_)
            | Value::Broken => node,
        };
        let Value::Mapping(entries) = node.value else {
            return self.wrong_type(&node, what, Wanted::ListOrMapping);
        };
        let mut long = Vec::with_capacity(entries.len());
        for Entry { key, value } in entries {
            if key.text.is_empty() || key.text.contains(['=', '\0']) {
                let message = format!("{:?} is no name in {what}", key.text);
                let finding = Finding::error(key.span, message)
                    .help("write `NAME: value`, or `- NAME=value` in a list");
                self.findings.push(finding);
                continue;
            }
            let mut value = self.value(value, shape, What::Key(&key.text));
            if unset == Unset::Empty && value.value == Value::Null && value.tag == Tag::None {
                value.value = Value::Text(String::new());
            }
            long.push(Entry { key, value });
        }
        Node::mapping(node.span, long)
    }

    /// A list of `NAME=value` as a mapping.
    fn assigned(&mut self, span: Span, items: Vec<Node>, what: What<'_>) -> Node {
        let mut entries = Vec::with_capacity(items.len());
        for item in items {
            if item.as_text().is_some() {
                entries.push(assignment(&item));
            } else {
                self.wrong_type(&item, what.item(), Wanted::Text);
            }
        }
        Node::mapping(span, last_of_each(entries))
    }

    /// Hosts as `NAME=ADDRESS`.
    pub(super) fn hosts(&mut self, node: Node, what: What<'_>) -> Node {
        let span = node.span;
        let hosts = if let Value::Mapping(entries) = node.value {
            self.named_hosts(entries)
        } else if let Value::List(items) = node.value {
            self.listed_hosts(items, what)
        } else {
            return self.wrong_type(&node, what, Wanted::ListOrMapping);
        };
        Node::list(span, united(hosts, Unique::Whole))
    }

    fn named_hosts(&mut self, entries: Vec<Entry>) -> Vec<Node> {
        let mut hosts = Vec::new();
        for Entry { key, value } in entries {
            let shape = Shape::OneOrMany(&TEXT, Unique::Any);
            let addresses = self.value(value, &shape, What::Key(&key.text));
            let addresses = addresses.items().iter();
            hosts.extend(addresses.map(|a| host(a, &key.text, a.as_text().unwrap_or_default())));
        }
        hosts
    }

    fn listed_hosts(&mut self, items: Vec<Node>, what: What<'_>) -> Vec<Node> {
        let mut hosts = Vec::new();
        for item in items {
            let Some(text) = item.as_text() else {
                self.wrong_type(&item, what.item(), Wanted::Text);
                continue;
            };
            match text.split_once('=').or_else(|| text.split_once(':')) {
                Some((name, address)) if !name.is_empty() => {
                    hosts.push(host(&item, name, address));
                }
                Some(_) | None => {
                    self.invalid(&item, what.item(), "write it as NAME=ADDRESS");
                }
            }
        }
        hosts
    }
}

fn host(item: &Node, name: &str, address: &str) -> Node {
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    Node::text(item.span, format!("{name}={}", bare.unwrap_or(address)))
}

impl Wanted {
    /// What an item of a list is wanted to be.
    fn of(item: &Shape) -> Self {
        if let Shape::Table(_) = item {
            return Self::Mapping;
        }
        if let Shape::Short(..) = item {
            return Self::TextOrMapping;
        }
        Self::Text
    }
}

fn started(span: Span) -> Node {
    let condition = Node::text(span, "service_started");
    let entries = vec![
        Entry::new(span, "condition", condition),
        Entry::new(span, "required", Node::flag(span, true)),
    ];
    Node::mapping(span, entries)
}

/// `"A=1"` as the entry `A: "1"`, `"B"` as `B: null`.
fn assignment(item: &Node) -> Entry {
    let text = item.as_text().unwrap_or_default();
    match text.split_once('=') {
        Some((name, value)) => Entry::new(item.span, name, Node::text(item.span, value)),
        None => Entry::new(item.span, text, Node::null(item.span)),
    }
}

/// Of entries with one key, the last.
fn last_of_each(entries: Vec<Entry>) -> Vec<Entry> {
    let last: BTreeMap<String, usize> = entries
        .iter()
        .zip(0..)
        .map(|(entry, at)| (entry.key.text.clone(), at))
        .collect();
    let kept = entries.into_iter().zip(0..);
    let kept = kept.filter(|(entry, at)| last.get(&entry.key.text) == Some(at));
    kept.map(|(entry, _)| entry).collect()
}

/// A list in which the later of two items that are one stands where the earlier stood.
pub(crate) fn united(items: Vec<Node>, unique: Unique) -> Vec<Node> {
    if matches!(unique, Unique::Any | Unique::Once) || items.len() < 2 {
        return items;
    }
    let mut united: Vec<Node> = Vec::with_capacity(items.len());
    let mut known = BTreeMap::new();
    for item in items {
        let identity = identity(&item, unique);
        let at = identity.map(|identity| *known.entry(identity).or_insert(united.len()));
        match at.and_then(|at| united.get_mut(at)) {
            Some(same) => *same = item,
            None => united.push(item),
        }
    }
    united
}

/// What makes an item of a list this one; nothing where that cannot be told.
fn identity(item: &Node, unique: Unique) -> Option<String> {
    if item.as_text().is_some() && !matches!(unique, Unique::Name) {
        return item.scalar();
    }
    match unique {
        Unique::Any | Unique::Once => None,
        Unique::Whole => item.scalar(),
        Unique::Name => {
            let text = item.scalar()?;
            Some(text.split('=').next().unwrap_or_default().to_owned())
        }
        Unique::Key(key) => item.at(key)?.scalar(),
        Unique::File(folder) => match item.text_at("target") {
            Some(target) => Some(target.to_owned()),
            None => Some(format!("{folder}/{}", item.text_at("source")?)),
        },
        Unique::Port => Some(format!(
            "{}:{}:{}/{}",
            item.text_at("host_ip").unwrap_or("0.0.0.0"),
            item.text_at("published").unwrap_or_default(),
            item.number_at::<u16>("target")?,
            item.text_at("protocol").unwrap_or("tcp"),
        )),
    }
}
