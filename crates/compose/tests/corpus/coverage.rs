//! No key of the specification is left out of the corpus.

use compose::{Standing, keys};
use serde_json::Value;

use super::case::cases;
use super::loaded;

/// What the resolved form has no more, since what it said has been done; and `document`, which only
/// the form of a Spec has.
const DONE: &[&str] = &[
    "configs.*.environment",
    "include",
    "services.*.env_file",
    "services.*.extends",
    "services.*.label_file",
    "services.*.profiles",
    "version",
    "x-roads.document",
];

#[test]
fn every_key_is_in_the_resolved_form_of_some_file() {
    let all = cases("files").into_iter().chain(cases("specs"));
    let forms: Vec<Value> = all
        .map(|case| loaded(&case).unwrap().resolved.value())
        .collect();
    let is_done = |path: &str| DONE.iter().any(|done| path.starts_with(done));
    let mut missing = keys().filter(|key| key.standing != Standing::Refused && !is_done(&key.path));
    let has = |path: &str| forms.iter().any(|form| holds(form, path));
    let missing: Vec<String> = missing
        .by_ref()
        .map(|key| key.path)
        .filter(|path| !has(path))
        .collect();
    assert!(missing.is_empty(), "in no file: {missing:#?}");
}

/// Whether a path, as [`keys`] writes it, leads somewhere.
fn holds(value: &Value, path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, is_list) = match first.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (first, false),
    };
    let below = |value: &Value| match value.as_array() {
        Some(items) if is_list => items.iter().any(|item| holds(item, rest)),
        Some(_) | None => !is_list && holds(value, rest),
    };
    match (name, value.as_object()) {
        ("*", Some(fields)) => fields.values().any(below),
        (name, Some(fields)) => fields.get(name).is_some_and(below),
        (_, None) => false,
    }
}
