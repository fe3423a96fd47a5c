//! `${VARIABLE}` in values (compose-spec, "Interpolation").
//!
//! Grammar: `$$` is a dollar, and so is one that begins no variable; `$NAME` and `${NAME}` are the variable, or nothing when it is not
//! set; `${NAME:-word}`, `${NAME-word}` fall back to the word when it is unset (with the colon:
//! or empty); `${NAME:+word}`, `${NAME+word}` are the word when it is set (and not empty);
//! `${NAME:?word}`, `${NAME?word}` are an error that says the word. A word is again a template.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Finding, Findings};
use crate::source::Span;
use crate::tree::{Node, Value};

/// The deepest nesting of words.
const DEPTH_MAX: usize = 32;
/// The most text that one value may become; a short template with a long variable is a bomb.
pub(crate) const VALUE_BYTES_MAX: usize = 16 << 20;
/// The most text that the values of one load may become together.
const BYTES_MAX: usize = 64 << 20;

/// Why a template has no value, with the part of it that is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault<'t> {
    /// `${` without its `}`.
    #[error("`${{` is not closed")]
    Unclosed(&'t str),
    /// What is between the braces is no variable.
    #[error("`{0}` is no variable")]
    Variable(&'t str),
    /// `${NAME:?word}` of a variable that is not there.
    #[error("the variable `{name}` is not set{}{message}", if message.is_empty() { "" } else { ": " })]
    Required {
        /// The whole of it.
        part: &'t str,
        /// The variable.
        name: &'t str,
        /// The word.
        message: String,
    },
    /// Words within words, without end.
    #[error("more than {DEPTH_MAX} variables are nested here")]
    Deep(&'t str),
    /// A value of more text than any may have.
    #[error("the variables make more than {VALUE_BYTES_MAX} bytes of text")]
    Long(&'t str),
}

impl<'t> Fault<'t> {
    /// The text to blame.
    pub fn part(&self) -> &'t str {
        match self {
            Self::Unclosed(part)
            | Self::Variable(part)
            | Self::Deep(part)
            | Self::Long(part)
            | Self::Required { part, .. } => part,
        }
    }

    fn help(&self) -> String {
        match self {
            Self::Unclosed(_) => "write `${NAME}`, or `$$` for a dollar".to_owned(),
            Self::Variable(_) => {
                "a name is letters, digits and _, and may be followed by :- - :? ? :+ or +"
                    .to_owned()
            }
            Self::Required { name, .. } => {
                format!("set {name} in the environment or in the .env file")
            }
            Self::Deep(_) => "use fewer".to_owned(),
            Self::Long(_) => "a long variable is used too often".to_owned(),
        }
    }
}

/// The value of a variable, if it is set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The value of a template, and the variables in it that are not set.
pub fn interpolate<'t>(
    template: &'t str,
    lookup: &Lookup<'_>,
) -> Result<(String, BTreeSet<&'t str>), Fault<'t>> {
    let mut unset = BTreeSet::new();
    let value = expand(template, lookup, &mut unset, 0)?;
    Ok((value, unset))
}

fn expand<'t>(
    template: &'t str,
    lookup: &Lookup<'_>,
    unset: &mut BTreeSet<&'t str>,
    depth: usize,
) -> Result<String, Fault<'t>> {
    if depth > DEPTH_MAX {
        return Err(Fault::Deep(template));
    }
    let mut value = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        value.push_str(before);
        if value.len() > VALUE_BYTES_MAX {
            return Err(Fault::Long(template));
        }
        let after = &from[1..];
        if let Some(after) = after.strip_prefix('$') {
            value.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let close = closing_brace(inside).ok_or(Fault::Unclosed(from))?;
            let part = &from[..close + 3];
            value.push_str(&braced(part, &inside[..close], lookup, unset, depth)?);
            rest = &inside[close + 1..];
        } else {
            let (name, after) = split_name(after);
            rest = after;
            if name.is_empty() {
                // It begins no variable, so it is a dollar.
                value.push('$');
                continue;
            }
            value.push_str(&plain(name, lookup, unset));
        }
    }
    value.push_str(rest);
    Ok(value)
}

