//! YAML text to trees, by the events of `saphyr-parser`.
//!
//! The events, not `saphyr`'s ready-made nodes: this loader is bounded in depth and in the values
//! that aliases expand to, and it knows both places of a key that is there twice. Nothing here
//! recurses; a hostile text costs memory in proportion to [`VALUES_MAX`] and no stack.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag as YamlTag};

use crate::diagnostic::{Finding, Findings};
use crate::source::Span;
use crate::tree::{Entry, Key, Node, Tag, Value, positions};

/// The longest text that is read.
pub const BYTES_MAX: usize = 10 << 20;
/// The deepest nesting, that of expanded aliases included.
pub const DEPTH_MAX: usize = 128;
/// The most values in one text, those of expanded aliases included.
pub const VALUES_MAX: usize = 1_000_000;

/// The documents of a text. What is wrong is reported; without an error, all is there.
pub fn parse(source: u32, findings: &mut Findings) -> Vec<Node> {
    let Some(file) = findings.sources.get(source).cloned() else {
        return Vec::new();
    };
    let start = Span {
        source,
        ..Span::default()
    };
    let size = file.text.len();
    if size > BYTES_MAX {
        let message = format!("the file is {size} bytes long; at most {BYTES_MAX} are read");
        let finding = Finding::error(start, message);
        findings
            .push(finding.help("is this a compose file? Parts of one can be files of their own"));
        return Vec::new();
    }
    if let Some(offset) = file.text.find('\0') {
        let offset = u32::try_from(offset).expect("the text is at most BYTES_MAX long");
        let span = Span {
            source,
            start: offset,
            end: offset + 1,
        };
        let finding = Finding::error(span, "the file holds a zero byte")
            .help("a compose file is text in UTF-8; is this another file?");
        findings.push(finding);
        return Vec::new();
    }
    let mut text = Cow::Borrowed(file.text.as_str());
    let found = findings.mark();
    for again in (0..REJOINED_MAX.min(REJOINED_BYTES_MAX / (size + 1)).max(1)).rev() {
        let mut loader = Loader {
            places: Places::new(source, &file.text),
            findings,
            documents: Vec::new(),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            values: 0,
        };
        let error = match loader.run(&text) {
            Ok(()) => return loader.documents,
            Err(Stopped::Reported) => return Vec::new(),
            Err(Stopped::Syntax(error)) => error,
        };
        match rejoined(&text, &error).filter(|_| again > 0) {
            Some(rejoined) => {
                findings.rewind(found);
                text = Cow::Owned(rejoined);
            }
            None => {
                loader.syntax(&file.text, &error);
                break;
            }
        }
    }
    Vec::new()
}

/// How often one text is read again with lines put together, and how long such texts are together.
const REJOINED_MAX: usize = 200;
const REJOINED_BYTES_MAX: usize = 64 << 20;

/// Compose's reader does not look at the indentation between brackets, ours wants more than that
/// of the key before them. So where ours stops for that, the line is put at the end of the one
/// before, and every character stays at its place.
fn rejoined(text: &str, error: &ScanError) -> Option<String> {
    let kinds = [
        "invalid indentation",
        "invalid indentation in flow construct",
    ];
    kinds.contains(&error.info()).then_some(())?;
    let (at, _) = text.char_indices().nth(error.marker().index())?;
    let before = text.get(..at)?.trim_end_matches([' ', '\t']);
    let mut kept = before.strip_suffix('\n')?;
    loop {
        let line = kept.rsplit('\n').next().unwrap_or(kept);
        match line.trim_start() {
            "" | "\r" => kept = kept.strip_suffix(line)?.strip_suffix('\n')?,
            comment if comment.starts_with('#') => {
                kept = kept.strip_suffix(line)?.strip_suffix('\n')?;
            }
            // What is behind the sign may be a comment, and then nothing can follow it.
            line if line.contains('#') => return None,
            _ => break,
        }
    }
    let kept = kept.trim_end_matches('\r');
    let gap = text.get(kept.len()..at)?.chars().count();
    let after = text.get(at..)?;
    Some(format!("{kept}{}{after}", " ".repeat(gap)))
}

