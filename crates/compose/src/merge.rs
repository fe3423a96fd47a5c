//! Several files as one (compose-spec, "Merge and override").
//!
//! Mappings merge key by key, lists grow, anything else is replaced; a later `null` changes
//! nothing. What Compose does otherwise is [`rule`]. Items of a list that mean the same thing (a
//! mount at the same target) are settled where they are understood, in `lower`.

use crate::diagnostic::{Finding, Findings};
use crate::tree::{Entry, Key, Node, Value, positions};

/// How a value of an earlier file and one of a later file become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// By what they are.
    Natural,
    /// The later counts.
    Replace,
    /// Both are mappings or lists of `NAME=value`; by name, and a later `null` counts.
    Assignments,
    /// Both are mappings or lists of services; by name.
    Dependencies,
    /// Both are mappings or lists of networks; by name.
    Networks,
    /// A single text is a list of one.
    Texts,
}

/// The rule for a key of a service; `inside` is the key above it, for keys below.
fn rule(inside: Option<&str>, key: &str) -> Rule {
    match (inside, key) {
        (None, "command" | "entrypoint") | (Some("healthcheck"), "test") => Rule::Replace,
        (None, "environment" | "labels" | "annotations" | "sysctls")
        | (Some("deploy"), "labels") => Rule::Assignments,
        (None, "depends_on") => Rule::Dependencies,
        (None, "networks") => Rule::Networks,
        (None, "env_file" | "tmpfs" | "dns" | "dns_opt" | "dns_search" | "label_file") => {
            Rule::Texts
        }
        (None | Some(_), _) => Rule::Natural,
    }
}

/// Documents as one, the later over the earlier; absent when there is none.
pub(crate) fn documents(documents: Vec<Node>, findings: &mut Findings) -> Option<Node> {
    let mut merge = Merge { findings };
    documents
        .into_iter()
        .reduce(|base, over| merge.document(base, over))
}

struct Merge<'a> {
    findings: &'a mut Findings,
}

impl Merge<'_> {
    fn document(&mut self, base: Node, over: Node) -> Node {
        self.mappings(base, over, &mut |merge, key, base, over| match key {
            "services" => merge.mappings(base, over, &mut |merge, _, base, over| {
                merge.service(base, over, None)
            }),
            _ => merge.natural(base, over),
        })
    }

    /// A service, or what is below the key `inside` of one.
    fn service(&mut self, base: Node, over: Node, inside: Option<&str>) -> Node {
        self.mappings(
            base,
            over,
            &mut |merge, key, base, over| match rule(inside, key) {
                Rule::Natural if inside.is_none() && is_mapping(&base) && is_mapping(&over) => {
                    merge.service(base, over, Some(key))
                }
                Rule::Natural => merge.natural(base, over),
                Rule::Replace => over,
                Rule::Assignments => {
                    let (base, over) = (by_key(base, assignment), by_key(over, assignment));
                    merge.mappings(base, over, &mut |_, _, _, over| over)
                }
                Rule::Dependencies => {
                    merge.natural(by_key(base, dependency), by_key(over, dependency))
                }
                Rule::Networks => merge.natural(by_key(base, network), by_key(over, network)),
                Rule::Texts => merge.natural(texts(base), texts(over)),
            },
        )
    }

    fn natural(&mut self, base: Node, over: Node) -> Node {
        match (&base.value, &over.value) {
            (Value::Mapping(_), _) => self.mappings(base, over, &mut |merge, _, base, over| {
                merge.natural(base, over)
            }),
            (Value::List(_), _) => self.lists(base, over),
            (_, Value::Null) => base,
            (_, _) => over,
        }
    }

    fn lists(&mut self, base: Node, over: Node) -> Node {
        match (base.value, over.value) {
            (Value::List(mut items), Value::List(further)) => {
                items.extend(further);
                Node {
                    span: over.span,
                    value: Value::List(items),
                }
            }
            (value, over_value) => self.differ(base.span, value, over.span, over_value),
        }
    }

    fn mappings(
        &mut self,
        base: Node,
        over: Node,
        both: &mut dyn FnMut(&mut Self, &str, Node, Node) -> Node,
    ) -> Node {
        let (mut entries, further) = match (base.value, over.value) {
            (Value::Mapping(entries), Value::Mapping(further)) => (entries, further),
            (value, over_value) => return self.differ(base.span, value, over.span, over_value),
        };
        let known: Vec<Option<usize>> = {
            let positions = positions(&entries);
            let keys = further.iter().map(|entry| entry.key.text.as_str());
            keys.map(|key| positions.get(key).copied()).collect()
        };
        for (over, position) in further.into_iter().zip(known) {
            let Some(entry) = position.and_then(|at| entries.get_mut(at)) else {
                entries.push(over);
                continue;
            };
            let base = std::mem::replace(&mut entry.value, Node::null(entry.key.span));
            entry.value = both(self, &over.key.text, base, over.value);
            entry.key = over.key;
        }
        Node {
            span: over.span,
            value: Value::Mapping(entries),
        }
    }

    /// Values of two kinds: nothing yields to something, and the rest cannot be merged.
    fn differ(
        &mut self,
        span: crate::source::Span,
        value: Value,
        over_span: crate::source::Span,
        over_value: Value,
    ) -> Node {
        let base = Node { span, value };
        let over = Node {
            span: over_span,
            value: over_value,
        };
        match (&base.value, &over.value) {
            (_, Value::Null) | (Value::Broken, _) => base,
            (Value::Null, _) => over,
            (_, Value::Broken) => over,
            (_, _) => {
                let message = format!("{} cannot override {}", over.kind(), base.kind());
                let finding = Finding::error(over.span, message)
                    .because(format!("this is {}", over.kind()))
                    .also(base.span, format!("this is {}", base.kind()))
                    .help("write both in the same form");
                self.findings.push(finding);
                Node {
                    span: over.span,
                    value: Value::Broken,
                }
            }
        }
    }
}

