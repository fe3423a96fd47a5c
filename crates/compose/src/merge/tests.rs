//! Long trees merge as small models of each rule do.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use text::{Source, yaml};

use super::*;
use crate::load::Variables;
use crate::normalise::{Normalise, Scope, What};
use crate::schema::SERVICE;

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

/// One service in long syntax, as the first file says it, and as `over` says it over that.
fn merged(key: &str, base: &str, over: &str) -> Option<serde_json::Value> {
    let mut findings = Findings::default();
    let scope = Scope {
        number: 0,
        directory: "/app".into(),
        environment: Rc::default(),
        variables: Variables::Replaced,
    };
    let mut long = |value: &str| {
        let file = parse(&format!("{{ {key}: {value} }}"), &mut findings);
        let mut normalise = Normalise {
            findings: &mut findings,
            scope: &scope,
            ports: &mut 0,
        };
        normalise.value(file, &SHAPE, What::The("a service"))
    };
    let (base, over) = (long(base), long(over));
    let mut all = merge(base, over, &SHAPE, &mut findings);
    settle(&mut all);
    let value = shown(&all)[key].take();
    (!findings.has_errors()).then_some(value)
}

const SHAPE: Shape = Shape::Table(&SERVICE);

/// A key, its value in two files, and what it is then.
const RULES: &[(&str, &str, &str, &str)] = &[
    ("image", "a", "b", "b"),
    ("image", "a", "null", "a"),
    ("image", "null", "b", "b"),
    ("image", "a", "!reset b", "null"),
    ("command", "[a, b]", "[c]", "[c]"),
    ("command", "a", "[c]", "[c]"),
    ("entrypoint", "[a]", "null", "null"),
    (
        "healthcheck",
        "{test: [CMD, a], retries: 1}",
        "{test: b, timeout: 1s}",
        "{test: [CMD-SHELL, b], retries: 1, timeout: 1s}",
    ),
    (
        "environment",
        "{A: 1, B: 2}",
        "[B=3, C]",
        "{A: '1', B: '3', C: null}",
    ),
    ("environment", "[A=1, A=2]", "{B: x}", "{A: '2', B: x}"),
    ("environment", "{A: 1}", "[A]", "{A: null}"),
    (
        "environment",
        "{A: 1, B: 2}",
        "{A: !reset null}",
        "{B: '2'}",
    ),
    ("environment", "{A: 1}", "!override {B: 2}", "{B: '2'}"),
    ("labels", "[a=1]", "[a=2]", "{a: '2'}"),
    (
        "depends_on",
        "{a: {condition: service_healthy, restart: true}}",
        "[a]",
        "{a: {condition: service_started, required: true, restart: true}}",
    ),
    (
        "depends_on",
        "{a: {condition: service_healthy, required: false}}",
        "{a: {restart: true}}",
        "{a: {condition: service_healthy, required: false, restart: true}}",
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
        "{a: {aliases: [y, x]}}",
        "{a: {aliases: [x, y]}}",
    ),
    (
        "networks",
        "{a: {aliases: [x]}}",
        "[a]",
        "{a: {aliases: [x]}}",
    ),
    (
        "env_file",
        "a",
        "[b, {path: a, required: false}]",
        "[{path: /app/a, required: false}, {path: /app/b}]",
    ),
    ("tmpfs", "/a", "[/b, /a]", "[/a, /b]"),
    ("expose", "[1]", "[2, 1]", "['1', '2']"),
    ("expose", "[1]", "null", "['1']"),
    ("expose", "[1]", "!override [2]", "['2']"),
    ("cap_add", "[A]", "[B, A]", "[A, B]"),
    ("dns", "1.1.1.1", "[8.8.8.8]", "[1.1.1.1, 8.8.8.8]"),
    (
        "volumes",
        "['a:/x', 'b:/y']",
        "['c:/x:ro']",
        "[{type: volume, source: c, target: /x, read_only: true, volume: {}},
              {type: volume, source: b, target: /y, volume: {}}]",
    ),
    (
        "secrets",
        "[a, b]",
        "[{source: c, target: /run/secrets/a}]",
        "[{source: c, target: /run/secrets/a}, {source: b}]",
    ),
    (
        "extra_hosts",
        "['a:1.1.1.1']",
        "{a: 1.1.1.1, b: '[::1]'}",
        "[a=1.1.1.1, 'b=::1']",
    ),
    ("build", ".", "{target: x}", "{context: /app, target: x}"),
    (
        "logging",
        "{driver: a, options: {x: 1}}",
        "{driver: b, options: {y: 1}}",
        "{driver: b, options: {y: '1'}}",
    ),
    (
        "logging",
        "{driver: a, options: {x: 1}}",
        "{options: {y: 1}}",
        "{driver: a, options: {x: '1', y: '1'}}",
    ),
    (
        "ulimits",
        "{a: 1, b: 2}",
        "{a: {soft: 1, hard: 2}}",
        "{a: {soft: 1, hard: 2}, b: 2}",
    ),
    (
        "deploy",
        "{labels: [a=1], resources: {limits: {pids: 1}}}",
        "{labels: {b: 2}, resources: {limits: {memory: 1k}}}",
        "{labels: {a: '1', b: '2'}, resources: {limits: {pids: 1, memory: '1024'}}}",
    ),
    (
        "x-roads",
        "{activation: {idle: 1s}}",
        "{activation: always}",
        "{activation: {idle: 1s, mode: always}}",
    ),
    (
        "x-any",
        "{a: [1], b: 1}",
        "{a: [2], c: 1}",
        "{a: [1, 2], b: 1, c: 1}",
    ),
];

