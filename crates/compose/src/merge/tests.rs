//! Trees merge as small models of each rule do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::source::Source;
use crate::yaml;

fn parse(text: &str, findings: &mut Findings) -> Node {
    let source = findings.sources.add(Source {
        path: "x".into(),
        text: text.to_owned(),
    });
    yaml::parse(source, findings).remove(0)
}

/// A tree as JSON, to compare without places.
fn shown(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Flag(flag) => (*flag).into(),
        Value::Integer(number) => i64::try_from(*number).unwrap().into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(shown).collect(),
        Value::Mapping(entries) => {
            let entries = entries.iter();
            let entries = entries.map(|entry| (entry.key.text.clone(), shown(&entry.value)));
            serde_json::Value::Object(entries.collect())
        }
        Value::Broken => "broken".into(),
    }
}

/// The key of the service after `base` and `over` were merged.
fn merged(key: &str, base: &str, over: &str) -> Option<serde_json::Value> {
    let mut findings = Findings::default();
    let file = |value: &str| format!("services: {{ s: {{ {key}: {value} }} }}");
    let base = parse(&file(base), &mut findings);
    let over = parse(&file(over), &mut findings);
    let all = documents(vec![base, over], &mut findings)?;
    let value = shown(&all)["services"]["s"][key].take();
    (!findings.has_errors()).then_some(value)
}

#[test]
fn each_key_has_its_rule() {
    for (key, base, over, expected) in [
        ("image", "a", "b", "b"),
        ("image", "a", "null", "a"),
        ("image", "null", "b", "b"),
        ("command", "[a, b]", "[c]", "[c]"),
        ("command", "a", "[c]", "[c]"),
        ("entrypoint", "[a]", "null", "null"),
        (
            "healthcheck",
            "{test: [a], retries: 1}",
            "{test: b, timeout: 1s}",
            "{test: b, retries: 1, timeout: 1s}",
        ),
        (
            "environment",
            "{A: 1, B: 2}",
            "[B=3, C]",
            "{A: 1, B: '3', C: null}",
        ),
        ("environment", "[A=1, A=2]", "{B: x}", "{A: '2', B: x}"),
        ("environment", "{A: 1}", "[A]", "{A: null}"),
        (
            "depends_on",
            "{a: {condition: x, restart: true}}",
            "[a]",
            "{a: {condition: service_started, restart: true}}",
        ),
        ("labels", "[a=1]", "[a=2]", "{a: '2'}"),
        (
            "depends_on",
            "[a, b]",
            "{b: {condition: x}}",
            "{a: {condition: service_started}, b: {condition: x}}",
        ),
        (
            "networks",
            "[a]",
            "{a: {aliases: [x]}}",
            "{a: {aliases: [x]}}",
        ),
        (
            "networks",
            "{a: {aliases: [x]}}",
            "{a: {aliases: [y]}}",
            "{a: {aliases: [x, y]}}",
        ),
        ("env_file", "a", "[b]", "[a, b]"),
        ("tmpfs", "a", "b", "[a, b]"),
        ("ports", "['80']", "['81', '80']", "['80', '81', '80']"),
        ("expose", "[1]", "null", "[1]"),
        (
            "deploy",
            "{labels: [a=1], resources: {limits: {pids: 1}}}",
            "{labels: {b: 2}, resources: {limits: {memory: 1g}}}",
            "{labels: {a: '1', b: 2}, resources: {limits: {pids: 1, memory: 1g}}}",
        ),
        (
            "x-roads",
            "{activation: {idle: 1s}}",
            "{activation: {mode: always}}",
            "{activation: {idle: 1s, mode: always}}",
        ),
    ] {
        let expected = shown(&parse(expected, &mut Findings::default()));
        assert_eq!(
            merged(key, base, over),
            Some(expected),
            "{key}: {base} and {over}"
        );
    }
}

#[test]
fn two_kinds_do_not_merge() {
    for (key, base, over) in [
        ("ports", "[80]", "{a: b}"),
        ("environment", "{A: 1}", "text"),
        ("deploy", "{replicas: 1}", "[1]"),
    ] {
        assert_eq!(merged(key, base, over), None, "{key}");
    }
}

type Model = BTreeMap<String, Option<String>>;

fn model() -> impl Strategy<Value = Model> {
    let value = prop::option::of("[a-z]{0,3}");
    prop::collection::btree_map("[A-D]", value, 0..5)
}

/// As a list of assignments or as a mapping: it is the same.
fn write(model: &Model, as_list: bool) -> String {
    let item = |(name, value): (&String, &Option<String>)| match (value, as_list) {
        (Some(value), true) => format!("{name}={value}"),
        (None, true) => name.clone(),
        (Some(value), false) => format!("{name}: '{value}'"),
        (None, false) => format!("{name}: null"),
    };
    let items = model.iter().map(item).collect::<Vec<_>>().join(", ");
    if as_list {
        format!("[{items}]")
    } else {
        format!("{{{items}}}")
    }
}

proptest! {
    #[test]
    fn assignments_merge_by_name(
        base in model(), over in model(), base_as_list: bool, over_as_list: bool,
    ) {
        let got = merged("environment", &write(&base, base_as_list), &write(&over, over_as_list));
        let mut expected = base;
        expected.extend(over);
        let expected = serde_json::to_value(expected).unwrap();
        prop_assert_eq!(got, Some(expected));
    }

    #[test]
    fn lists_grow(base in prop::collection::vec("[a-z]{1,3}x", 0..4), over in prop::collection::vec("[a-z]{1,3}x", 0..4)) {
        let file = |items: &[String]| format!("[{}]", items.join(", "));
        let got = merged("expose", &file(&base), &file(&over));
        let expected: Vec<String> = base.into_iter().chain(over).collect();
        prop_assert_eq!(got, Some(expected.into()));
    }
}