fn is_mapping(node: &Node) -> bool {
    matches!(node.value, Value::Mapping(_))
}

/// A list as a mapping, the later of two with one key; other values as they are.
fn by_key(node: Node, entry: impl Fn(&Node) -> Entry) -> Node {
    let Value::List(items) = node.value else {
        return node;
    };
    let entries: Vec<Entry> = items.iter().map(entry).collect();
    let last = positions(&entries);
    let kept = (0..)
        .zip(&entries)
        .filter(|(index, entry)| last.get(entry.key.text.as_str()) == Some(index));
    Node {
        span: node.span,
        value: Value::Mapping(kept.map(|(_, entry)| entry.clone()).collect()),
    }
}

/// `"A=1"` as the entry `A: "1"`, `"B"` as `B: null`.
pub(crate) fn assignment(item: &Node) -> Entry {
    match item.scalar() {
        Some(text) => match text.split_once('=') {
            Some((name, value)) => keyed(item, name, Node::text(item.span, value)),
            None => keyed(item, &text, Node::null(item.span)),
        },
        None => keyed(item, "", item.clone()),
    }
}

/// A service in a list of dependencies, with what a list says of it.
fn dependency(item: &Node) -> Entry {
    let condition = keyed(item, "condition", Node::text(item.span, "service_started"));
    let value = Node {
        span: item.span,
        value: Value::Mapping(vec![condition]),
    };
    named(item, value)
}

/// A network in a list of networks.
fn network(item: &Node) -> Entry {
    named(item, Node::null(item.span))
}

/// An item under its own name; one that is no name stays, to be reported later.
fn named(item: &Node, value: Node) -> Entry {
    match item.scalar() {
        Some(name) => keyed(item, &name, value),
        None => keyed(item, "", item.clone()),
    }
}

fn keyed(item: &Node, name: &str, value: Node) -> Entry {
    Entry {
        key: Key {
            span: item.span,
            text: name.to_owned(),
        },
        value,
    }
}

fn texts(node: Node) -> Node {
    if !matches!(node.value, Value::Text(_)) {
        return node;
    }
    Node {
        span: node.span,
        value: Value::List(vec![node]),
    }
}

#[cfg(test)]
mod tests;