#[test]
fn each_key_has_its_rule() {
    for (key, base, over, expected) in RULES {
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
        ("x-any", "[1]", "{a: b}"),
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

    /// Ports are one by address, published port, target and protocol; the order is that of the
    /// first of each.
    #[test]
    fn ports_are_a_list_without_doubles(
        base in prop::collection::vec(port(), 0..5), over in prop::collection::vec(port(), 0..5),
    ) {
        let file = |ports: &[Port]| {
            let ports: Vec<String> = ports.iter().map(Port::written).collect();
            format!("[{}]", ports.join(", "))
        };
        let got = merged("ports", &file(&base), &file(&over));
        let got = got.map(|ports| ports.as_array().unwrap().iter().map(Port::read).collect());
        let mut expected: Vec<Port> = Vec::new();
        for port in base.into_iter().chain(over) {
            if !expected.contains(&port) {
                expected.push(port);
            }
        }
        prop_assert_eq!(got, Some(expected));
    }
}

/// A port of a file; how it is written makes no other of it.
#[derive(Debug, Clone)]
struct Port {
    published: Option<u8>,
    target: u8,
    udp: bool,
    long: bool,
}

impl PartialEq for Port {
    fn eq(&self, other: &Self) -> bool {
        let what = |port: &Self| (port.published, port.target, port.udp);
        what(self) == what(other)
    }
}

impl Port {
    fn written(&self) -> String {
        let protocol = if self.udp { "udp" } else { "tcp" };
        match (self.published, self.long) {
            (Some(published), true) => format!(
                "{{ target: {}, published: '{published}', protocol: {protocol} }}",
                self.target
            ),
            (Some(published), false) => format!("'{published}:{}/{protocol}'", self.target),
            (None, true) => format!("{{ target: {}, protocol: {protocol} }}", self.target),
            (None, false) => format!("'{}/{protocol}'", self.target),
        }
    }

    fn read(value: &serde_json::Value) -> Self {
        Self {
            published: value["published"]
                .as_str()
                .map(|text| text.parse().unwrap()),
            target: u8::try_from(value["target"].as_u64().unwrap()).unwrap(),
            udp: value["protocol"] == "udp",
            long: false,
        }
    }
}

prop_compose! {
    fn port()(published in prop::option::of(1_u8..3), target in 1_u8..3, udp: bool, long: bool) -> Port {
        Port { published, target, udp, long }
    }
}
