//! Two long trees as one (compose-spec, "Merge and override").
//!
//! What the values are says how they are merged: mappings by key, lists one after the other (a
//! later item in the place of an earlier that is the same, such as a mount at its target), and of
//! anything else the later counts. A later null changes nothing, except where null is a value.

use text::{Finding, Findings, Node, Tag, Value, positions};

use crate::normalise::united;
use crate::schema::{Shape, Unique};

/// `over` over `base`, both of this shape. The tags of `over` stay.
pub(crate) fn merge(base: Node, over: Node, shape: &Shape, findings: &mut Findings) -> Node {
    match (&base.value, &over.value, over.tag) {
        (_, _, Tag::Reset | Tag::Override) => over,
        (_, Value::Null, Tag::None) if is_cleared_by_null(shape) => over,
        (_, Value::Null, Tag::None) | (Value::Broken, _, Tag::None) => base,
        (Value::Null, _, Tag::None) | (_, Value::Broken, Tag::None) => over,
        (Value::Mapping(_), Value::Mapping(_), Tag::None) => mappings(base, over, shape, findings),
        (Value::List(_), Value::List(_), Tag::None) => lists(base, over, shape),
        (Value::List(_) | Value::Mapping(_), _, Tag::None) if matches!(shape, Shape::Any) => {
            differ(&base, &over, findings)
        }
        (_, _, Tag::None) => over,
    }
}

fn is_cleared_by_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Command | Shape::Test)
}

fn mappings(base: Node, over: Node, shape: &Shape, findings: &mut Findings) -> Node {
    if let Shape::Table(table) = shape
        && table.same.is_some_and(|key| differs(&base, &over, key))
    {
        return over;
    }
    let (span, tag) = (over.span, over.tag);
    let (Value::Mapping(mut entries), Value::Mapping(further)) = (base.value, over.value) else {
        return Node::broken(span);
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
        entry.value = match below(shape, &over.key.text) {
            Some(shape) => merge(base, over.value, shape, findings),
            // A variable without a value is one all the same.
            None => over.value,
        };
        entry.key = over.key;
    }
    let value = Value::Mapping(entries);
    Node { span, tag, value }
}

/// The shape of the value at a key; absent where the later value counts whatever it is.
fn below(shape: &Shape, key: &str) -> Option<&'static Shape> {
    match shape {
        Shape::Table(table) | Shape::Short(_, table) => Some(table.shape(key)),
        Shape::Named(_, value) | Shape::NamesOr(_, value) => Some(value),
        Shape::Assignments(..) => None,
        Shape::Any
        | Shape::One(_)
        | Shape::Command
        | Shape::Test
        | Shape::Hosts
        | Shape::List(..)
        | Shape::OneOrMany(..)
        | Shape::Gpus(_)
        | Shape::External => Some(&Shape::Any),
    }
}

/// Whether both mappings have the key, with different values.
fn differs(base: &Node, over: &Node, key: &str) -> bool {
    let text = |node: &Node| node.at(key).and_then(Node::scalar);
    let (base, over) = (text(base), text(over));
    base.is_some() && over.is_some() && base != over
}

fn lists(base: Node, over: Node, shape: &Shape) -> Node {
    let (span, tag) = (over.span, over.tag);
    let (Value::List(mut items), Value::List(further)) = (base.value, over.value) else {
        return Node::broken(span);
    };
    if matches!(shape, Shape::Command | Shape::Test) {
        items.clear();
    }
    items.extend(further);
    let unique = if let Shape::List(_, unique) | Shape::OneOrMany(_, unique) = shape {
        *unique
    } else if let Shape::Hosts = shape {
        Unique::Whole
    } else {
        Unique::Any
    };
    let value = Value::List(united(items, unique));
    Node { span, tag, value }
}

/// Two kinds of which one is no scalar cannot be merged.
fn differ(base: &Node, over: &Node, findings: &mut Findings) -> Node {
    let message = format!("{} cannot override {}", over.kind(), base.kind());
    let finding = Finding::error(over.span, message)
        .because(format!("this is {}", over.kind()))
        .also(base.span, format!("this is {}", base.kind()))
        .help("write both in the same form");
    findings.push(finding);
    Node::broken(over.span)
}

/// Takes out what `!reset` names, and the tags, which have done their work.
pub(crate) fn settle(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Mapping(entries) => {
            entries.retain(|entry| entry.value.tag != Tag::Reset);
            for entry in entries {
                settle(&mut entry.value);
            }
        }
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            for item in items {
                settle(item);
            }
        }
        Value::Null
        | Value::Flag(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Broken => {}
    }
}

#[cfg(test)]
mod tests;
