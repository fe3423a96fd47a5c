//! Environment files: `.env`, `--env-file` and `env_file` (compose-spec, "Environment files").
//!
//! One `NAME=value` a line (`export NAME=value` and `NAME: value` mean the same); `#` begins a
//! comment at the start of a line or after a blank. In double quotes backslashes escape and
//! variables are replaced; in single quotes nothing is; without quotes only variables are. Quoted
//! values may have several lines. A name alone takes its value from the surroundings.

use std::collections::BTreeMap;

use crate::diagnostic::{Finding, Findings};
use crate::interpolate::{Lookup, interpolate};
use crate::source::Span;

/// How the values of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With quotes and variables.
    Quoted,
    /// `format: raw`: what follows the `=` is the value.
    Raw,
}

/// The most text that the values of one file may be together; they may be made of each other.
const BYTES_MAX: usize = 32 << 20;

/// Reads the file into `variables`. `outer` comes before what the file itself has set.
pub fn read(
    source: u32,
    format: Format,
    outer: &Lookup<'_>,
    variables: &mut BTreeMap<String, String>,
    findings: &mut Findings,
) {
    let Some(file) = findings.sources.get(source).cloned() else {
        return;
    };
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut reader = Reader {
        source,
        shift: file.text.len() - text.len(),
        text,
        format,
        outer,
        variables,
        findings,
        bytes: 0,
    };
    let mut at = 0;
    while at < text.len() && reader.bytes <= BYTES_MAX {
        at = reader.statement(at);
    }
}

struct Reader<'a> {
    source: u32,
    /// The bytes before the text.
    shift: usize,
    text: &'a str,
    format: Format,
    outer: &'a Lookup<'a>,
    variables: &'a mut BTreeMap<String, String>,
    findings: &'a mut Findings,
    /// How long the values are together.
    bytes: usize,
}

impl<'a> Reader<'a> {
    /// Reads the line that begins at `at`; where the next one begins.
    fn statement(&mut self, at: usize) -> usize {
        let line = line_at(self.text, at);
        let next = at + line.len() + 1;
        let indent = line.len() - line.trim_start().len();
        let statement = line.trim();
        if statement.is_empty() || statement.starts_with('#') {
            return next;
        }
        let declared = statement
            .strip_prefix("export")
            .filter(|s| s.starts_with([' ', '\t']));
        let declared = declared.map_or(statement, str::trim_start);
        let start = at + indent + (statement.len() - declared.len());
        let separator = match self.format {
            Format::Quoted => declared.find(['=', ':']),
            Format::Raw => declared.find('='),
        };
        let name = declared
            .get(..separator.unwrap_or(declared.len()))
            .unwrap_or("")
            .trim_end();
        if !self.check_name(name, start) {
            return next;
        }
        let Some(separator) = separator else {
            if let Some(value) = (self.outer)(name) {
                self.variables.insert(name.to_owned(), value);
            }
            return next;
        };
        let value_start = start + separator + 1;
        let (value, next) = match self.format {
            Format::Raw => (
                line_at(self.text, value_start)
                    .trim_end_matches('\r')
                    .to_owned(),
                next,
            ),
            Format::Quoted => self.value(value_start, next),
        };
        self.bytes += value.len();
        if self.bytes > BYTES_MAX {
            let message = format!("the variables are more than {BYTES_MAX} bytes of text");
            let finding = Finding::error(self.span(start, name.len()), message);
            self.findings
                .push(finding.help("one is made of another too often"));
        }
        self.variables.insert(name.to_owned(), value);
        next
    }

    fn check_name(&mut self, name: &str, start: usize) -> bool {
        let valid = |c: char| c.is_alphanumeric() || "_.-[]".contains(c);
        if !name.is_empty() && name.chars().all(valid) {
            return true;
        }
        let message = format!("{name:?} is no name of a variable");
        let finding = Finding::error(self.span(start, name.len().max(1)), message)
            .help("write NAME=value; a comment begins with #");
        self.findings.push(finding);
        false
    }

    /// The value that begins at `at`, and where the next line begins.
    fn value(&mut self, at: usize, next: usize) -> (String, usize) {
        let line = line_at(self.text, at);
        let trimmed = line.trim_start();
        let start = at + (line.len() - trimmed.len());
        match trimmed.bytes().next() {
            Some(quote @ (b'"' | b'\'')) => self.quoted(start, quote, next),
            Some(_) | None => {
                let value = match line.find(" #") {
                    Some(comment) => line.get(..comment).unwrap_or(""),
                    None => line,
                };
                (self.expand(value.trim(), start), next)
            }
        }
    }

