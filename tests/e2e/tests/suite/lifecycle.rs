//! Starting in order, being ready, ending, and starting again.

use std::fs;

use e2e::{App, Roads};
use serde_json::Value;

use crate::support::{Gate, app_behind_gate, gated, shared_folder};

/// The words that people read of a service.
fn told(app: &App, service: &str) -> String {
    let explained = app.ok(&["explain", service]);
    let reasons = app.service(service)["reasons"].to_string();
    format!("{explained}\n{reasons}")
}

/// Places of facts in the list of events: `a instance_started`.
fn facts(app: &App) -> Vec<String> {
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    app.events()
        .iter()
        .map(|e| format!("{} {}", text(e, "service"), text(e, "fact")))
        .collect()
}

fn assert_before(app: &App, first: &str, second: &str) {
    let facts = facts(app);
    let place = |fact: &str| facts.iter().position(|have| have == fact);
    assert!(
        place(first).is_some() && place(second).is_some(),
        "{first}, {second}: {facts:#?}"
    );
    assert!(
        place(first) < place(second),
        "{first} is not before {second}: {facts:#?}"
    );
}

#[test]
fn a_service_without_a_healthcheck_is_ready_when_it_listens() {
    let (app, gate) = app_behind_gate(&format!(
        "services:\n  a:\n    {}\n    expose: [\"80\"]\n",
        gated("roads coins echo")
    ));
    std::thread::scope(|scope| {
        let up = scope.spawn(|| app.ok(&["up", "-d"]));
        let status = app.wait("a", "started", |status| {
            status["instances"][0]["state"] == "probing"
        });
        assert_eq!(status["ready"], 0);
        gate.open();
        up.join().unwrap();
    });
    assert_eq!(app.service("a")["ready"], 1);
}