/// From the parser's places, which count characters, to bytes.
struct Places {
    source: u32,
    length: u32,
    /// The byte of each character; absent when every character is one byte.
    bytes: Option<Vec<u32>>,
}

impl Places {
    fn new(source: u32, text: &str) -> Self {
        let byte =
            |offset: usize| u32::try_from(offset).expect("the text is at most BYTES_MAX long");
        let bytes =
            (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| byte(at)).collect());
        Self {
            source,
            length: byte(text.len()),
            bytes,
        }
    }

    fn byte(&self, mark: Marker) -> u32 {
        let index = mark.index();
        match &self.bytes {
            Some(bytes) => bytes.get(index).copied().unwrap_or(self.length),
            None => u32::try_from(index).map_or(self.length, |index| index.min(self.length)),
        }
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(span.start);
        Span {
            source: self.source,
            start,
            end: self.byte(span.end).max(start),
        }
    }
}

/// A collection whose end has not been seen.
struct Open {
    start: Span,
    anchor: usize,
    tag: Tag,
    items: Items,
    /// How many values it holds so far, itself included.
    values: usize,
    /// How deep it is so far, itself included.
    height: usize,
}

enum Items {
    List(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        /// What `<<` names, in the order of its precedence.
        merged: Vec<Entry>,
        key: Option<Key>,
        /// Where `<<` is written, when it is.
        merge: Option<Span>,
    },
}

/// A finished value, with its size.
#[derive(Clone)]
struct Finished {
    node: Node,
    values: usize,
    height: usize,
}

impl Finished {
    fn leaf(span: Span, tag: Tag, value: Value) -> Self {
        Self {
            node: Node { span, tag, value },
            values: 1,
            height: 1,
        }
    }
}

struct Loader<'a> {
    places: Places,
    findings: &'a mut Findings,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Finished>,
    values: usize,
}

/// The rest of the text is not read; the reason is reported.
struct Stop;

/// Why a text was not read to its end.
enum Stopped {
    Reported,
    Syntax(ScanError),
}