    fn quoted(&mut self, start: usize, quote: u8, next: usize) -> (String, usize) {
        let inside = self.text.get(start + 1..).unwrap_or("");
        let Some(end) = closing_quote(inside, quote) else {
            let width = line_at(self.text, start).trim_end().len();
            let finding = Finding::error(self.span(start, width), "the quote is not closed")
                .help(format!("end the value with {}", char::from(quote)));
            self.findings.push(finding);
            return (String::new(), next);
        };
        let value = inside.get(..end).unwrap_or("");
        let after = start + 1 + end + 1;
        let next = after + line_at(self.text, after).len() + 1;
        let value = match quote {
            b'"' => self.expand(&unescape(value), start),
            _ => value.replace("\\'", "'"),
        };
        (value, next)
    }

    fn expand(&mut self, value: &str, start: usize) -> String {
        let variables = &*self.variables;
        let lookup = |name: &str| (self.outer)(name).or_else(|| variables.get(name).cloned());
        match interpolate(value, &lookup) {
            Ok((value, _)) => value,
            Err(fault) => {
                let rest = self.text.get(start..).unwrap_or("");
                let part = rest.find(fault.part()).unwrap_or(0);
                let span = self.span(start + part, fault.part().len());
                let finding = Finding::error(span, fault.to_string())
                    .help("a dollar that is meant as one is written `$$`, or in single quotes");
                self.findings.push(finding);
                String::new()
            }
        }
    }

    fn span(&self, start: usize, length: usize) -> Span {
        let start = start + self.shift;
        let number = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        Span {
            source: self.source,
            start: number(start),
            end: number(start + length),
        }
    }
}

/// From `at` to the end of its line.
fn line_at(text: &str, at: usize) -> &str {
    text.get(at..)
        .unwrap_or("")
        .split('\n')
        .next()
        .unwrap_or("")
}

fn closing_quote(inside: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in inside.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(index),
            _ => {}
        }
    }
    None
}

/// Replaces the escapes of double quotes; `\$` becomes `$$`, which is a dollar afterwards.
fn unescape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        value.push_str(before);
        let mut characters = after.chars();
        match characters.next() {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some('$') => value.push_str("$$"),
            Some(same @ ('"' | '\\')) => value.push(same),
            Some(other) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
        rest = characters.as_str();
    }
    value.push_str(rest);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    fn read_text(text: &str, format: Format) -> (BTreeMap<String, String>, Findings) {
        let mut findings = Findings::default();
        let source = findings.sources.add(Source {
            path: ".env".into(),
            text: text.to_owned(),
        });
        let mut variables = BTreeMap::new();
        let outer = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        read(source, format, &outer, &mut variables, &mut findings);
        (variables, findings)
    }

    #[test]
    fn a_line_is_a_variable() {
        for (text, name, value) in [
            ("A=1", "A", Some("1")),
            ("  export A = 1 # one\r\n", "A", Some("1")),
            ("A: yes", "A", Some("yes")),
            ("# A=1", "A", None),
            ("A=", "A", Some("")),
            ("A=a#b", "A", Some("a#b")),
            ("A=x=y", "A", Some("x=y")),
            ("A='$HOME \\n'", "A", Some("$HOME \\n")),
            ("A=\"$HOME\\n\\$HOME\"", "A", Some("/home/me\n$HOME")),
            ("A=${HOME}/x", "A", Some("/home/me/x")),
            ("A=1\nB=$A$A", "B", Some("11")),
            ("A=\"two\nlines\"\nB=1", "A", Some("two\nlines")),
            ("A=\"two\nlines\" # so\nB=1", "B", Some("1")),
            ("HOME", "HOME", Some("/home/me")),
            ("NOWHERE", "NOWHERE", None),
            ("\u{feff}A=1", "A", Some("1")),
        ] {
            let (variables, findings) = read_text(text, Format::Quoted);
            assert!(!findings.has_errors(), "{text:?}");
            assert_eq!(variables.get(name).map(String::as_str), value, "{text:?}");
        }
    }

    #[test]
    fn a_raw_value_is_what_it_is() {
        let (variables, _) = read_text("A=\"$B\" # c\n", Format::Raw);
        assert_eq!(variables.get("A").map(String::as_str), Some("\"$B\" # c"));
    }

    #[test]
    fn values_of_each_other_are_no_bomb() {
        let mut text = "A0=x\n".to_owned();
        for index in 1..60 {
            text += &format!("A{index}=$A{}$A{}\n", index - 1, index - 1);
        }
        assert!(read_text(&text, Format::Quoted).1.has_errors());
        let long = format!("A={}\nB={}", "x".repeat(1 << 20), "$A".repeat(1 << 20));
        assert!(read_text(&long, Format::Quoted).1.has_errors());
    }

    #[test]
    fn what_is_no_variable_is_an_error() {
        for text in ["A B=1", "=1", "A='x", "A=\"x", "A=${"] {
            assert!(read_text(text, Format::Quoted).1.has_errors(), "{text:?}");
        }
    }
}