#[test]
fn a_failing_healthcheck_takes_a_service_out_of_the_routes() {
    let roads = Roads::new();
    let gate = Gate::of(&roads);
    gate.open();
    let app = roads.app(
        "demo",
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    volumes: [\"../gate:/gate:ro\"]
    healthcheck:
      test: [CMD, test, -e, /gate/open]
      interval: 100ms
      retries: 2
      start_interval: 50ms
      start_period: 20s
    x-roads: { activation: { hold: { timeout: 500ms } } }
",
    );
    app.ok(&["up", "-d"]);
    assert_eq!(app.get("a", "/").json()["count"], 1);
    gate.close();
    app.wait_state("a", "unready");
    assert_eq!(app.get("a", "/").status, 503);
    let told = told(&app, "a");
    assert!(told.contains("not ready"), "{told}");
    gate.open();
    app.wait_state("a", "running");
    // The calls of meanwhile did not reach it.
    assert_eq!(app.get("a", "/").json()["count"], 2);
    assert_eq!(app.count("a", "instance_started"), 1);
}

#[test]
fn services_start_when_what_they_depend_on_is_as_they_need_it() {
    let app = App::up(
        "services:
  web:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    depends_on:
      store: { condition: service_healthy }
      job: { condition: service_completed_successfully }
      plain: { condition: service_started }
  store:
    image: host
    command: roads coins store
    expose: [\"6379\"]
    healthcheck:
      test: [CMD, roads, coins, store-check]
      interval: 5s
      start_period: 10s
      start_interval: 50ms
  job:
    image: host
    command: [sh, -c, \"sleep 0.2; echo migrated\"]
  plain:
    image: host
    command: sleep 1000
",
    );
    assert_before(&app, "store instance_ready", "web instance_started");
    assert_before(&app, "job instance_exited", "web instance_started");
    assert_before(&app, "plain instance_started", "web instance_started");
    assert_eq!(app.service("job")["state"], "completed");
    assert_eq!(app.service("web")["state"], "running");
    // It ends the other way round.
    app.ok(&["stop"]);
    assert_before(&app, "web instance_stopped", "store instance_stopped");
}

#[test]
fn a_job_that_fails_keeps_its_dependants_from_starting() {
    let app = App::of(
        "services:
  web:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    depends_on: { job: { condition: service_completed_successfully } }
  job:
    image: host
    command: [sh, -c, \"exit 3\"]
",
    );
    let outcome = app.fails(&["up", "-d"]);
    assert!(outcome.text().contains("job"), "{outcome:#?}");
    assert!(outcome.text().contains("code 3"), "{outcome:#?}");
    let told = told(&app, "web");
    assert!(told.contains("job") && told.contains("failed"), "{told}");
    assert_eq!(app.count("web", "instance_started"), 0);
}

#[test]
fn a_failing_program_is_started_again_as_often_as_its_policy_says() {
    let app = App::of(
        "services:
  a: { image: host, command: [sh, -c, \"exit 3\"], restart: \"on-failure:2\" }
  b: { image: host, command: [sh, -c, \"exit 4\"], restart: \"no\" }
  c: { image: host, command: [sh, -c, \"exit 0\"], restart: on-failure }
",
    );
    // What has no port is ready when it has started; whether `up` sees the end of it is chance.
    app.run(&["up", "-d"]);
    for (service, state, starts) in [
        ("a", "failed", 3),
        ("b", "failed", 1),
        ("c", "completed", 1),
    ] {
        app.wait_state(service, state);
        assert_eq!(app.count(service, "instance_started"), starts, "{service}");
    }
    assert!(told(&app, "a").contains("code 3"));
    assert!(told(&app, "b").contains("code 4"));
    assert_eq!(app.count("a", "starts_given_up"), 1);
}

#[test]
fn a_program_that_ends_again_and_again_is_started_ever_more_slowly() {
    let app = App::of(
        "services:
  a: { image: host, command: [sh, -c, \"exit 1\"], restart: always }
",
    );
    std::thread::scope(|scope| {
        // It never settles, so this ends when the app goes down.
        scope.spawn(|| app.run(&["up", "-d"]));
        let status = app.wait("a", "backing off a fourth time", |status| {
            status["state"] == "backing off"
                && status["instances"][0]["restarts"].as_u64() >= Some(3)
        });
        let told = format!("{}{}", status["reasons"], app.ok(&["explain", "a"]));
        assert!(told.contains("starts again in"), "{told}");
        // That it fails is nothing to it.
        app.ok(&["down"]);
    });
}

#[test]
fn ends_are_told_in_words() {
    let app = App::of(
        "services:
  missing: { image: host, command: no-such-program --at all }
  signal: { image: host, command: [sh, -c, \"kill -SEGV $$$$\"] }
  killed: { image: host, command: [sh, -c, \"kill -KILL $$$$\"] }
  code: { image: host, command: [sh, -c, \"exit 42\"] }
  noexec: { image: host, command: /etc/passwd }
",
    );
    app.fails(&["up", "-d"]);
    for (service, words) in [
        ("missing", &["no-such-program", "not found"][..]),
        ("signal", &["SIGSEGV"]),
        ("killed", &["SIGKILL"]),
        ("code", &["code 42"]),
        ("noexec", &["/etc/passwd"]),
    ] {
        app.wait_state(service, "failed");
        let told = told(&app, service);
        for word in words {
            assert!(told.contains(word), "{service}: no {word:?} in {told}");
        }
    }
    let events = app.ok(&["events"]);
    assert!(
        events.contains("SIGSEGV") && events.contains("code 42"),
        "{events}"
    );
}

#[test]
fn stopping_asks_by_the_signal_of_the_file_and_kills_after_the_grace_period() {
    let roads = Roads::new();
    let folder = shared_folder(&roads, "out");
    let app = roads.app(
        "demo",
        "services:
  polite:
    image: host
    command: [sh, -c, 'trap \"echo usr1 > /out/signal; exit 0\" USR1; touch /out/polite; while :; do sleep 0.02; done']
    volumes: [\"../out:/out\"]
    stop_signal: SIGUSR1
    stop_grace_period: 60s
  stubborn:
    image: host
    command: [sh, -c, 'trap \"\" TERM; touch /out/stubborn; while :; do sleep 0.02; done']
    volumes: [\"../out:/out\"]
    stop_grace_period: 300ms
",
    );
    app.ok(&["up", "-d"]);
    for name in ["polite", "stubborn"] {
        e2e::until("the traps to be set", || folder.join(name).exists());
    }
    app.ok(&["stop"]);
    assert_eq!(fs::read_to_string(folder.join("signal")).unwrap(), "usr1\n");
    let ended = |service: &str| {
        let events = app.events();
        let is_it = |e: &&Value| e["service"] == service && e["fact"] == "instance_stopped";
        events
            .iter()
            .find(is_it)
            .map(|e| e["text"].as_str().unwrap().to_owned())
            .unwrap()
    };
    assert!(
        ended("stubborn").contains("SIGKILL"),
        "{}",
        ended("stubborn")
    );
    assert!(ended("polite").contains("success"), "{}", ended("polite"));
    // What was stopped is kept and can be started again.
    assert_eq!(app.service("polite")["state"], "stopped");
    app.ok(&["start", "polite"]);
    assert_eq!(app.service("polite")["state"], "running");
}

#[test]
fn a_variable_of_the_file_reaches_the_program() {
    let roads = Roads::new();
    roads.write("demo/.env", "FROM_DOTENV=dotenv\n");
    roads.write("demo/more.env", "FROM_FILE=file\n");
    let app = roads.app(
        "demo",
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    env_file: more.env
    environment:
      ROADS_ONE: \"${FROM_DOTENV:-no}\"
      ROADS_TWO: \"${NOT_SET:-default}\"
",
    );
    app.ok(&["up", "-d"]);
    let environment = app.get("a", "/").json()["environment"].clone();
    assert_eq!(environment["ROADS_ONE"], "dotenv");
    assert_eq!(environment["ROADS_TWO"], "default");
    assert_eq!(app.sh("a", "echo $FROM_FILE"), "file");
}

#[test]
fn only_the_profiles_asked_for_are_up() {
    let app = App::of(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"] }
  debug: { image: host, command: roads coins echo, expose: [\"80\"], profiles: [debug] }
",
    );
    app.ok(&["up", "-d"]);
    assert_eq!(app.service("debug"), Value::Null);
    app.ok(&["up", "-d", "--profile", "debug"]);
    assert_eq!(app.get("debug", "/").status, 200);
}