impl Loader<'_> {
    fn run(&mut self, text: &str) -> Result<(), Stopped> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(Stopped::Syntax)?;
            self.event(event, span).map_err(|Stop| Stopped::Reported)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> Result<(), Stop> {
        let span = self.places.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) | Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let merging = self.tag(span, tag.as_deref());
                let is_key = self.is_key();
                let value = if is_key || style != ScalarStyle::Plain || is_text_tag(tag.as_deref())
                {
                    Value::Text(text.into_owned())
                } else {
                    plain(&text)
                };
                let merges =
                    is_key && style == ScalarStyle::Plain && value == Value::Text("<<".into());
                self.add(Finished::leaf(span, merging, value), anchor, merges)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(span, anchor, tag.as_deref(), Items::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let items = Items::Mapping {
                    entries: Vec::new(),
                    merged: Vec::new(),
                    key: None,
                    merge: None,
                };
                self.start(span, anchor, tag.as_deref(), items)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
        }
    }

    fn start(
        &mut self,
        start: Span,
        anchor: usize,
        tag: Option<&YamlTag>,
        items: Items,
    ) -> Result<(), Stop> {
        let tag = self.tag(start, tag);
        self.deep(start, 1)?;
        self.open.push(Open {
            start,
            anchor,
            tag,
            items,
            values: 1,
            height: 1,
        });
        Ok(())
    }

    fn end(&mut self, end: Span) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let span = Span {
            end: end.end.max(open.start.start),
            ..open.start
        };
        let value = match open.items {
            Items::List(items) => Value::List(items),
            Items::Mapping {
                entries, merged, ..
            } => Value::Mapping(self.mapping(entries, merged)),
        };
        let finished = Finished {
            node: Node {
                span,
                tag: open.tag,
                value,
            },
            values: open.values,
            height: open.height,
        };
        self.add(finished, open.anchor, false)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(finished) = self.anchors.get(&anchor) else {
            let finding = Finding::error(span, "an anchor cannot hold an alias of itself")
                .because("this is inside the value that it names")
                .help("name a smaller part with `&`, outside of where `*` is used");
            self.findings.push(finding);
            return Err(Stop);
        };
        let (values, height) = (finished.values, finished.height);
        self.deep(span, height)?;
        self.count(span, values)?;
        let finished = self.anchors.get(&anchor).cloned().ok_or(Stop)?;
        self.place(finished, false)
    }

    /// Takes a value that is written here, under its anchor if it has one.
    fn add(&mut self, finished: Finished, anchor: usize, merges: bool) -> Result<(), Stop> {
        // What is inside a collection was counted when it was added to it.
        self.count(finished.node.span, 1)?;
        if anchor > 0 {
            self.count(finished.node.span, finished.values)?;
            self.anchors.insert(anchor, finished.clone());
        }
        self.place(finished, merges)
    }

    /// Puts a value into the collection that is open, or makes it a document.
    fn place(&mut self, finished: Finished, merges: bool) -> Result<(), Stop> {
        let Finished {
            node,
            values,
            height,
        } = finished;
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.values += values;
        open.height = open.height.max(height + 1);
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Mapping { key, merge, .. } if key.is_none() => {
                if merges && let Some(first) = *merge {
                    let finding = Finding::error(node.span, "`<<` is there twice")
                        .also(first, "first here")
                        .help("write one, with a list: `<<: [*a, *b]`");
                    self.findings.push(finding);
                } else if merges {
                    *merge = Some(node.span);
                }
                *key = Some(to_key(node, self.findings));
            }
            Items::Mapping {
                entries,
                merged,
                key,
                merge,
            } => {
                let key = key.take().unwrap_or(Key {
                    span: node.span,
                    text: String::new(),
                });
                if *merge == Some(key.span) {
                    merged.extend(to_merge(node, self.findings));
                } else {
                    entries.push(entry(key, node));
                }
            }
        }
        Ok(())
    }

    /// Completes a mapping: a key that is there twice is wrong, and merged ones yield to written.
    fn mapping(&mut self, entries: Vec<Entry>, merged: Vec<Entry>) -> Vec<Entry> {
        let last = positions(&entries);
        let mut twice = Vec::new();
        for (index, first) in entries.iter().enumerate() {
            match last
                .get(first.key.text.as_str())
                .and_then(|&at| entries.get(at))
            {
                Some(second) if second.key.span != entries[index].key.span => twice.push(
                    Finding::error(
                        second.key.span,
                        format!("`{}` is there twice", first.key.text),
                    )
                    .also(first.key.span, "first here")
                    .help("remove one, or give it another name"),
                ),
                Some(_) | None => {}
            }
        }
        for finding in twice {
            self.findings.push(finding);
        }
        if merged.is_empty() {
            return entries;
        }
        let mut known: BTreeMap<String, ()> = entries
            .iter()
            .map(|entry| (entry.key.text.clone(), ()))
            .collect();
        let mut all = entries;
        for entry in merged {
            if known.insert(entry.key.text.clone(), ()).is_none() {
                all.push(entry);
            }
        }
        all
    }

    fn is_key(&self) -> bool {
        let items = self.open.last().map(|open| &open.items);
        matches!(items, Some(Items::Mapping { key: None, .. }))
    }

    fn deep(&mut self, span: Span, height: usize) -> Result<(), Stop> {
        if self.open.len() + height <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("the values are nested more than {DEPTH_MAX} deep");
        let finding = Finding::error(span, message);
        self.findings
            .push(finding.help("no compose file needs that; is a bracket too many open?"));
        Err(Stop)
    }

    fn count(&mut self, span: Span, values: usize) -> Result<(), Stop> {
        self.values = self.values.saturating_add(values);
        if self.values <= VALUES_MAX {
            return Ok(());
        }
        let finding = Finding::error(
            span,
            format!("the file holds more than {VALUES_MAX} values"),
        )
        .help("an alias counts as often as it is used");
        self.findings.push(finding);
        Err(Stop)
    }

    /// Tags of YAML itself are fine; others would change the meaning.
    fn tag(&mut self, span: Span, tag: Option<&YamlTag>) -> Tag {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else {
            return Tag::None;
        };
        match tag.suffix.as_str() {
            "reset" => return Tag::Reset,
            "override" => return Tag::Override,
            _ => {}
        }
        let finding = Finding::error(span, format!("the tag `{tag}` is not supported"));
        let close = self
            .findings
            .did_you_mean(&tag.suffix, ["reset", "override"]);
        let help = "known are !reset and !override; remove it".to_owned();
        self.findings.push(finding.help(close.unwrap_or(help)));
        Tag::None
    }

    fn syntax(&mut self, text: &str, error: &ScanError) {
        let span = self.syntax_span(text, error);
        let before = text.get(..span.start as usize).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap_or("");
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let finding = Finding::error(span, format!("this is not YAML: {}", error.info()));
        let help = if line
            .get(..indent)
            .is_some_and(|indent| indent.contains('\t'))
        {
            "indent with spaces; YAML allows no tabs there"
        } else if error.info().contains("anchor") {
            "`*name` repeats what an earlier `&name` marks; text that begins with * needs quotes"
        } else {
            "look at this line and the one above: is the indentation right, does each key end \
             with a colon and a space, is each quote and bracket closed?"
        };
        self.findings
            .push(finding.because("reading stopped here").help(help));
    }

    /// The character at which reading stopped; at the end of the text, the last that can be seen.
    fn syntax_span(&self, text: &str, error: &ScanError) -> Span {
        let stopped = self.places.byte(*error.marker()) as usize;
        let seen = text.trim_end().char_indices().last();
        let last = seen.map_or(0, |(last, _)| last);
        let start = stopped.min(last);
        let rest = text.get(start..).unwrap_or("");
        let width = rest
            .chars()
            .next()
            .filter(|c| *c != '\n')
            .map_or(0, char::len_utf8);
        let number = |offset| u32::try_from(offset).expect("the text is at most BYTES_MAX long");
        Span {
            source: self.places.source,
            start: number(start),
            end: number(start + width),
        }
    }
}

