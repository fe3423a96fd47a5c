//! What is wrong with the files, each with the place, the reason and a hint.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::source::{Source, Sources, Span};
use crate::tree::Node;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The files are not valid.
    Error,
    /// The files are valid, but something in them does not do what it may seem to.
    Warning,
}

/// A piece of text that a diagnostic is about, and what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The text.
    pub source: Arc<Source>,
    /// The bytes of it; within one line.
    pub range: Range<usize>,
    /// The words under it; may be empty.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where; the first is the place itself.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything that is wrong, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// How many are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        let of = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
        self.0.iter().filter(of).count()
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: message`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = self.labels.first() {
            let (line, column) = label.source.line_column(label.range.start);
            write!(f, "{}:{line}:{column}: ", label.source.path.display())?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A diagnostic under construction, with its places as spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    severity: Severity,
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
}

impl Finding {
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into()).also(span, "")
    }

    /// A warning at a place.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into()).also(span, "")
    }

    /// An error that is in no file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    fn new(severity: Severity, message: String) -> Self {
        Self {
            severity,
            message,
            labels: Vec::new(),
            help: None,
        }
    }

    /// Says why, under the first place.
    pub fn because(mut self, text: impl Into<String>) -> Self {
        if let Some(label) = self.labels.first_mut() {
            label.1 = text.into();
        }
        self
    }

    /// Adds another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push((span, text.into()));
        self
    }

    /// Says what to do.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

/// What was found so far, with the texts that it was found in.
#[derive(Debug, Default)]
pub struct Findings {
    /// The texts.
    pub sources: Sources,
    list: Vec<Finding>,
    errors: usize,
    suggestions: usize,
}

/// The most places that one warning shows; a thousand services that share a key are one warning.
const PLACES_MAX: usize = 3;
/// The most findings that are kept, but for a first error; a hostile file has one in every byte.
const FINDINGS_MAX: usize = 50_000;
/// The most words that are looked for among the known ones; each costs a walk through them.
const SUGGESTIONS_MAX: usize = 100;

impl Findings {
    /// Takes a finding, unless there are very many already.
    pub fn push(&mut self, finding: Finding) {
        let is_first_error = finding.severity == Severity::Error && self.errors == 0;
        if self.list.len() < FINDINGS_MAX || is_first_error {
            self.errors += usize::from(finding.severity == Severity::Error);
            self.list.push(finding);
        }
    }

    /// Reports a value of the right type that does not do.
    pub fn invalid(&mut self, node: &Node, what: impl fmt::Display, why: impl fmt::Display) {
        let written = node.scalar().unwrap_or_default();
        let message = format!("{what} cannot be {written:?}");
        self.push(Finding::error(node.span, message).help(why.to_string()));
    }

    /// Where the findings are now, to come back to.
    pub fn mark(&self) -> usize {
        self.list.len()
    }

    /// Forgets what was found since a mark.
    pub fn rewind(&mut self, mark: usize) {
        let forgotten = self.list.drain(mark.min(self.list.len())..);
        let errors = forgotten.filter(|finding| finding.severity == Severity::Error);
        self.errors -= errors.count();
    }

    /// Whether an error is among them.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// `did you mean "x"?` for a word that is close to one of the known.
    pub fn did_you_mean<'a>(
        &mut self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Option<String> {
        self.suggestions += 1;
        let name = (self.suggestions <= SUGGESTIONS_MAX).then(|| closest(word, known));
        Some(format!("did you mean {:?}?", name.flatten()?))
    }

    /// The diagnostics, in the order of the files; warnings that say the same are one.
    pub fn finish(self) -> Diagnostics {
        let Self {
            sources, mut list, ..
        } = self;
        list.sort_by_key(|finding| finding.labels.first().map(|(span, _)| *span));
        list.dedup();
        let diagnostics = gather(list).into_iter().map(|(mut finding, further)| {
            if further > 0 {
                let places = if further == 1 { "place" } else { "places" };
                let help = finding.help.unwrap_or_default();
                finding.help = Some(format!("{help} (and {further} more {places})"));
            }
            diagnostic(&sources, finding)
        });
        Diagnostics(diagnostics.collect())
    }
}

/// Joins the places of equal warnings; with each, how many places are left out.
fn gather(list: Vec<Finding>) -> Vec<(Finding, usize)> {
    let mut gathered: Vec<(Finding, usize)> = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    for finding in list {
        if finding.severity == Severity::Error {
            gathered.push((finding, 0));
            continue;
        }
        let same = (finding.message.clone(), finding.help.clone());
        let index = *known.entry(same).or_insert(gathered.len());
        match gathered.get_mut(index) {
            Some((first, _)) if first.labels.len() < PLACES_MAX => {
                first.labels.extend(finding.labels);
            }
            Some((_, further)) => *further += 1,
            None => gathered.push((finding, 0)),
        }
    }
    gathered
}

fn diagnostic(sources: &Sources, mut finding: Finding) -> Diagnostic {
    if let Some((span, _)) = finding.labels.first() {
        let chain = sources.chain(span.source);
        let chain = chain.map(|(span, how)| (span, how.to_owned()));
        finding.labels.extend(chain);
    }
    let label = |(span, text): (Span, String)| {
        let source = Arc::clone(sources.get(span.source)?);
        let range = first_line(&source.text, span);
        Some(Label {
            source,
            range,
            text,
        })
    };
    Diagnostic {
        severity: finding.severity,
        message: finding.message,
        labels: finding.labels.into_iter().filter_map(label).collect(),
        help: finding.help,
    }
}

/// The part of a span on its first line, without the blanks at its end.
fn first_line(text: &str, span: Span) -> Range<usize> {
    let start = (span.start as usize).min(text.len());
    let end = (span.end as usize).clamp(start, text.len());
    let slice = text.get(start..end).unwrap_or("");
    let line = slice.lines().next().unwrap_or("").trim_end();
    start..start + line.len()
}

/// The closest of the known words, if one is close.
fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of one letter every other is close.
    let limit = match word.chars().count() {
        0 | 1 => 0,
        length => (length / 3).clamp(1, 3),
    };
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}
