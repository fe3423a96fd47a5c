//! The tables in the documentation are those of the code.
//!
//! They stand between two marks in their files. When one differs, the test says so;
//! `ROADS_DOCS=write cargo test -p roadstead-compose --test docs` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test may fail here")]

use std::fmt::Write as _;
use std::path::Path;

use compose::{Engine, Key, Kind, Standing, keys};

const BEGIN: &str = "<!-- generated from the code: begin -->\n";
const END: &str = "<!-- generated from the code: end -->\n";

/// Compares what stands between the marks of a file, or writes it.
fn holds(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (between, after) = rest.split_once(END).unwrap();
    if std::env::var_os("ROADS_DOCS").is_some_and(|value| value == "write") {
        let text = format!("{before}{BEGIN}{generated}{END}{after}");
        std::fs::write(&path, text).unwrap();
    } else {
        assert!(
            between == generated,
            "docs/{file} differs from the code: ROADS_DOCS=write cargo test -p roadstead-compose --test docs"
        );
    }
}

fn engine(engine: Engine) -> &'static str {
    match engine {
        Engine::Embedded => "embedded",
        Engine::Docker => "docker",
    }
}

fn standing(standing: Standing) -> String {
    match standing {
        Standing::Honoured => "honoured".to_owned(),
        Standing::HonouredOn(engines) => {
            let names: Vec<&str> = engines.iter().map(|e| engine(*e)).collect();
            format!("honoured on {}", names.join(", "))
        }
        Standing::Warned => "**ignored**, with a warning".to_owned(),
        Standing::Refused => "**refused**".to_owned(),
    }
}

fn kind(kind: Kind) -> String {
    let words = match kind {
        Kind::Any => "anything",
        Kind::Text => "text",
        Kind::Flag => "true or false",
        Kind::Whole => "whole number",
        Kind::Number => "number",
        Kind::Duration => "duration",
        Kind::Bytes => "bytes",
        Kind::Path => "path",
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            return words.join(", ");
        }
        Kind::Command => "command",
        Kind::Texts => "list of texts",
        Kind::TextOrTexts => "text, or a list of texts",
        Kind::Assignments => "`NAME: value`, or a list of `NAME=value`",
        Kind::List => "list",
        Kind::Mapping => "mapping",
        Kind::TextOrMapping => "text, or a mapping",
        Kind::NamesOrMapping => "list of names, or a mapping",
    };
    words.to_owned()
}

/// Rows of keys, each with what is to be shown as its name; `all` are the keys around them.
fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a Key)>, all: &[Key]) -> String {
    let mut text = String::from("| Key | Takes | Standing | |\n|---|---|---|---|\n");
    for (name, key) in rows {
        let required = if key.required { ", required" } else { "" };
        let standing = match ignored_above(key, all) {
            Some(above) => format!("**ignored** with `{above}`"),
            None => standing(key.standing),
        };
        let (kind, note) = (kind(key.kind), key.note);
        writeln!(
            text,
            "| `{name}` | {kind}{required} | {standing} | {note} |"
        )
        .unwrap();
    }
    text
}

/// The name of the first key above this one that is ignored or refused.
fn ignored_above<'a>(key: &Key, all: &'a [Key]) -> Option<&'a str> {
    let is_above = |above: &&Key| {
        let rest = key.path.strip_prefix(&above.path);
        rest.is_some_and(|rest| rest.starts_with(['.', '[']))
            && matches!(above.standing, Standing::Warned | Standing::Refused)
    };
    let above = all.iter().find(is_above)?;
    above.path.rsplit('.').next()
}

fn is_ours(path: &str) -> bool {
    path.split('.').any(|part| part == "x-roads")
}

/// A table for each section of a file, but for `x-roads`.
#[test]
fn the_table_of_the_specification_is_that_of_the_code() {
    let keys: Vec<Key> = keys().filter(|key| !is_ours(&key.path)).collect();
    let mut text = String::new();
    let top: Vec<&Key> = keys.iter().filter(|key| !key.path.contains('.')).collect();
    text.push_str("\n## A file\n\n");
    text.push_str(&table(
        top.iter().map(|key| (key.path.as_str(), *key)),
        &keys,
    ));
    for section in &top {
        let below = |key: &&Key| {
            let rest = key.path.strip_prefix(&section.path);
            rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        let below: Vec<&Key> = keys.iter().filter(below).collect();
        if !below.is_empty() {
            writeln!(text, "\n## `{}`\n", section.path).unwrap();
            let short = |key: &'_ &Key| {
                let rest = &key.path[section.path.len()..];
                rest.trim_start_matches(".*")
                    .trim_start_matches("[]")
                    .trim_start_matches('.')
                    .len()
            };
            let rows = below
                .iter()
                .map(|key| (&key.path[key.path.len() - short(key)..], *key));
            text.push_str(&table(rows, &keys));
        }
    }
    text.push('\n');
    holds("compose.md", &text);
}

#[test]
fn the_grammar_of_x_roads_is_that_of_the_code() {
    let keys: Vec<Key> = keys().filter(|key| is_ours(&key.path)).collect();
    let mut text = String::new();
    let places = [
        ("Of the app", "x-roads."),
        ("Of a service", "services.*.x-roads."),
    ];
    for (title, prefix) in places {
        writeln!(text, "\n### {title}\n").unwrap();
        let rows = keys
            .iter()
            .filter_map(|key| Some((key.path.strip_prefix(prefix)?, key)));
        text.push_str(&table(rows, &keys));
    }
    text.push('\n');
    holds("x-roads.md", &text);
}
