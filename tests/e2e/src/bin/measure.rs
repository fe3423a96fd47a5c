//! The figures that are promised, measured on this machine: medians, and every run.
//!
//! Each figure stands beside what it is compared with, from the same run. Times are the caller's,
//! by CLOCK_MONOTONIC, which the example's fixtures print too: so an activation can be divided
//! into what Roadstead took and what the program took to start.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::process::Process;
use e2e::{App, Roads, eventually, free_port};
use rustix::time::{ClockId, clock_gettime};

const RUNS: usize = 20;
const CHAIN_RUNS: usize = 10;
const CALLS: usize = 200;
const CROWD_RUNS: usize = 10;
const CROWD: usize = 1000;
/// After this time a daemon has given back what a change of its apps took.
const SETTLED: Duration = Duration::from_secs(2);

fn main() -> io::Result<()> {
    let plain: Vec<f64> = (0..RUNS).map(|_| plain_start()).collect();
    let mut report = Report::default();
    report.head("a program alone, from fork to listening (ms)");
    report.row("fork to listening", &plain);
    first_answer(&mut report, median(&plain));
    chain(&mut report, median(&plain));
    daemon_killed(&mut report);
    crowd(&mut report);
    io::stdout().write_all(report.0.as_bytes())
}

/// What is printed.
#[derive(Default)]
struct Report(String);

