//! A line for each service while something is under way.
//!
//! On a terminal the lines are redrawn in place; elsewhere a line is written whenever a service
//! changed. Both go to standard error.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use api::{AppStatus, ServiceStatus, Stage};

use crate::words;

/// Drawn before a service that is under way, one after the other.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The time between two drawings.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The lines.
#[derive(Debug)]
pub(crate) struct Live<W> {
    out: W,
    screen: Screen,
    /// The services that are shown; all when empty.
    only: BTreeSet<String>,
    shown: BTreeMap<String, Shown>,
    began: Instant,
    /// Lines on the terminal that the next drawing replaces.
    drawn: usize,
    ticks: usize,
}

/// What the lines are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// Something that lines are appended to.
    Plain,
    /// A terminal of this size.
    Terminal { columns: u16, rows: u16 },
}

/// A service as it is shown.
#[derive(Debug, Clone)]
struct Shown {
    status: ServiceStatus,
    /// When it settled, since the beginning.
    settled: Option<Duration>,
}

impl Screen {
    /// What standard error is.
    pub(crate) fn of_standard_error() -> Self {
        use std::io::IsTerminal;
        let error = io::stderr();
        match rustix::termios::tcgetwinsize(&error) {
            Ok(size) if error.is_terminal() && size.ws_row > 4 => Self::Terminal {
                columns: size.ws_col,
                rows: size.ws_row,
            },
            Ok(_) | Err(_) => Self::Plain,
        }
    }
}

impl<W: Write> Live<W> {
    pub(crate) fn new(out: W, screen: Screen, only: BTreeSet<String>) -> Self {
        Self {
            out,
            screen,
            only,
            shown: BTreeMap::new(),
            began: Instant::now(),
            drawn: 0,
            ticks: 0,
        }
    }

    /// Whether it wants to be ticked.
    pub(crate) fn moves(&self) -> bool {
        self.screen != Screen::Plain
    }

    /// Shows how the app is.
    pub(crate) fn update(&mut self, app: &AppStatus) -> io::Result<()> {
        let elapsed = self.began.elapsed();
        let services = app.services.iter();
        for service in services.filter(|s| self.only.is_empty() || self.only.contains(&s.name)) {
            let before = self.shown.get(&service.name);
            let settled = (service.stage != Stage::UnderWay)
                .then(|| before.and_then(|shown| shown.settled).unwrap_or(elapsed));
            let shown = Shown {
                status: service.clone(),
                settled,
            };
            let news = before.is_none_or(|before| changed(&before.status, service));
            if self.screen == Screen::Plain && news {
                writeln!(self.out, "{}: {}", service.name, line(&shown, elapsed))?;
            }
            self.shown.insert(service.name.clone(), shown);
        }
        let there = |name: &String| app.services.iter().any(|s| s.name == *name);
        self.shown.retain(|name, _| there(name));
        self.draw(elapsed, Part::Moving)
    }

    /// Draws the next picture of what is under way.
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        self.ticks += 1;
        self.draw(self.began.elapsed(), Part::Moving)
    }

    /// Draws the last picture, which stays.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.draw(self.began.elapsed(), Part::All)?;
        self.drawn = 0;
        Ok(())
    }

    fn draw(&mut self, elapsed: Duration, part: Part) -> io::Result<()> {
        let Screen::Terminal { columns, rows } = self.screen else {
            return Ok(());
        };
        let mut lines = Vec::new();
        let width = self.shown.keys().map(|name| name.chars().count()).max();
        let width = width.unwrap_or(0);
        // What moves stands first when there is no room for all.
        let mut order: Vec<_> = self.shown.iter().collect();
        let room = usize::from(rows).saturating_sub(2);
        if part == Part::Moving && order.len() > room {
            order.sort_by_key(|(_, shown)| shown.settled.is_some());
            order.truncate(room);
        }
        for (name, shown) in order {
            let mark = match shown.status.stage {
                Stage::UnderWay => SPINNER[self.ticks % SPINNER.len()],
                Stage::Settled => "✓",
                Stage::Stuck => "✗",
            };
            let style = words::state_style(&shown.status);
            let text = format!("{name:width$}  {}", line(shown, elapsed));
            let text: String = text
                .chars()
                .take(usize::from(columns).saturating_sub(4))
                .collect();
            lines.push(format!("{style}{mark}{style:#} {text}"));
        }
        if self.drawn > 0 {
            write!(self.out, "\u{1b}[{}A\u{1b}[J", self.drawn)?;
        }
        for line in &lines {
            writeln!(self.out, "{line}")?;
        }
        self.drawn = lines.len();
        self.out.flush()
    }
}

/// Which services a picture has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// As many as there is room for.
    Moving,
    /// All.
    All,
}

/// Whether there is something new to be told; a reason that only counts the time is not.
fn changed(before: &ServiceStatus, now: &ServiceStatus) -> bool {
    let told = |s: &ServiceStatus| (s.state.clone(), s.stage, s.ready, s.wanted);
    told(before) != told(now)
}

/// What is said of a service: `starting, 0 of 1 ready (0.3s)`.
fn line(shown: &Shown, elapsed: Duration) -> String {
    let status = &shown.status;
    let mut text = status.state.clone();
    if status.ready > 0 || status.stage == Stage::UnderWay {
        text.push_str(&format!(", {} of {} ready", status.ready, status.wanted));
    }
    let why = status
        .reasons
        .first()
        .filter(|_| shown.settled.is_none() || status.stage == Stage::Stuck);
    if let Some(why) = why {
        text.push_str(&format!(": {why}"));
    }
    let took = shown.settled.unwrap_or(elapsed);
    text.push_str(&format!(" ({})", words::duration(took)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{app, service};

    fn text(screen: Screen, statuses: &[AppStatus]) -> String {
        let mut out = Vec::new();
        let mut live = Live::new(&mut out, screen, BTreeSet::new());
        for status in statuses {
            live.update(status).unwrap();
        }
        live.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_a_terminal_each_change_is_a_line() {
        let starting = app(vec![service("rng", "starting", Stage::UnderWay, 0)]);
        let running = app(vec![service("rng", "running", Stage::Settled, 1)]);
        let text = text(Screen::Plain, &[starting.clone(), starting, running]);
        let lines: Vec<_> = text.lines().map(|line| line.split(" (").next()).collect();
        let expected = ["rng: starting, 0 of 1 ready", "rng: running, 1 of 1 ready"];
        assert_eq!(lines, expected.map(Some));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn on_a_terminal_the_lines_are_replaced_and_what_moves_stays_in_sight() {
        let screen = Screen::Terminal {
            columns: 30,
            rows: 5,
        };
        let mut services: Vec<_> = (0..9)
            .map(|n| service(&format!("s{n}"), "running", Stage::Settled, 1))
            .collect();
        services[8] = service("s8", "starting", Stage::UnderWay, 0);
        let text = text(screen, &[app(services)]);
        let first = text.split("\u{1b}[3A").next().unwrap();
        assert!(first.contains("s8"), "{first:?}");
        assert!(text.contains("\u{1b}[3A\u{1b}[J"), "{text:?}");
        assert!(text.rfind("s8").unwrap() > text.rfind("s7").unwrap());
    }
}