/// A value that is absent is shown at its key.
fn entry(key: Key, mut value: Node) -> Entry {
    if value.span.start == value.span.end {
        value.span = key.span;
    }
    Entry { key, value }
}

fn to_key(node: Node, findings: &mut Findings) -> Key {
    let text = node.scalar();
    if text.is_none() {
        let message = format!("a key must be text, not {}", node.kind());
        let finding = Finding::error(node.span, message).because("used as a key");
        findings.push(finding.help("text that holds signs of YAML needs quotes"));
    }
    Key {
        span: node.span,
        text: text.unwrap_or_default(),
    }
}

/// The entries that `<<: node` brings, those with precedence first.
fn to_merge(node: Node, findings: &mut Findings) -> Vec<Entry> {
    let mut entries = Vec::new();
    let parts = match node {
        Node {
            value: Value::List(parts),
            ..
        } => parts,
        node => vec![node],
    };
    for part in parts {
        if let Value::Mapping(part) = part.value {
            entries.extend(part);
        } else {
            let message = format!("`<<` needs a mapping to merge, not {}", part.kind());
            findings.push(Finding::error(part.span, message).help("as in `<<: *name`"));
        }
    }
    entries
}

fn is_text_tag(tag: Option<&YamlTag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str")
}

/// A scalar without quotes, by the YAML 1.2 core schema with what Compose's reader keeps of 1.1
/// (`0755` is octal, `1_000` is a number).
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Flag(true),
        "false" | "False" | "FALSE" => return Value::Flag(false),
        _ => {}
    }
    let first = text.trim_start_matches(['+', '-']).bytes().next();
    if !first.is_some_and(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Value::Text(text.to_owned());
    }
    if let Some(integer) = integer(text) {
        return Value::Integer(integer);
    }
    let digits = text.replace('_', "");
    let is_float = text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-._eE".contains(&byte));
    match digits.parse::<f64>() {
        Ok(float) if is_float && float.is_finite() => Value::Float(float),
        Ok(_) | Err(_) => Value::Text(text.to_owned()),
    }
}

fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) | None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        Some(_) | None => (10, digits.as_str()),
    };
    if digits.len() > 38 || digits.starts_with(['+', '-']) {
        return None;
    }
    Some(sign * i128::from_str_radix(digits, radix).ok()?)
}

#[cfg(test)]
mod tests;