impl Report {
    fn head(&mut self, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "\n{text}");
    }

    fn row(&mut self, name: &str, values: &[f64]) {
        let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
        let middle = median(values);
        let _ = writeln!(
            self.0,
            "  {name:<44} median {middle:>9.2}   {}",
            all.join(" ")
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Milliseconds of the clock that the fixtures print.
fn now() -> f64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// The value of `NAME=NANOSECONDS` in a fixture's line, in milliseconds.
fn member(line: &str, name: &str) -> f64 {
    let value = line
        .split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let nanos = value.and_then(|value| value.parse::<u64>().ok());
    nanos.unwrap_or_else(|| panic!("no {name} in {line:?}")) as f64 / 1e6
}

/// How long the fixture takes when nothing of ours is around it.
fn plain_start() -> f64 {
    let roads = Roads::new();
    let mut command = Command::new(roads.binary());
    command.args(["coins", "echo", "--port", &free_port().to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let forked = now();
    let mut child = command.spawn().expect("the fixture runs");
    let mut line = String::new();
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    said.read_line(&mut line).expect("it says that it listens");
    drop(child.kill());
    drop(child.wait());
    member(&line, "listening") - forked
}

fn echoes(names: &[&str]) -> App {
    let mut text = "services:\n".to_owned();
    for name in names {
        let service = "{ image: host, command: roads coins echo, expose: [\"80\"] }";
        let _ = writeln!(text, "  {name}: {service}");
    }
    let app = App::of(&text);
    app.ok(&["up", "-d", "--lazy"]);
    app
}

/// The line that a service's newest program wrote when it listened, if it is newer than `after`.
fn listening(app: &App, service: &str, after: f64) -> String {
    eventually("the fixture's line", || {
        let lines = app.json_lines(&["logs", "--json", "-n", "1", service]);
        let line = lines.last()?["text"].as_str()?.to_owned();
        (line.contains("listening=") && member(&line, "listening") > after).then_some(line)
    })
}

/// A sleeping service's first answer, divided.
fn first_answer(report: &mut Report, plain: f64) {
    let app = echoes(&["a"]);
    let mut rows: [Vec<f64>; 5] = Default::default();
    for _ in 0..RUNS {
        let called = now();
        assert_eq!(app.get("a", "/").status, 200);
        let answered = now();
        let line = listening(&app, "a", called);
        let (started, listens) = (member(&line, "started"), member(&line, "listening"));
        let total = answered - called;
        for (row, value) in rows.iter_mut().zip([
            total,
            started - called,
            listens - started,
            answered - listens,
            total - plain,
        ]) {
            row.push(value);
        }
        app.ok(&["rest", "a"]);
        app.wait_state("a", "asleep");
    }
    report.head("the first call to a sleeping service, over the ingress (ms)");
    let names = [
        "call to answer",
        "call to the program's main",
        "the program's main to listening",
        "listening to the answer at the caller",
        "above the same program alone (goal: under 5)",
    ];
    for (name, row) in names.iter().zip(&rows) {
        report.row(name, row);
    }
    let warm: Vec<f64> = (0..RUNS)
        .map(|_| {
            let called = now();
            assert_eq!(app.get("a", "/").status, 200);
            now() - called
        })
        .skip(1)
        .collect();
    report.row("the same call when it is awake", &warm);
}

/// Many first calls at once to a chain of three.
fn chain(report: &mut Report, plain: f64) {
    let app = echoes(&["a", "b", "c"]);
    let (mut first, mut last, mut above) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CHAIN_RUNS {
        let begun = Instant::now();
        let mut times: Vec<f64> = thread::scope(|scope| {
            let call = || {
                let answer = app.get("a", "/call?url=http://b/call?url=http://c/");
                assert_eq!(answer.status, 200, "{}", answer.text());
                begun.elapsed().as_secs_f64() * 1e3
            };
            let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(call)).collect();
            calls
                .into_iter()
                .map(|call| call.join().expect("a call failed"))
                .collect()
        });
        times.sort_by(f64::total_cmp);
        first.push(times[0]);
        last.push(times[CALLS - 1]);
        above.push(times[0] - 3.0 * plain);
        app.ok(&["rest"]);
        for service in ["a", "b", "c"] {
            app.wait_state(service, "asleep");
        }
    }
    report.head(&format!(
        "{CALLS} first calls at once to a sleeping chain of three (ms)"
    ));
    report.row("to the first answer", &first);
    report.row("above three starts of the program alone", &above);
    report.row("to the last answer", &last);
}

fn daemon_killed(report: &mut Report) {
    let app = echoes(&["a"]);
    let pid = app.get("a", "/").json()["hostname"].clone();
    let (mut command, mut answer) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        app.roads().kill_daemon();
        let begun = Instant::now();
        let listed = app
            .roads()
            .command(&["ps", "-p", app.name()])
            .stdout(Stdio::null())
            .status();
        assert!(listed.is_ok_and(|status| status.success()), "ps failed");
        command.push(begun.elapsed().as_secs_f64() * 1e3);
        assert_eq!(app.get("a", "/").json()["hostname"], pid);
        answer.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    report.head("the daemon was killed; the next command, and a call after it (ms)");
    report.row("`roads ps`", &command);
    report.row("`roads ps` and an answer (goal: under 1000)", &answer);
}

/// A thousand sleeping services.
fn crowd(report: &mut Report) {
    let mut text = "services:\n".to_owned();
    for number in 0..CROWD {
        let service = "{ image: host, command: roads coins echo, expose: [\"80\"] }";
        let _ = writeln!(text, "  s{number}: {service}");
    }
    let mut rows: [Vec<f64>; 5] = Default::default();
    for _ in 0..CROWD_RUNS {
        let roads = Roads::new();
        let base = roads.app(
            "base",
            "services:\n  a: { image: host, command: sleep 1000 }\n",
        );
        base.ok(&["up", "-d", "--lazy"]);
        std::thread::sleep(SETTLED);
        let before = (resident(roads.daemon()), resident(roads.keeper()));
        let app = roads.app("crowd", &text);
        let words = app.words(&["up", "-d", "--lazy"]);
        let begun = Instant::now();
        let up = roads
            .command(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let seconds = begun.elapsed().as_secs_f64();
        assert!(up.is_ok_and(|status| status.success()), "up failed");
        assert_eq!(roads.inits().len(), 0);
        std::thread::sleep(SETTLED);
        let after = (resident(roads.daemon()), resident(roads.keeper()));
        let added = (after.0 - before.0) + (after.1 - before.1);
        let values = [seconds, before.0, after.0, after.1, added / CROWD as f64];
        for (row, value) in rows.iter_mut().zip(values) {
            row.push(value);
        }
    }
    report.head(&format!("{CROWD} sleeping services in one app"));
    report.row("`up -d --lazy` (s; goal: under 2)", &rows[0]);
    report.row("resident memory of the daemon before (KiB)", &rows[1]);
    report.row("resident memory of the daemon after (KiB)", &rows[2]);
    report.row("resident memory of the keeper after (KiB)", &rows[3]);
    report.row("added by a service (KiB; goal: under 4)", &rows[4]);
}

/// Resident memory in KiB.
fn resident(process: Option<Process>) -> f64 {
    let text = process.and_then(|process| process.status("VmRSS"));
    let kib = text.and_then(|text| text.strip_suffix(" kB")?.parse().ok());
    kib.expect("the process runs and tells its memory")
}
