//! The daemon starts by itself, may die at any time, and leaves when nothing is up.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use e2e::http::Connection;
use e2e::{App, Roads, free_port, until};

use crate::support::{echoes, is_root};

#[test]
fn the_daemon_leaves_with_the_last_app() {
    let roads = Roads::new();
    let (one, two) = (
        roads.app("one", &echoes(&["a"])),
        roads.app("two", &echoes(&["a"])),
    );
    assert!(roads.daemon().is_none());
    one.ok(&["up", "-d"]);
    let daemon = roads.daemon().expect("a daemon");
    two.ok(&["up", "-d"]);
    assert_eq!(roads.daemon().unwrap(), daemon);
    assert_eq!(one.get("a", "/").status, 200);
    assert_eq!(two.get("a", "/").status, 200);
    one.ok(&["down"]);
    assert_eq!(two.get("a", "/").status, 200);
    two.end();
    assert!(!roads.runtime().join("roads.sock").exists());
    assert!(Connection::open(roads.ingress(), "any").is_err());
    until("the instances to be gone", || roads.inits().is_empty());
}

#[test]
fn killing_the_daemon_stops_no_instance_and_the_next_command_goes_on() {
    let app = App::up(&echoes(&["a", "b"]));
    let roads = app.roads();
    let before = app.programs("roads coins echo");
    assert_eq!(before.len(), 2);
    let first = app.get("a", "/call?url=http://b/").json();
    roads.kill_daemon();
    assert_eq!(app.programs("roads coins echo"), before);
    app.ok(&["ps"]);
    let again = app.get("a", "/call?url=http://b/").json();
    assert_eq!(first["hostname"], again["hostname"]);
    assert_eq!(
        (&first["called"]["count"], &again["called"]["count"]),
        (&1.into(), &2.into())
    );
    assert_eq!(app.programs("roads coins echo"), before);
    for service in ["a", "b"] {
        assert_eq!(app.count(service, "instance_started"), 1, "{service}");
        app.wait_state(service, "running");
    }
    // What the new daemon found, it can also end.
    app.end();
    until("the instances to be gone", || {
        before.iter().all(|program| !program.is_alive())
    });
}

#[test]
fn connections_made_without_a_daemon_are_served_by_the_next() {
    let port = free_port();
    let app = App::up(&format!(
        "services:
  a:
    image: host
    command: roads coins echo
    ports: [\"127.0.0.1:{port}:80\"]
  s:
    image: host
    command: roads coins tcp-echo --port 7
    ports: [\"7\"]
    x-roads: {{ activation: on-demand, protocol: {{ \"7\": tcp }} }}
",
    ));
    let asleep = app.published("s", 7).port();
    assert_eq!(app.service("s")["state"], "asleep");
    app.roads().kill_daemon();
    let mut awake = Connection::open(([127, 0, 0, 1], port).into(), "a").unwrap();
    awake.send("GET", "/hello", &[], b"").unwrap();
    let mut ingress = app.connect("a");
    ingress.send("GET", "/hello", &[], b"").unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", asleep)).unwrap();
    plain.write_all(b"hello\n").unwrap();
    app.ok(&["ps"]);
    assert_eq!(awake.head().unwrap().0, 200);
    assert_eq!(ingress.head().unwrap().0, 200);
    let mut line = String::new();
    BufReader::new(plain).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
}

#[test]
fn a_call_between_services_without_a_daemon_is_served_by_the_next() {
    let app = App::up(&echoes(&["a", "b"]));
    app.ok(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "(sh -c 'until [ -e /tmp/go ]; do sleep 0.02; done; \
         curl -s -m 80 -o /dev/null -w \"%{http_code}\" http://b/ > /tmp/answer' >/dev/null 2>&1 &); \
         touch /tmp/ready",
    ]);
    let program = app.programs("roads coins echo").remove(0);
    app.ok(&["exec", "-T", "a", "touch", "/tmp/go"]);
    app.roads().kill_daemon();
    assert!(program.is_alive());
    until("the call to be answered", || {
        app.try_sh("a", "cat /tmp/answer").stdout == "200"
    });
}

#[test]
fn the_daemon_finds_out_what_died_while_it_was_away() {
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"], restart: always }
  b: { image: host, command: roads coins echo --delay-ms 1, expose: [\"80\"] }
",
    );
    app.roads().kill_daemon();
    for program in app.programs("roads coins echo") {
        program.kill();
        until("the program to be gone", || !program.is_alive());
    }
    app.wait_state("a", "running");
    app.wait_state("b", "failed");
    assert!(app.ok(&["explain", "b"]).contains("SIGKILL"));
    assert_eq!(app.get("a", "/").status, 200);
}

#[test]
fn the_daemon_can_be_stopped_while_apps_run_on() {
    let app = App::up(&echoes(&["a"]));
    let before = app.programs("roads coins echo");
    app.roads().ok(&["daemon", "--stop"]);
    until("the daemon to be gone", || app.roads().daemon().is_none());
    assert_eq!(app.programs("roads coins echo"), before);
    app.ok(&["ps"]);
    assert_eq!(app.get("a", "/").json()["count"], 1);
}

#[test]
fn only_its_user_can_open_the_sockets() {
    let app = App::up(&echoes(&["a"]));
    let runtime = app.roads().runtime();
    let mode = |name: &str| fs::metadata(runtime.join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("") & 0o077, 0);
    assert_eq!(mode("roads.sock") & 0o077, 0);
    if !is_root() {
        return;
    }
    // Even where the folders let others in.
    for folder in [app.roads().folder(), &runtime] {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    for name in ["roads.sock", "keeper.sock"] {
        let mut other = Command::new("setpriv");
        other.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "-sS",
            "-m",
            "20",
        ]);
        other
            .arg("--unix-socket")
            .arg(runtime.join(name))
            .arg("http://roads/v1/info");
        let outcome = app.roads().outcome(&mut other);
        assert!(!outcome.status.success(), "{name}: {outcome:#?}");
        assert!(!outcome.stdout.contains("version"), "{name}: {outcome:#?}");
    }
}

#[test]
fn bytes_that_mean_nothing_do_no_harm() {
    let app = App::up(&echoes(&["a"]));
    let roads = app.roads();
    let (daemon, keeper) = (roads.daemon(), roads.keeper());
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let pieces: [&[u8]; 5] = [
        b"",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"GET /v1/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        &noise,
    ];
    for name in ["roads.sock", "keeper.sock"] {
        for bytes in pieces {
            let mut stream = UnixStream::connect(roads.runtime().join(name)).unwrap();
            // It may be closed on us before all is written.
            drop(stream.write_all(bytes));
        }
    }
    for bytes in pieces {
        let mut stream = TcpStream::connect(roads.ingress()).unwrap();
        drop(stream.write_all(bytes));
    }
    assert_eq!(app.get("a", "/").status, 200);
    app.ok(&["restart", "a"]);
    assert_eq!(app.get("a", "/").status, 200);
    assert_eq!((roads.daemon(), roads.keeper()), (daemon, keeper));
}
