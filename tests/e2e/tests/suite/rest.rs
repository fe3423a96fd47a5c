//! Falling asleep, and being woken again.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use e2e::{App, free_port, until};

use crate::support::echoes;

fn on_demand(rest: &str) -> App {
    App::up(&format!(
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    x-roads: {{ activation: {{ mode: on-demand, idle: 200ms, rest: {rest} }} }}
",
    ))
}

#[test]
fn an_idle_service_is_stopped_and_started_by_the_next_call() {
    let app = on_demand("stopped");
    assert_eq!(app.get("a", "/").json()["count"], 1);
    app.wait_state("a", "asleep");
    until("its program to have ended", || {
        app.roads().programs().is_empty()
    });
    // A fresh program, which counts from one.
    assert_eq!(app.get("a", "/").json()["count"], 1);
    assert_eq!(app.count("a", "instance_started"), 2);
    assert!(app.count("a", "service_rested") >= 1);
}

#[test]
fn an_idle_service_is_frozen_and_thawed_by_the_next_call() {
    let app = on_demand("frozen");
    let first = app.get("a", "/").json();
    app.wait_state("a", "asleep");
    let status = app.service("a");
    assert_eq!(status["instances"][0]["state"], "frozen", "{status:#}");
    let program = app.programs("roads coins echo").remove(0);
    let again = app.get("a", "/").json();
    // The same program goes on counting.
    assert_eq!((&first["count"], &again["count"]), (&1.into(), &2.into()));
    assert_eq!(app.programs("roads coins echo"), [program]);
    assert_eq!(app.count("a", "instance_started"), 1);
    assert!(app.count("a", "instance_thawed") >= 1);
}

#[test]
fn a_frozen_service_can_be_taken_down() {
    let app = on_demand("frozen");
    assert_eq!(app.get("a", "/").status, 200);
    app.wait_state("a", "asleep");
    app.end();
}

#[test]
fn rest_and_wake_do_by_hand_what_calls_do() {
    let app = App::up(
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    x-roads: { activation: on-demand }
",
    );
    assert_eq!(app.service("a")["state"], "asleep");
    app.ok(&["wake", "a"]);
    assert_eq!(app.service("a")["state"], "running");
    assert_eq!(app.roads().programs().len(), 1);
    app.ok(&["rest", "a"]);
    assert_eq!(app.service("a")["state"], "asleep");
    until("its program to have ended", || {
        app.roads().programs().is_empty()
    });
    assert_eq!(app.get("a", "/").status, 200);
}

#[test]
fn an_open_connection_keeps_a_service_awake() {
    let port = free_port();
    let app = App::up(&format!(
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
  t:
    image: host
    command: roads coins tcp-echo --port 7
    ports: [\"127.0.0.1:{port}:7\"]
    x-roads: {{ protocol: {{ \"7\": tcp }} }}
x-roads: {{ activation: {{ mode: on-demand, idle: 300ms }} }}
",
    ));
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut echo = |text: &str| {
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    };
    echo("first\n");
    // Another service of the same patience falls asleep three times meanwhile.
    for _ in 0..3 {
        assert_eq!(app.get("a", "/").status, 200);
        app.wait_state("a", "asleep");
    }
    assert_eq!(app.service("t")["state"], "running");
    assert_eq!(app.count("t", "instance_started"), 1);
    echo("second\n");
    drop(stream);
    app.wait_state("t", "asleep");
}

#[test]
fn a_kept_alive_connection_without_a_call_does_not_keep_a_service_awake() {
    let app = on_demand("stopped");
    let mut connection = app.connect("a");
    assert_eq!(connection.get("/").unwrap().status, 200);
    app.wait_state("a", "asleep");
    // And it is as good as new afterwards.
    assert_eq!(connection.get("/").unwrap().status, 200);
}

#[test]
fn what_always_runs_does_not_fall_asleep() {
    let app = App::up(&format!(
        "{}  b:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    x-roads: {{ activation: {{ mode: on-demand, idle: 100ms }} }}
",
        echoes(&["a"])
    ));
    for _ in 0..3 {
        assert_eq!(app.get("b", "/").status, 200);
        app.wait_state("b", "asleep");
    }
    assert_eq!(app.service("a")["state"], "running");
}
