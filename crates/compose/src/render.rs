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
    let drawing = Drawing {
        diagnostic: Some(diagnostic),
        source: here.first().map(|label| Named(&label.source)),
        labels: here,
    };
    handler.render_report(out, &drawing)?;
    for label in elsewhere {
        let drawing = Drawing {
            diagnostic: None,
            source: Some(Named(&label.source)),
            labels: vec![label],
        };
        handler.render_report(out, &drawing)?;
    }
    Ok(())
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
    diagnostic: Option<&'a Diagnostic>,
    labels: Vec<&'a Label>,
    source: Option<Named<'a>>,
}

impl fmt::Debug for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.diagnostic.map_or("and here", |d| d.message.as_str()))
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.map(|d| d.severity) {
            Some(Severity::Error) => miette::Severity::Error,
            Some(Severity::Warning) => miette::Severity::Warning,
            None => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.diagnostic?.help.as_ref()?;
        Some(Box::new(help))
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
