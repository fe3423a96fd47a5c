//! The texts that are read, and places in them.

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
pub(crate) struct Span {
    pub(crate) source: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The part of this span that holds `part`, where that can be told from the text.
    pub(crate) fn narrow(self, sources: &Sources, part: &str) -> Self {
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
pub(crate) struct Sources {
    list: Vec<Arc<Source>>,
}

impl Sources {
    pub(crate) fn add(&mut self, source: Source) -> u32 {
        self.list.push(Arc::new(source));
        u32::try_from(self.list.len() - 1).expect("fewer than 2^32 files are opened")
    }

    pub(crate) fn get(&self, source: u32) -> Option<&Arc<Source>> {
        self.list.get(usize::try_from(source).ok()?)
    }

    /// The number of the text with this path, if it was added.
    pub(crate) fn find(&self, path: &Path) -> Option<u32> {
        let position = self.list.iter().position(|source| source.path == path)?;
        u32::try_from(position).ok()
    }

    /// The text of a span; empty where there is none.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .and_then(|source| source.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }
}
