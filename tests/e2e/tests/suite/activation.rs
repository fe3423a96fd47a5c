//! Asleep until called: no call fails, and none starts more than it must.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use e2e::http::Answer;
use e2e::{App, free_port, until};

use crate::support::{app_behind_gate, echoes, gated};

const CHAIN: [&str; 3] = ["a", "b", "c"];
const CHAIN_PATH: &str = "/call?url=http://b/call?url=http://c/";

#[test]
fn two_hundred_first_calls_wake_a_chain_and_none_fails() {
    let app = App::of(&echoes(&CHAIN));
    app.ok(&["up", "-d", "--lazy"]);
    for service in CHAIN {
        assert_eq!(app.service(service)["state"], "asleep");
    }
    assert_eq!(app.roads().inits().len(), 0);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let calls: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| app.get("a", CHAIN_PATH)))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.json()["called"]["called"]["hostname"].is_string(),
            "{}",
            answer.text()
        );
    }
    for service in CHAIN {
        assert_eq!(app.count(service, "instance_started"), 1, "{service}");
        assert_eq!(app.service(service)["calls"], 200, "{service}");
    }
    assert_eq!(app.roads().inits().len(), 3);
}

#[test]
fn on_demand_services_sleep_without_the_flag() {
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"] }
  b:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    x-roads: { activation: on-demand }
",
    );
    assert_eq!(app.service("a")["state"], "running");
    assert_eq!(app.service("b")["state"], "asleep");
    assert_eq!(app.get("a", "/call?url=http://b/").status, 200);
    assert_eq!(app.service("b")["state"], "running");
}

#[test]
fn a_sleeping_service_is_woken_by_a_plain_connection() {
    let port = free_port();
    let app = App::of(&format!(
        "services:
  t:
    image: host
    command: roads coins tcp-echo --port 7 --start-delay-ms 200
    ports: [\"127.0.0.1:{port}:7\"]
    x-roads: {{ activation: on-demand, protocol: {{ \"7\": tcp }} }}
",
    ));
    app.ok(&["up", "-d"]);
    assert_eq!(app.service("t")["state"], "asleep");
    thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                writeln!(stream, "line {number}").unwrap();
                let mut line = String::new();
                BufReader::new(stream).read_line(&mut line).unwrap();
                assert_eq!(line, format!("line {number}\n"));
            });
        }
    });
    assert_eq!(app.count("t", "instance_started"), 1);
}

#[test]
fn a_server_that_speaks_first_is_woken_by_a_silent_connection() {
    let port = free_port();
    let app = App::of(&format!(
        "services:
  t:
    image: host
    command: roads coins tcp-echo --port 7 --banner welcome
    ports: [\"127.0.0.1:{port}:7\"]
",
    ));
    app.ok(&["up", "-d", "--lazy"]);
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "welcome\n");
}

#[test]
fn more_calls_than_may_be_held_are_refused_in_words() {
    let (app, gate) = app_behind_gate(&format!(
        "services:
  a:
    {}
    expose: [\"80\"]
    x-roads: {{ activation: {{ mode: on-demand, hold: {{ requests: 2, timeout: 80s }} }} }}
",
        gated("roads coins echo")
    ));
    app.ok(&["up", "-d"]);
    thread::scope(|scope| {
        let held: Vec<_> = (0..2).map(|_| scope.spawn(|| app.get("a", "/"))).collect();
        until("two calls to be held", || app.service("a")["held"] == 2);
        for _ in 0..4 {
            let refused = app.get("a", "/");
            assert_eq!(refused.status, 503);
            let seconds = refused.header("retry-after").expect("when to try again");
            assert!(seconds.parse::<u32>().is_ok(), "{seconds}");
            assert!(
                refused.text().contains('a') && refused.text().len() > 20,
                "{}",
                refused.text()
            );
        }
        gate.open();
        for call in held {
            assert_eq!(call.join().unwrap().status, 200);
        }
    });
    assert_eq!(app.count("a", "instance_started"), 1);
}

#[test]
fn a_call_is_refused_at_the_end_of_its_hold() {
    let port = free_port();
    let (app, _gate) = app_behind_gate(&format!(
        "services:
  a:
    {}
    expose: [\"80\"]
    x-roads: {{ activation: {{ mode: on-demand, hold: {{ timeout: 300ms }} }} }}
  t:
    {}
    ports: [\"127.0.0.1:{port}:7\"]
    x-roads:
      activation: {{ mode: on-demand, hold: {{ timeout: 300ms }} }}
      protocol: {{ \"7\": tcp }}
",
        gated("roads coins echo"),
        gated("roads coins tcp-echo --port 7")
    ));
    app.ok(&["up", "-d"]);
    let refused = app.get("a", "/");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // It may end in order or by a reset, but it ends.
    let mut nothing = Vec::new();
    let _ended = stream.read_to_end(&mut nothing);
    assert_eq!(nothing, b"");
}

#[test]
fn a_service_that_cannot_start_refuses_its_calls_at_once_or_at_the_deadline() {
    let app = App::of(
        "services:
  a:
    image: host
    command: no-such-program
    expose: [\"80\"]
    x-roads: { activation: { mode: on-demand, hold: { timeout: 2s } } }
",
    );
    app.ok(&["up", "-d"]);
    let refused = app.get("a", "/");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let explained = app.ok(&["explain", "a"]);
    assert!(explained.contains("no-such-program"), "{explained}");
}

/// Calls to what sleeps are held, so nobody who depends on it need wait: it would be woken in vain.
#[test]
fn a_call_wakes_no_dependency_that_nobody_calls() {
    let app = App::of(
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    depends_on: { s: { condition: service_healthy } }
  s:
    image: host
    command: roads coins store
    expose: [\"6379\"]
    healthcheck:
      test: [CMD, roads, coins, store-check]
      interval: 5s
      start_period: 10s
      start_interval: 50ms
",
    );
    app.ok(&["up", "-d", "--lazy"]);
    assert_eq!(app.get("a", "/").status, 200);
    assert_eq!(app.service("s")["state"], "asleep");
    // Whoever calls it waits for its healthcheck.
    let line = "exec 3<>/dev/tcp/s/6379; printf 'PING\\r\\n' >&3; head -n 1 <&3";
    let answer = app.ok(&["exec", "-T", "a", "bash", "-c", line]);
    assert_eq!(answer.trim(), "+PONG");
    assert_eq!(app.count("s", "instance_started"), 1);
}
