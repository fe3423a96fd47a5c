//! The texts that are read, and places in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path that people know it by; it is shown, not opened.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl Source {
    /// The line and the column of a byte, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// A range of bytes of one of the [`Sources`]; ordered as the sources are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Which of the sources.
    pub source: u32,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The part of this span that holds `part`, where that can be told from the text.
    pub fn narrow(self, sources: &Sources, part: &str) -> Self {
        let start = sources.slice(self).find(part);
        match start.and_then(|start| u32::try_from(start).ok()) {
            Some(start) => Self {
                start: self.start + start,
                end: self.start + start + u32::try_from(part.len()).unwrap_or(0),
                ..self
            },
            None => self,
        }
    }
}

/// All texts of one load, each by its number.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    list: Vec<Arc<Source>>,
    /// Where another text asked for one, and how.
    named: BTreeMap<u32, (Span, &'static str)>,
    /// The files that were opened, by their absolute paths.
    opened: BTreeMap<PathBuf, u32>,
}

impl Sources {
    /// Takes a text; its number.
    pub fn add(&mut self, source: Source) -> u32 {
        self.list.push(Arc::new(source));
        u32::try_from(self.list.len() - 1).expect("fewer than 2^32 files are opened")
    }

    /// The text of this number.
    pub fn get(&self, source: u32) -> Option<&Arc<Source>> {
        self.list.get(usize::try_from(source).ok()?)
    }

    /// As [`Self::add`], of a file that another text names.
    pub fn add_named(&mut self, source: Source, at: Span, how: &'static str) -> u32 {
        let number = self.add(source);
        self.named.insert(number, (at, how));
        number
    }

    /// Where a text was asked for, where that one was, and so on to a text that nobody named.
    pub fn chain(&self, source: u32) -> impl Iterator<Item = (Span, &'static str)> {
        let next = move |(span, _): &(Span, &'static str)| self.named.get(&span.source).copied();
        std::iter::successors(self.named.get(&source).copied(), next)
    }

    /// As [`Self::add`], of a file that may be asked for again by its absolute path.
    pub fn add_opened(&mut self, source: Source) -> u32 {
        let path = source.path.clone();
        let number = self.add(source);
        self.opened.insert(path, number);
        number
    }

    /// The number of the file that was opened at this path.
    pub fn opened(&self, path: &Path) -> Option<u32> {
        self.opened.get(path).copied()
    }

    /// The text of a span; empty where there is none.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }
}
