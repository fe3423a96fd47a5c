//! Commands that show what was, and what goes on.

use std::io::{self, Write};
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use api::{Event, EventsQuery, LogLine, LogSource, LogsQuery, Time};

use super::{Chosen, Context};
use crate::arguments::{EventsArguments, LogsArguments};
use crate::error::Error;
use crate::since;
use crate::words::ServiceColors;

pub(super) async fn logs(context: &Context, arguments: LogsArguments) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection.into()).await?;
    let since = arguments.since.map(|text| since::parse(&text, now()));
    let services = arguments.services;
    let query = LogsQuery {
        services: (!services.is_empty()).then(|| services.join(",")),
        since: since.transpose()?,
        tail: arguments.tail,
        follow: arguments.follow,
    };
    let status = client.status(app.as_str()).await?;
    let names = status.services.iter().map(|service| service.name.as_str());
    let shown = names.filter(|name| services.is_empty() || services.iter().any(|s| s == name));
    let mut printer = Printer::new(shown, arguments.timestamps);
    let mut lines = client.logs(app.as_str(), &query).await?;
    while let Some(line) = lines.next().await? {
        if arguments.json.json {
            json_line(&line)?;
        } else {
            printer.print(&line)?;
        }
    }
    Ok(())
}

/// Prints lines of services, each with the instance that wrote it before it.
#[derive(Debug)]
pub(super) struct Printer {
    colors: ServiceColors,
    /// The width of what stands before the lines.
    width: usize,
    timestamps: bool,
}

impl Printer {
    /// A printer for the lines of these services.
    pub(super) fn new<'a>(services: impl Iterator<Item = &'a str>, timestamps: bool) -> Self {
        let mut colors = ServiceColors::default();
        let width = |name: &str| {
            colors.of(name);
            name.chars().count() + "-1".len()
        };
        let width = services.map(width).max().unwrap_or(0);
        Self {
            colors,
            width,
            timestamps,
        }
    }

    pub(super) fn print(&mut self, line: &LogLine) -> io::Result<()> {
        let text = self.line(line);
        writeln!(anstream::stdout(), "{text}")
    }

    fn line(&mut self, line: &LogLine) -> String {
        let name = format!("{}-{}", line.service, line.instance);
        self.width = self.width.max(name.chars().count());
        let (width, style) = (self.width, self.colors.of(&line.service));
        let time = if self.timestamps {
            format!("{} ", line.at)
        } else {
            String::new()
        };
        let text = &line.text;
        let source = match line.source {
            LogSource::Output => Style::new(),
            LogSource::Error => AnsiColor::Red.on_default(),
        };
        // What the program wrote may have its own colours; they end with the line.
        format!("{style}{name:width$} |{style:#} {time}{source}{text}{source:#}")
    }
}

pub(super) async fn events(context: &Context, arguments: EventsArguments) -> Result<(), Error> {
    let Chosen { client, app } = context.choose(arguments.selection.into()).await?;
    let query = EventsQuery {
        after: None,
        tail: Some(arguments.tail),
        follow: arguments.follow,
    };
    let mut events = client.events(app.as_str(), query).await?;
    while let Some(event) = events.next().await? {
        if arguments.json.json {
            json_line(&event)?;
        } else {
            writeln!(anstream::stdout(), "{}", event_line(&event))?;
        }
    }
    Ok(())
}

/// An event in words: when, what it happened to, and what.
pub(super) fn event_line(event: &Event) -> String {
    let subject = match (&event.service, event.instance) {
        (Some(service), Some(number)) => format!("{service}-{number}"),
        (Some(service), None) => service.clone(),
        (None, _) => event.app.clone(),
    };
    let (dim, bold) = (Style::new().dimmed(), Style::new().bold());
    format!(
        "{dim}{}{dim:#} {bold}{subject}{bold:#} {}",
        event.at, event.text
    )
}

/// One value a line, for programs.
fn json_line(value: &impl serde::Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{text}")
}

/// The time now, by the wall clock.
pub(super) fn now() -> Time {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = since_1970.map_or(0, |since| since.as_micros());
    Time(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_different_services_are_aligned() {
        let mut printer = Printer::new(["rng", "worker"].into_iter(), false);
        let mut line = |service: &str, instance, text: &str| {
            let line = printer.line(&LogLine {
                at: Time(0),
                service: service.to_owned(),
                instance,
                source: LogSource::Output,
                text: text.to_owned(),
            });
            anstream::adapter::strip_str(&line).to_string()
        };
        assert_eq!(line("rng", 1, "hello"), "rng-1    | hello");
        assert_eq!(line("worker", 1, ""), "worker-1 | ");
        assert_eq!(line("rng", 12345678, "x"), "rng-12345678 | x");
        assert_eq!(line("worker", 1, "y"), "worker-1     | y");
    }
}
