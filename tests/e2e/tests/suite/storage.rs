//! Files that outlive an instance, and what an instance may use.

use std::fs;

use e2e::{App, Roads};

use crate::support::{shared_folder, skip_unless};

const STORE: &str = "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    volumes:
      - data:/data
      - ../shared:/shared
      - ../shared:/readable:ro
      - type: tmpfs
        target: /scratch
        tmpfs: { size: 1m }
  b:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    volumes: [\"data:/other\"]
volumes: { data: {} }
";

#[test]
fn files_are_where_the_file_says_and_only_there() {
    let roads = Roads::new();
    let folder = shared_folder(&roads, "shared");
    let app = roads.app("demo", STORE);
    app.ok(&["up", "-d"]);
    assert_eq!(
        app.sh("a", "echo bound > /shared/file && cat /readable/file"),
        "bound"
    );
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "bound\n");
    assert!(
        !app.try_sh("a", "echo no > /readable/other")
            .status
            .success()
    );
    assert!(!folder.join("other").exists());
    assert_eq!(
        app.sh("a", "echo named > /data/file; cat /data/file"),
        "named"
    );
    assert_eq!(app.sh("b", "cat /other/file"), "named");
    assert_eq!(
        app.sh("a", "echo fast > /scratch/file; cat /scratch/file"),
        "fast"
    );
    assert!(
        !app.try_sh("a", "head -c 2000000 /dev/zero > /scratch/large")
            .status
            .success()
    );
    assert!(!app.try_sh("b", "ls /scratch").status.success());
}

#[test]
fn a_named_volume_survives_down_but_not_down_with_its_volumes() {
    let roads = Roads::new();
    shared_folder(&roads, "shared");
    let app = roads.app("demo", STORE);
    app.ok(&["up", "-d"]);
    app.ok(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "echo kept > /data/file; echo lost > /scratch/file",
    ]);
    app.ok(&["down"]);
    app.ok(&["up", "-d"]);
    assert_eq!(app.sh("a", "cat /data/file"), "kept");
    assert!(!app.try_sh("a", "cat /scratch/file").status.success());
    app.ok(&["down", "-v"]);
    app.ok(&["up", "-d"]);
    assert!(!app.try_sh("a", "cat /data/file").status.success());
}

#[test]
fn private_files_survive_a_restart_of_the_program_but_not_its_replacement() {
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"], restart: always }
",
    );
    app.ok(&["exec", "-T", "a", "sh", "-c", "echo mine > /usr/local/file"]);
    let program = app.programs("roads coins echo").remove(0);
    program.kill();
    app.wait("a", "started again", |status| {
        status["ready"] == 1 && status["instances"][0]["restarts"] == 1
    });
    assert_eq!(
        app.sh("a", "cat /usr/local/file 2>/dev/null || echo gone"),
        "mine"
    );
    app.ok(&["restart", "a"]);
    assert_eq!(
        app.sh("a", "cat /usr/local/file 2>/dev/null || echo gone"),
        "gone"
    );
}

#[test]
fn a_program_that_takes_more_memory_than_it_may_is_killed_and_that_is_told() {
    // It takes four times what it may, and no more, in case nobody keeps it from that.
    let app = App::of(
        "services:
  a:
    image: host
    command: dd if=/dev/zero of=/dev/null bs=128M count=1
    deploy: { resources: { limits: { memory: 32m, pids: 50, cpus: \"0.5\" } } }
  b: { image: host, command: sleep 1000 }
",
    );
    app.run(&["up", "-d"]);
    let shortcomings = app.roads().shortcomings();
    let is_limited = !shortcomings.iter().any(|text| text.contains("limits of"));
    if !skip_unless(is_limited, &format!("{shortcomings:?}")) {
        app.wait_state("a", "completed");
        return;
    }
    app.wait_state("a", "failed");
    let told = app.ok(&["explain", "a"]);
    assert!(told.contains("memory limit"), "{told}");
}

#[test]
fn a_program_cannot_make_more_processes_than_it_may() {
    let app = App::up(
        "services:
  a:
    image: host
    command: sleep 1000
    pids_limit: 20
",
    );
    let shortcomings = app.roads().shortcomings();
    let is_limited = !shortcomings.iter().any(|text| text.contains("limits of"));
    if !skip_unless(is_limited, &format!("{shortcomings:?}")) {
        return;
    }
    let outcome = app.try_sh("a", "for i in $(seq 60); do sleep 5 & done; wait");
    assert!(outcome.stderr.contains("fork"), "{outcome:#?}");
}
