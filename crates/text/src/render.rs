//! Diagnostics as text for a terminal, drawn by `miette`.

use std::fmt;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};

use crate::diagnostic::{Diagnostic, Diagnostics, Label, Severity};
use crate::source::Source;

/// Whether the text has colours in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// With ANSI colours.
    Ansi,
    /// Plain; it says the same.
    Plain,
}

/// More are counted, not drawn: nobody reads them, and each costs a walk through its file.
const DRAWN_MAX: usize = 100;
/// A place is drawn only if the text around it is no longer than this; else it is named.
const EXCERPT_BYTES_MAX: usize = 2000;

/// Draws diagnostics, each with its lines of the file, the text underlined, why, and the hint.
#[must_use]
pub fn render(diagnostics: &Diagnostics, color: Color) -> String {
    let theme = match color {
        Color::Ansi => GraphicalTheme::unicode(),
        Color::Plain => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_context_lines(1);
    let mut text = String::new();
    for diagnostic in diagnostics.0.iter().take(DRAWN_MAX) {
        // Writing to a string fails only if the drawing does, and then this line is better than none.
        if draw(&handler, &mut text, diagnostic).is_err() {
            text.push_str(&format!("{diagnostic}\n"));
        }
        text.push('\n');
    }
    let further = diagnostics.0.len().saturating_sub(DRAWN_MAX);
    if further > 0 {
        text.push_str(&format!("and {further} more\n"));
    }
    text
}

/// Labels of one file are drawn as one report; those of further files follow it.
fn draw(
    handler: &GraphicalReportHandler,
    out: &mut impl fmt::Write,
    diagnostic: &Diagnostic,
) -> fmt::Result {
    let first = diagnostic.labels.first().map(|label| &label.source);
    let (here, elsewhere): (Vec<&Label>, Vec<&Label>) = diagnostic
        .labels
        .iter()
        .partition(|label| Some(&label.source) == first);
    if !here.iter().copied().all(is_short) {
        let named = Drawing {
            message: diagnostic.to_string(),
            ..Drawing::new(diagnostic, Vec::new())
        };
        return handler.render_report(out, &named);
    }
    handler.render_report(out, &Drawing::new(diagnostic, here))?;
    for label in elsewhere.into_iter().filter(|label| is_short(label)) {
        let further = Drawing {
            message: "and here".to_owned(),
            severity: miette::Severity::Advice,
            help: None,
            ..Drawing::new(diagnostic, vec![label])
        };
        handler.render_report(out, &further)?;
    }
    Ok(())
}

/// Whether the line of a label and its neighbours, which are drawn with it, are short enough.
fn is_short(label: &Label) -> bool {
    let text = label.source.text.as_str();
    let before = text.get(..label.range.start).unwrap_or("");
    let after = text.get(label.range.end..).unwrap_or("");
    let before = before.rsplit('\n').take(2).map(str::len).sum::<usize>();
    let after = after.split('\n').take(2).map(str::len).sum::<usize>();
    before + label.range.len() + after <= EXCERPT_BYTES_MAX
}

/// A source as `miette` reads it, without a copy of its text.
struct Named<'a>(&'a Source);

impl SourceCode for Named<'_> {
    fn read_span<'b>(
        &'b self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'b> + 'b>, MietteError> {
        let read = self.0.text.read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.path.to_string_lossy().into_owned(),
            read.data(),
            *read.span(),
            read.line(),
            read.column(),
            read.line_count(),
        )))
    }
}

/// A diagnostic, or a further place of one, in the form that `miette` draws.
struct Drawing<'a> {
    message: String,
    severity: miette::Severity,
    help: Option<&'a str>,
    labels: Vec<&'a Label>,
    source: Option<Named<'a>>,
}

impl<'a> Drawing<'a> {
    /// Of these labels, which are of one source.
    fn new(diagnostic: &'a Diagnostic, labels: Vec<&'a Label>) -> Self {
        Self {
            message: diagnostic.message.clone(),
            severity: match diagnostic.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            },
            help: diagnostic.help.as_deref(),
            source: labels.first().map(|label| Named(&label.source)),
            labels,
        }
    }
}

impl fmt::Debug for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.labels.iter().map(|label| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            LabeledSpan::new(text, label.range.start, label.range.len())
        });
        Some(Box::new(labels))
    }
}
