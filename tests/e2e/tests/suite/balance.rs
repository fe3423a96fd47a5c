//! Calls over several instances, and what happens to calls when one of them dies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use e2e::process::Process;
use e2e::{App, until};

use crate::support::echoes;

fn three() -> String {
    "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    restart: always
    scale: 3
"
    .to_owned()
}

/// Calls over one connection until so many instances have answered so many calls each. One that was
/// slow once is let be for a while, so how many calls that takes is not said.
fn until_answered(app: &App, instances: usize, calls: usize) {
    let mut connection = app.connect("a");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    until("a call to be answered by each instance", || {
        for _ in 0..100 {
            let answer = connection.get("/").unwrap();
            assert_eq!(answer.status, 200);
            let name = answer.json()["hostname"].as_str().unwrap().to_owned();
            *counts.entry(name).or_default() += 1;
        }
        assert!(counts.len() <= instances, "{counts:?}");
        counts.values().filter(|count| **count >= calls).count() == instances
    });
}

/// Calls on four connections while `disturb` is done, and 100 calls beyond; how many were made.
/// None may fail.
fn load(app: &App, disturb: impl FnOnce(&AtomicUsize)) -> usize {
    let (made, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = app.connect("a");
                while !is_over.load(Ordering::Relaxed) {
                    let answer = connection.get("/sleep/1").expect("a call failed");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = OnDrop(&is_over);
        wait_for(&made, 100);
        disturb(&made);
        wait_for(&made, made.load(Ordering::Relaxed) + 100);
        drop(over);
    });
    made.into_inner()
}

/// Ends the load also when the test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wait_for(made: &AtomicUsize, count: usize) {
    until("more calls to be answered", || {
        made.load(Ordering::Relaxed) >= count
    });
}

#[test]
fn calls_of_one_connection_go_to_all_instances() {
    let app = App::up(&three());
    until_answered(&app, 3, 30);
}

#[test]
fn scaling_under_load_loses_no_call() {
    let app = App::up(&three());
    load(&app, |_| {
        app.ok(&["scale", "a=1"]);
        app.wait_ready("a", 1);
        app.ok(&["scale", "a=4"]);
    });
    app.wait_ready("a", 4);
    until_answered(&app, 4, 1);
}

#[test]
fn killing_an_instance_under_load_loses_no_idempotent_call() {
    let app = App::up(&three());
    load(&app, |made| {
        for _ in 0..2 {
            let victim = app.programs("roads coins echo").remove(0);
            victim.kill();
            until("the program to be gone", || !victim.is_alive());
            wait_for(made, made.load(Ordering::Relaxed) + 50);
            app.wait_ready("a", 3);
        }
    });
    assert_eq!(app.count("a", "instance_exited"), 2);
    let events = app.events();
    let ended = events
        .iter()
        .find(|event| event["fact"] == "instance_exited")
        .unwrap();
    assert!(
        ended["text"].as_str().unwrap().contains("SIGKILL"),
        "{ended}"
    );
}

#[test]
fn replacing_instances_by_restart_loses_no_call() {
    let app = App::up(&three());
    let before: Vec<Process> = app.programs("roads coins echo");
    load(&app, |_| {
        app.ok(&["restart", "a"]);
    });
    app.wait_ready("a", 3);
    let after = app.programs("roads coins echo");
    assert!(
        after.iter().all(|program| !before.contains(program)),
        "{after:?}"
    );
}

#[test]
fn an_instance_that_closes_without_an_answer_is_told_as_such() {
    let app = App::up(&echoes(&["a"]));
    let answer = app.get("a", "/abort");
    assert_eq!(answer.status, 502, "{}", answer.text());
    // Nothing is wrong with the next call.
    assert_eq!(app.get("a", "/").status, 200);
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let app = App::up(&echoes(&["a"]));
    let mut connection = app.connect("a");
    let headers = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    connection.send("GET", "/upgrade", &headers, b"").unwrap();
    let (status, headers) = connection.head().unwrap();
    assert_eq!(status, 101, "{headers:?}");
    assert!(
        headers.contains(&("upgrade".to_owned(), "websocket".to_owned())),
        "{headers:?}"
    );
    let stream = connection.stream();
    for round in 0..10 {
        let sent = vec![round; 10_000];
        stream.get_mut().write_all(&sent).unwrap();
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received, sent);
    }
    assert_eq!(app.service("a")["in_flight"], 1);
}

#[test]
fn a_body_is_passed_on_piece_by_piece() {
    let app = App::up(&echoes(&["a"]));
    let mut connection = app.connect("a");
    connection
        .send("GET", "/stream?pieces=100000&interval-ms=20", &[], b"")
        .unwrap();
    let (status, _) = connection.head().unwrap();
    assert_eq!(status, 200);
    for piece in 0..3 {
        let chunk = connection.chunk().unwrap().unwrap();
        assert_eq!(
            String::from_utf8(chunk).unwrap(),
            format!("piece {piece}\n")
        );
    }
    assert_eq!(app.service("a")["in_flight"], 1);
    // Who goes away ends the call.
    drop(connection);
    app.wait("a", "without a call", |status| status["in_flight"] == 0);
}

#[test]
fn a_call_arrives_with_the_headers_of_a_proxy() {
    let app = App::up(&echoes(&["a", "b"]));
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut connection = app.connect("a");
    let headers = [
        ("traceparent", parent),
        ("Connection", "x-private"),
        ("x-private", "1"),
    ];
    let answer = connection
        .request("POST", "/call?url=http://b/", &headers, b"some body")
        .unwrap();
    let json = answer.json();
    let seen = &json["headers"];
    assert_eq!(json["body"], "some body");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1", "{json:#}");
    assert_eq!(seen["x-forwarded-proto"], "http", "{json:#}");
    let host = format!("{}:{}", app.host("a"), app.roads().ingress().port());
    assert_eq!(seen["x-forwarded-host"], host, "{json:#}");
    assert!(seen["x-private"].is_null(), "{json:#}");
    let trace = |headers: &serde_json::Value| {
        headers["traceparent"]
            .as_str()
            .unwrap_or_default()
            .split('-')
            .nth(1)
            .map(str::to_owned)
    };
    assert_eq!(trace(seen).unwrap(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace(&json["called"]["headers"]), trace(seen), "{json:#}");
    // Where nobody began a trace, the first proxy does.
    let begun = app.get("a", "/call?url=http://b/").json();
    let first = trace(&begun["headers"]).expect("a trace");
    assert_eq!(first.len(), 32, "{begun:#}");
    assert_eq!(trace(&begun["called"]["headers"]), Some(first), "{begun:#}");
}

#[test]
fn large_bodies_pass_both_ways() {
    let app = App::up(&echoes(&["a"]));
    let mut connection = app.connect("a");
    let answer = connection.get("/bytes/3000000").unwrap();
    assert_eq!(answer.body.len(), 3_000_000);
    let sent = "y".repeat(1_000_000);
    let answer = connection
        .request("PUT", "/", &[], sent.as_bytes())
        .unwrap();
    assert_eq!(
        answer.json()["body"].as_str().map(str::len),
        Some(sent.len())
    );
    assert_eq!(connection.get("/status/404").unwrap().status, 404);
}
