//! What instances wrote.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use e2e::{App, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TALKERS: &str = "services:
  a:
    image: host
    command: [sh, -c, 'echo to output; echo to error >&2; exec sleep 1000']
  counter:
    image: host
    command: [sh, -c, 'n=0; while :; do n=$$((n+1)); echo line $$n; sleep 0.05; done']
";

fn texts(lines: &[Value]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn both_streams_are_kept_with_their_times() {
    let app = App::up(TALKERS);
    until("both lines", || {
        app.json_lines(&["logs", "--json", "a"]).len() == 2
    });
    let lines = app.json_lines(&["logs", "--json", "a"]);
    for (source, text) in [("output", "to output"), ("error", "to error")] {
        let line = lines.iter().find(|line| line["source"] == source).unwrap();
        assert_eq!(line["text"], text);
        assert_eq!(
            (&line["service"], &line["instance"]),
            (&"a".into(), &1.into())
        );
        assert!(line["at"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let printed = app.ok(&["logs", "a"]);
    assert!(
        printed.contains("a-1") && printed.contains("to error"),
        "{printed}"
    );
}

#[test]
fn lines_can_be_asked_for_by_time_and_number() {
    let app = App::up(TALKERS);
    until("some lines", || {
        app.json_lines(&["logs", "--json", "counter"]).len() > 5
    });
    let lines = app.json_lines(&["logs", "--json", "counter"]);
    let since = lines[3]["at"].as_str().unwrap();
    let later = app.json_lines(&["logs", "--json", "--since", since, "counter"]);
    assert_eq!(texts(&later)[0], "line 4");
    assert!(
        app.json_lines(&["logs", "--json", "--since", "10m", "counter"])
            .len()
            > 5
    );
    let last = app.json_lines(&["logs", "--json", "-n", "2", "counter"]);
    assert_eq!(last.len(), 2);
}

#[test]
fn logs_follow_what_is_written() {
    let app = App::up(TALKERS);
    let words = app.words(&["logs", "-f", "--json", "-n", "1", "counter"]);
    let mut command = app.roads().command(&words);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = line["text"].as_str().unwrap().to_owned();
        text.strip_prefix("line ").unwrap().parse::<u32>().unwrap()
    };
    let first = next();
    for number in 1..10 {
        assert_eq!(next(), first + number);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap();
}

#[test]
fn what_an_instance_wrote_is_kept_when_it_is_gone() {
    let app = App::up(TALKERS);
    until("both lines", || {
        app.json_lines(&["logs", "--json", "a"]).len() == 2
    });
    app.ok(&["scale", "a=0"]);
    app.wait("a", "without an instance", |status| {
        status["instances"].as_array().is_some_and(Vec::is_empty)
    });
    assert_eq!(app.json_lines(&["logs", "--json", "a"]).len(), 2);
}

#[test]
fn a_long_line_and_bytes_that_are_no_text_are_kept() {
    let app = App::up(
        "services:
  a:
    image: host
    command: [sh, -c, 'head -c 50000 /dev/zero | tr \"\\0\" x; echo; printf \"\\377\\376\\n\"; printf last; exec sleep 1000']
",
    );
    until("the lines", || {
        app.json_lines(&["logs", "--json", "a"]).len() >= 2
    });
    let texts = texts(&app.json_lines(&["logs", "--json", "a"]));
    assert_eq!(texts.concat().matches('x').count(), 50_000);
    assert!(
        texts.iter().any(|text| text.contains('\u{fffd}')),
        "no replaced bytes"
    );
    app.ok(&["stop", "a"]);
    // A last line without an end is one, too.
    until("the last line", || {
        let lines = app.json_lines(&["logs", "--json", "a"]);
        lines.iter().any(|line| line["text"] == "last")
    });
}