/// The value of `part`, which is `${inside}`.
fn braced<'t>(
    part: &'t str,
    inside: &'t str,
    lookup: &Lookup<'_>,
    unset: &mut BTreeSet<&'t str>,
    depth: usize,
) -> Result<String, Fault<'t>> {
    let (name, operator) = split_name(inside);
    if name.is_empty() {
        return Err(Fault::Variable(part));
    }
    if operator.is_empty() {
        return Ok(plain(name, lookup, unset));
    }
    let value = lookup(name);
    let (value, operator) = match operator.strip_prefix(':') {
        Some(operator) => (value.filter(|value| !value.is_empty()), operator),
        None => (value, operator),
    };
    let mut expand_word = |word| expand(word, lookup, unset, depth + 1);
    if let Some(word) = operator.strip_prefix('-') {
        value.map_or_else(|| expand_word(word), Ok)
    } else if let Some(word) = operator.strip_prefix('+') {
        value.map_or_else(|| Ok(String::new()), |_| expand_word(word))
    } else if let Some(word) = operator.strip_prefix('?') {
        let required = |message| Fault::Required {
            part,
            name,
            message,
        };
        value.map_or_else(|| Err(required(expand_word(word)?)), Ok)
    } else {
        Err(Fault::Variable(part))
    }
}

fn plain<'t>(name: &'t str, lookup: &Lookup<'_>, unset: &mut BTreeSet<&'t str>) -> String {
    lookup(name).unwrap_or_else(|| {
        unset.insert(name);
        String::new()
    })
}

/// The brace that closes what is open at the start; braces within are in pairs.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (index, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(index);
        }
    }
    None
}

fn split_name(text: &str) -> (&str, &str) {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(starts) {
        return ("", text);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

/// Interpolates every value of documents; keys stay as they are.
#[derive(Debug)]
pub struct Interpolation<'a> {
    variables: &'a BTreeMap<String, String>,
    bytes: &'a mut usize,
}

impl<'a> Interpolation<'a> {
    /// With these variables; `bytes` counts the text that they have made in one load.
    pub fn new(variables: &'a BTreeMap<String, String>, bytes: &'a mut usize) -> Self {
        Self { variables, bytes }
    }

    /// Replaces the texts below `node`. What is wrong is reported, and the value broken.
    pub fn apply(&mut self, node: &mut Node, findings: &mut Findings) {
        match &mut node.value {
            Value::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                node.value = match self.value(&text, node.span, findings) {
                    Some(value) => Value::Text(value),
                    None => Value::Broken,
                };
            }
            Value::List(items) => {
                for item in items {
                    self.apply(item, findings);
                }
            }
            Value::Mapping(entries) => {
                for entry in entries {
                    self.apply(&mut entry.value, findings);
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

    fn value(&mut self, template: &str, span: Span, findings: &mut Findings) -> Option<String> {
        if *self.bytes > BYTES_MAX {
            // It was reported, and the rest is as long.
            return None;
        }
        let lookup = |name: &str| self.variables.get(name).cloned();
        match interpolate(template, &lookup) {
            Ok((value, unset)) => {
                for name in unset {
                    let span = span.narrow(&findings.sources, name);
                    findings.push(not_set(span, name));
                }
                *self.bytes += value.len();
                if *self.bytes <= BYTES_MAX {
                    return Some(value);
                }
                let message = format!("the variables make more than {BYTES_MAX} bytes of text");
                let finding = Finding::error(span, message);
                findings.push(finding.help("a long variable is used too often"));
            }
            Err(fault) => {
                let span = span.narrow(&findings.sources, fault.part());
                let finding = Finding::error(span, fault.to_string()).help(fault.help());
                findings.push(finding);
            }
        }
        None
    }
}

fn not_set(span: Span, name: &str) -> Finding {
    Finding::warning(span, format!("the variable `{name}` is not set"))
        .because("nothing stands here")
        .help(format!(
            "set {name} in the environment or in the .env file, or give a default: ${{{name}:-…}}"
        ))
}

#[cfg(test)]
mod tests;
