//! The document as YAML, for people.

use model::AppSpec;
use serde_json::Value;

/// The app as a compose document in YAML: the same as `document`, as people write it.
#[must_use]
pub fn yaml(app: &AppSpec) -> String {
    let mut text = String::new();
    block(&super::value(app), 0, &mut text);
    text
}

/// Writes a mapping or list, each entry on a line of its own at this indentation.
pub(crate) fn block(value: &Value, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                text.push_str(&format!("{margin}{}:", scalar(&Value::from(key.as_str()))));
                below(value, indent + 2, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                if is_block(item) {
                    block(item, indent + 2, &mut inner);
                } else {
                    inner = format!("{margin}  {}\n", scalar(item));
                }
                let inner = inner.get(indent + 2..).unwrap_or("");
                text.push_str(&format!("{margin}- {inner}"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&format!("{margin}{}\n", scalar(value)));
        }
    }
}

/// Writes what follows a key and its colon.
fn below(value: &Value, indent: usize, text: &mut String) {
    if is_block(value) {
        text.push('\n');
        block(value, indent, text);
    } else {
        text.push_str(&format!(" {}\n", scalar(value)));
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value on one line; text without quotes only where it cannot be anything else.
fn scalar(value: &Value) -> String {
    match value.as_str() {
        Some(text) if is_plain(text) => text.to_owned(),
        Some(_) | None => value.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    // Words that some reader of YAML takes for something else, as they take dates.
    let words = ["yes", "no", "on", "off", "y", "n"];
    let lower = text.to_ascii_lowercase();
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.contains(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-+:@".contains(c))
        && !text.ends_with(':')
        && !words.contains(&lower.as_str())
        && matches!(text::yaml::plain(text), text::Value::Text(_))
}
