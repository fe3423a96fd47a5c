//! The example: what the README promises, word for word.

use std::process::Command;

use e2e::{App, Roads, free_port, until};
use serde_json::Value;

use crate::support::{curl, examples, has};

const SERVICES: [&str; 5] = ["hasher", "rng", "store", "webui", "worker"];

fn url(app: &App, path: &str) -> String {
    format!(
        "http://{}:{}{path}",
        app.host("webui"),
        app.roads().ingress().port()
    )
}

fn wait_for_coins(app: &App) {
    until("a coin", || {
        let figures = curl(app.roads(), &[&url(app, "/json")]);
        let figures: Value = serde_json::from_str(&figures).unwrap();
        figures["coins"].as_u64() > Some(0)
    });
}

#[test]
fn the_command_of_the_readme_mines_coins() {
    let roads = Roads::new();
    let app = App::at(&roads, "coins", vec![examples().join("coins/compose.yaml")]);
    app.ok(&["up", "-d"]);
    let page = curl(&roads, &[&url(&app, "/")]);
    assert!(page.contains("<html"), "{page}");

    let status = app.status();
    let services = status["services"].as_array().unwrap();
    let names: Vec<_> = services
        .iter()
        .map(|service| service["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, SERVICES);
    let table = app.ok(&["ps"]);
    for heading in ["SERVICE", "STATE", "INSTANCES", "READY", "CALLS", "LAST"] {
        assert!(
            table.to_uppercase().contains(heading),
            "no {heading} in\n{table}"
        );
    }
    for name in SERVICES {
        assert!(table.contains(name), "no {name} in\n{table}");
    }

    wait_for_coins(&app);
    // Somebody called these, so they are awake.
    for name in ["rng", "hasher", "store", "webui"] {
        let service = app.service(name);
        assert_eq!(service["state"], "running", "{service:#}");
        assert!(service["calls"].as_u64() > Some(0), "{service:#}");
        assert!(service["last_demand_ms"].is_u64(), "{service:#}");
    }
    assert_eq!(app.programs("roads coins").len(), 5);
}

#[test]
fn redis_cli_talks_to_the_store_by_a_published_port() {
    if !has(&["redis-cli"]) {
        return;
    }
    let roads = Roads::new();
    let port = free_port();
    let text = format!("services:\n  store:\n    ports: [\"127.0.0.1:{port}:6379\"]\n");
    let published = roads.write("published.yaml", &text);
    let app = App::at(
        &roads,
        "coins",
        vec![examples().join("coins/compose.yaml"), published],
    );
    app.ok(&["up", "-d", "store"]);
    let redis = |words: &[&str]| {
        let mut redis = Command::new("redis-cli");
        redis
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(words);
        let outcome = roads.outcome(&mut redis);
        assert!(
            outcome.status.success(),
            "redis-cli {words:?} failed: {outcome:#?}"
        );
        outcome.stdout.trim().to_owned()
    };
    assert_eq!(redis(&["ping"]), "PONG");
    assert_eq!(redis(&["incrby", "coins", "1000"]), "1000");
    assert_eq!(redis(&["get", "coins"]), "1000");
    // The others were not asked for.
    assert_eq!(app.programs("roads coins").len(), 1);
}

#[test]
fn services_in_three_other_languages_mine_as_well() {
    if !has(&["python3", "node", "curl"]) {
        return;
    }
    let roads = Roads::new();
    let file = examples().join("coins/compose.languages.yaml");
    let app = App::at(&roads, "coins-languages", vec![file]);
    app.ok(&["up", "-d"]);
    wait_for_coins(&app);
    for part in ["hasher.py", "webui.js", "worker.sh"] {
        assert_eq!(app.programs(part).len(), 1, "{part}");
    }
}
