//! Trees from text: values as Compose's reader has them, places, and bounds.

use super::*;
use crate::source::Source;

fn parse_text(text: &str) -> (Vec<Node>, Findings) {
    let mut findings = Findings::default();
    let source = findings.sources.add(Source {
        path: "x".into(),
        text: text.to_owned(),
    });
    (parse(source, &mut findings), findings)
}

fn value(text: &str) -> Value {
    let (mut documents, findings) = parse_text(text);
    assert!(!findings.has_errors(), "{text:?}");
    documents.remove(0).value
}

#[test]
fn scalars_are_those_of_compose() {
    for (text, expected) in [
        ("~", Value::Null),
        ("true", Value::Flag(true)),
        ("yes", Value::Text("yes".into())),
        ("12", Value::Integer(12)),
        ("-12", Value::Integer(-12)),
        ("1_000", Value::Integer(1000)),
        ("0x1F", Value::Integer(31)),
        ("0o17", Value::Integer(15)),
        ("0755", Value::Integer(493)),
        ("0b101", Value::Integer(5)),
        ("089", Value::Float(89.0)),
        ("1.10", Value::Float(1.1)),
        ("1e3", Value::Float(1000.0)),
        (".5", Value::Float(0.5)),
        ("1.2.3", Value::Text("1.2.3".into())),
        ("12:30", Value::Text("12:30".into())),
        ("0x", Value::Text("0x".into())),
        ("+-1", Value::Text("+-1".into())),
        ("\"12\"", Value::Text("12".into())),
        ("!!str 12", Value::Text("12".into())),
        ("|\n a\n b\n", Value::Text("a\nb\n".into())),
    ] {
        assert_eq!(value(text), expected, "{text:?}");
    }
}

#[test]
fn places_are_bytes_of_the_text() {
    for text in [
        "a: [b, 'c d']\n",
        "é: [ü, 'c 🚲']\r\n",
        "\u{feff}a: [b, 'ü']\r\n",
    ] {
        let (documents, findings) = parse_text(text);
        let entry = &documents[0].entries()[0];
        let slice = |span| findings.sources.slice(span).to_owned();
        assert_eq!(
            slice(entry.key.span),
            text.trim_start_matches('\u{feff}')
                .split(':')
                .next()
                .unwrap()
        );
        let Value::List(items) = &entry.value.value else {
            panic!("{text:?}");
        };
        let inside = text.split(['[', ']']).nth(1).unwrap();
        let spans: Vec<String> = items.iter().map(|item| slice(item.span)).collect();
        assert_eq!(spans.join(", "), inside);
    }
}

#[test]
fn merge_keys_yield_to_what_is_written() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {'<<': 1}\n";
    let (documents, findings) = parse_text(text);
    assert!(!findings.has_errors());
    let c = &documents[0].get("c").unwrap().value;
    let get = |key: &str| c.get(key).map(|entry| entry.value.value.clone());
    assert_eq!(get("x"), Some(Value::Integer(1)));
    assert_eq!(get("y"), Some(Value::Integer(1)));
    assert_eq!(get("z"), Some(Value::Integer(3)));
    assert_eq!(
        documents[0].get("d").unwrap().value.entries()[0].key.text,
        "<<"
    );
}

#[test]
fn depth_counts_what_aliases_hold() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(!parse_text(&nested(DEPTH_MAX)).1.has_errors());
    assert!(parse_text(&nested(DEPTH_MAX + 1)).1.has_errors());
    let chain = |links: usize| {
        let mut text = "a0: &a0 [[[[[[[[[[]]]]]]]]]]\n".to_owned();
        for link in 1..=links {
            text += &format!("a{link}: &a{link} [[[[[[[[[*a{}]]]]]]]]]\n", link - 1);
        }
        parse_text(&text).1.has_errors()
    };
    assert!(!chain(10));
    assert!(chain(20));
}

#[test]
fn documents_of_one_text_are_several() {
    let (documents, findings) = parse_text("a: 1\n---\nb: 2\n...\n");
    assert!(!findings.has_errors());
    assert_eq!(documents.len(), 2);
}

#[test]
fn a_doubled_key_shows_both_places() {
    let (_, findings) = parse_text("a: 1\nb: 2\na: 3\n");
    let diagnostics = findings.finish();
    let starts: Vec<usize> = diagnostics.0[0]
        .labels
        .iter()
        .map(|l| l.range.start)
        .collect();
    assert_eq!(starts, [10, 0]);
}

#[test]
fn between_brackets_indentation_means_nothing() {
    for text in [
        "a:\n  b: [\n    c,\n  ]\n  d: e\n",
        "a:\n  b: [\n    c, # no\n    # é no: [\n\n  ]\n  d: e\n",
        "a:\n  b: [\n  c,\n]\n  d: e\n",
        "a:\r\n  b: [\r\n c\r\n ]\r\n  d: e\r\n",
    ] {
        let (documents, findings) = parse_text(text);
        assert!(!findings.has_errors(), "{text}: {}", findings.finish());
        let a = &documents[0].get("a").unwrap().value;
        assert_eq!(a.texts_at("b"), Some(vec!["c".to_owned()]), "{text}");
        let d = a.get("d").unwrap();
        assert_eq!(findings.sources.slice(d.value.span), "e", "{text}");
    }
    assert!(parse_text("a:\n  b: [\n    c\n  d: e\n").1.has_errors());
}
