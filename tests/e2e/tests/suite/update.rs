//! `up` again: what changed is replaced, what did not is left alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use e2e::{App, until};
use serde_json::Value;

fn text(greeting: &str) -> String {
    format!(
        "services:
  web:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    environment: {{ ROADS_GREETING: {greeting} }}
  other:
    image: host
    command: roads coins echo --delay-ms 0
    expose: [\"80\"]
"
    )
}

#[test]
fn a_changed_service_is_replaced_without_a_failed_call_and_the_rest_stays() {
    let app = App::up(&text("one"));
    let other = app.programs("--delay-ms 0");
    let (made, seen, is_over) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut connection = app.connect("web");
                while !is_over.load(Ordering::Relaxed) {
                    let answer = connection.get("/sleep/1").expect("a call failed");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let greeting = &answer.json()["environment"]["ROADS_GREETING"];
                    let counter = if *greeting == "two" { &seen } else { &made };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = OnDrop(&is_over);
        until("some calls", || made.load(Ordering::Relaxed) > 50);
        app.rewrite(&text("two"));
        app.ok(&["up", "-d"]);
        until("calls to the new revision", || {
            seen.load(Ordering::Relaxed) > 50
        });
        drop(over);
    });
    assert_eq!(app.service("web")["revision"], 2);
    assert_eq!(app.service("other")["revision"], 1);
    assert_eq!(app.programs("--delay-ms 0"), other);
    app.wait_ready("web", 1);
    assert_eq!(
        app.get("web", "/").json()["environment"]["ROADS_GREETING"],
        "two"
    );
}

/// Ends the load also when the test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_same_file_again_changes_nothing() {
    let app = App::up(&text("one"));
    let before = app.roads().programs();
    app.ok(&["up", "-d"]);
    assert_eq!(app.roads().programs(), before);
    assert_eq!(app.count("web", "instance_started"), 1);
}

#[test]
fn what_the_file_has_no_longer_goes_away_and_what_is_new_comes() {
    let app = App::up(&text("one"));
    app.rewrite(
        "services:
  web:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    environment: { ROADS_GREETING: one }
  fresh:
    image: host
    command: roads coins echo
    expose: [\"80\"]
",
    );
    app.ok(&["up", "-d"]);
    until("the service to be gone", || {
        app.service("other") == Value::Null
    });
    assert_eq!(app.programs("--delay-ms 0"), []);
    assert_eq!(app.get("web", "/call?url=http://fresh/").status, 200);
    assert_eq!(app.count("web", "instance_started"), 1);
}

#[test]
fn an_asleep_service_takes_a_change_over_when_it_is_called() {
    let lazy = |greeting: &str| format!("{}x-roads: {{ activation: on-demand }}\n", text(greeting));
    let app = App::up(&lazy("one"));
    app.rewrite(&lazy("two"));
    app.ok(&["up", "-d"]);
    assert_eq!(app.roads().inits().len(), 0);
    assert_eq!(
        app.get("web", "/").json()["environment"]["ROADS_GREETING"],
        "two"
    );
}

#[test]
fn up_with_names_starts_these_and_what_they_depend_on() {
    let app = App::of(
        "services:
  web:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    depends_on: [base]
  base: { image: host, command: roads coins echo, expose: [\"80\"] }
  other: { image: host, command: roads coins echo, expose: [\"80\"] }
",
    );
    app.ok(&["up", "-d", "web"]);
    assert_eq!(app.service("web")["state"], "running");
    assert_eq!(app.service("base")["state"], "running");
    assert_eq!(app.count("other", "instance_started"), 0);
}
