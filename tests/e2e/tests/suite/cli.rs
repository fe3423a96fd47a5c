//! What the command says and does at a person's hands.

use std::net::TcpListener;
use std::process::{Child, Stdio};

use e2e::{App, Roads, free_port, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{echoes, is_root};

/// `roads up` in the foreground, with its output in a file.
struct Foreground {
    child: Child,
    output: std::path::PathBuf,
}

impl Foreground {
    fn up(app: &App) -> Self {
        let output = app.roads().folder().join("foreground");
        let file = std::fs::File::create(&output).unwrap();
        let mut command = app.roads().command(&app.words(&["up"]));
        command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .stdin(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
            output,
        }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        until("`up` to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn up_in_the_foreground_shows_plan_and_logs_and_stops_by_ctrl_c() {
    let app = App::of(&echoes(&["a", "b"]));
    let mut up = Foreground::up(&app);
    until("the logs of both", || {
        let text = up.text();
        text.contains("a-1") && text.contains("b-1") && text.contains("listening=")
    });
    let text = up.text();
    assert!(text.contains("create"), "no plan in {text}");
    assert_eq!(app.get("a", "/").status, 200);
    up.interrupt();
    assert_eq!(up.code(), Some(130), "{}", up.text());
    for service in ["a", "b"] {
        assert_eq!(app.service(service)["state"], "stopped");
    }
    assert_eq!(app.roads().inits().len(), 0);
    // As in Compose, what was stopped is there to be started again.
    app.ok(&["up", "-d"]);
    assert_eq!(app.get("a", "/").status, 200);
}

#[test]
fn a_second_ctrl_c_kills_what_does_not_end() {
    let app = App::of(
        "services:
  a:
    image: host
    command: [sh, -c, 'trap \"\" TERM; while :; do sleep 0.02; done']
    stop_grace_period: 1h
",
    );
    let mut up = Foreground::up(&app);
    app.wait_state("a", "running");
    up.interrupt();
    app.wait_state("a", "stopping");
    up.interrupt();
    assert_eq!(up.code(), Some(130), "{}", up.text());
    assert_eq!(app.service("a")["state"], "stopped");
    assert_eq!(app.roads().inits().len(), 0);
}

#[test]
fn kill_stops_at_once_and_sends_any_other_signal() {
    let app = App::up(
        "services:
  a:
    image: host
    command: [sh, -c, 'trap \"\" TERM; trap \"echo hung up\" HUP; echo set; while :; do sleep 0.02; done']
    stop_grace_period: 1h
    restart: always
  b: { image: host, command: sleep 1000 }
",
    );
    let says = |words: &str| until(words, || app.ok(&["logs", "a"]).contains(words));
    says("set");
    app.ok(&["kill", "-s", "HUP", "a"]);
    says("hung up");
    assert_eq!(app.service("a")["state"], "running");
    app.ok(&["kill", "a"]);
    assert_eq!(app.service("a")["state"], "stopped");
    assert_eq!(app.service("b")["state"], "running");
    assert_eq!(app.count("a", "instance_started"), 1);
    let refused = app.fails(&["kill", "-s", "SIGNOTHING"]);
    assert!(refused.stderr.contains("SIGNOTHING"), "{refused:#?}");
    app.ok(&["kill"]);
    assert_eq!(app.roads().inits().len(), 0);
    app.ok(&["start", "a"]);
    assert_eq!(app.service("a")["state"], "running");
    app.ok(&["kill"]);
}

#[test]
fn up_in_the_foreground_ends_with_its_programs() {
    let app = App::of(
        "services:
  a: { image: host, command: [sh, -c, \"echo well\"] }
",
    );
    let mut up = Foreground::up(&app);
    assert_eq!(up.code(), Some(0), "{}", up.text());
    assert!(up.text().contains("well"), "{}", up.text());
}

#[test]
fn a_bad_file_is_told_with_its_places_all_at_once() {
    let app = App::of(
        "services:
  a:
    imago: host
    command: roads coins echo
  b:
    image: host
    ports: [\"eighty:80\"]
    depends_on: [nobody]
",
    );
    let outcome = app.fails(&["up", "-d"]);
    assert_eq!(outcome.status.code(), Some(1));
    for words in [
        "compose.yaml:4:5",
        "imago",
        "image",
        "compose.yaml:8:",
        "eighty",
        "nobody",
        "compose.yaml:9:",
    ] {
        assert!(
            outcome.stderr.contains(words),
            "no {words:?} in {}",
            outcome.stderr
        );
    }
    assert_eq!(outcome.stdout, "");
    assert!(app.roads().daemon().is_none());
}

#[test]
fn a_key_that_is_not_honoured_is_a_named_warning() {
    let app = App::of(
        "services:
  a: { image: host, command: sleep 1000, privileged: true }
",
    );
    let outcome = app.run(&["config"]);
    assert!(outcome.status.success(), "{outcome:#?}");
    assert!(outcome.stderr.contains("privileged"), "{outcome:#?}");
    assert!(
        app.fails(&["config", "--strict"])
            .stderr
            .contains("privileged")
    );
}

#[test]
fn a_missing_file_is_told_with_what_to_do() {
    let roads = Roads::new();
    let outcome = roads.fails(&["up", "-d", "-f", "no-such.yaml"]);
    assert!(outcome.stderr.contains("no-such.yaml"), "{outcome:#?}");
    let outcome = roads.fails(&["up", "-d"]);
    assert!(outcome.stderr.contains("compose.yaml"), "{outcome:#?}");
}

#[test]
fn a_resolved_file_reads_as_the_file_does() {
    let roads = Roads::new();
    let coins = crate::support::examples().join("coins/compose.yaml");
    let config = |file: &str, format: &str| roads.ok(&["config", "-f", file, "--format", format]);
    let file = coins.to_str().unwrap();
    for format in ["yaml", "json"] {
        let first = config(file, format);
        let again = roads.write(&format!("resolved.{format}"), &first);
        assert_eq!(config(again.to_str().unwrap(), format), first);
    }
    let json: Value = serde_json::from_str(&config(file, "json")).unwrap();
    assert_eq!(json["name"], "coins");
    let names = roads.ok(&["config", "-f", file, "--services"]);
    assert_eq!(names, "hasher\nrng\nstore\nwebui\nworker\n");
}

#[test]
fn every_command_has_help_with_an_example() {
    let roads = Roads::new();
    let help = roads.ok(&["--help"]);
    let commands = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1);
    let commands: Vec<&str> = commands
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .filter(|name| {
            name.chars()
                .next()
                .is_some_and(|first| first.is_ascii_lowercase())
        })
        .collect();
    for wanted in [
        "up",
        "down",
        "ps",
        "logs",
        "scale",
        "wake",
        "rest",
        "restart",
        "kill",
        "exec",
        "events",
        "config",
        "explain",
        "daemon",
        "version",
        "completions",
    ] {
        assert!(commands.contains(&wanted), "no {wanted} in {commands:?}");
    }
    for command in commands.iter().filter(|name| **name != "help") {
        let help = roads.ok(&[command, "--help"]);
        assert!(
            help.contains("Example") && help.contains("roads "),
            "{command}: {help}"
        );
    }
}

#[test]
fn completions_are_there_for_each_shell() {
    let roads = Roads::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = roads.ok(&["completions", shell]);
        assert!(
            script.contains("roads") && script.contains("explain"),
            "{shell}"
        );
    }
}

#[test]
fn what_is_not_there_is_told_by_name() {
    let app = App::up(&echoes(&["alpha", "beta"]));
    let roads = app.roads();
    for words in [
        &["explain", "gamma"][..],
        &["scale", "gamma=2"],
        &["restart", "gamma"],
        &["logs", "gamma"],
        &["exec", "-T", "gamma", "true"],
    ] {
        let outcome = app.fails(words);
        assert!(outcome.stderr.contains("gamma"), "{words:?}: {outcome:#?}");
        assert!(
            outcome.stderr.contains("alpha"),
            "{words:?} lists what there is: {outcome:#?}"
        );
    }
    let outcome = roads.fails(&["ps", "-p", "no-such-app"]);
    assert!(outcome.stderr.contains("no-such-app"), "{outcome:#?}");
    let outcome = app.fails(&["scale", "alpha=many"]);
    assert!(outcome.stderr.contains("many"), "{outcome:#?}");
    roads.fails(&["no-such-command"]);
    let answer = app.get("gamma", "/");
    assert!([404, 503].contains(&answer.status), "{}", answer.text());
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it() {
    let port = free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let app = App::of(&format!(
        "services:
  a: {{ image: host, command: roads coins echo, ports: [\"127.0.0.1:{port}:80\"] }}
",
    ));
    let outcome = app.fails(&["up", "-d"]);
    // An ordinary user's daemon lives in a user namespace, from where it may not look into
    // processes of outside.
    let own = if is_root() {
        std::process::id().to_string()
    } else {
        String::new()
    };
    assert!(outcome.stderr.contains(&port.to_string()), "{outcome:#?}");
    assert!(
        outcome.stderr.contains(&own),
        "it does not name process {own}: {outcome:#?}"
    );
}

#[test]
fn data_is_json_for_who_asks() {
    let app = App::up(&echoes(&["a"]));
    let roads = app.roads();
    let apps = roads.json(&["ls", "--json"]);
    assert_eq!(apps["apps"][0]["name"], "demo");
    let version = roads.json(&["version", "--json"]);
    assert_eq!(version["daemon"]["pid"], roads.daemon().unwrap().pid);
    assert_eq!(app.json(&["explain", "--json", "a"])["status"]["name"], "a");
    assert_eq!(app.json(&["up", "-d", "--json"])["app"], "demo");
    let events = app.events();
    assert!(
        events.iter().any(|event| event["fact"] == "app_up"),
        "{events:#?}"
    );
    let openapi = roads.json(&["openapi"]);
    assert!(
        openapi["paths"]
            .as_object()
            .is_some_and(|paths| paths.len() > 10)
    );
}

#[test]
fn without_a_terminal_nothing_is_coloured() {
    let app = App::up(&echoes(&["a"]));
    for words in [&["ps"][..], &["explain", "a"], &["events"], &["logs"]] {
        let outcome = app.run(words);
        assert!(
            !outcome.text().contains('\u{1b}'),
            "{words:?}: {outcome:#?}"
        );
    }
}
