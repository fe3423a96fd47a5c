//! How services find and call each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use e2e::{App, free_port};
use serde_json::Value;

use crate::support::{echoes, has, is_root};

/// Asks the name server inside an instance, by bytes.
const ASK: &str = include_str!("ask.py");
/// A resolver for a machine that has none.
const RESOLVER: &str = include_str!("resolver.py");

/// What an instance's name server answers: `{"rcode": 0, "answers": ["A 127.127.0.2", …]}`.
fn ask(app: &App, service: &str, transport: &str, name: &str, kind: &str) -> Value {
    let words = [
        "exec", "-T", service, "python3", "-c", ASK, transport, name, kind,
    ];
    serde_json::from_str(&app.ok(&words)).unwrap()
}

#[test]
fn a_service_has_three_names_and_one_address() {
    let app = App::up(&echoes(&["a", "rng"]));
    let address = app.service("rng")["address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("127.127."), "{address}");
    for name in ["rng", "rng.demo", "rng.demo.internal"] {
        let found = app.sh("a", &format!("getent hosts {name}"));
        assert!(found.starts_with(&address), "{name}: {found}");
        let status = app.sh(
            "a",
            &format!("curl -s -o /dev/null -w '%{{http_code}}' http://{name}/"),
        );
        assert_eq!(status, "200", "{name}");
    }
    let resolver = app.sh("a", "cat /etc/resolv.conf");
    assert!(resolver.contains("nameserver 127.127.0.1"), "{resolver}");
    assert!(resolver.contains("search demo.internal"), "{resolver}");
}

#[test]
fn names_are_answered_over_udp_and_tcp_as_their_types_ask() {
    if !has(&["python3"]) {
        return;
    }
    let app = App::up(&echoes(&["a", "rng"]));
    let address = app.service("rng")["address"].as_str().unwrap().to_owned();
    for transport in ["udp", "tcp"] {
        for name in ["rng.demo.internal", "rng.demo", "rng", "RNG.demo.Internal"] {
            let answer = ask(&app, "a", transport, name, "A");
            assert_eq!(answer["rcode"], 0, "{name}: {answer}");
            assert_eq!(
                answer["answers"][0],
                format!("A {address}"),
                "{name}: {answer}"
            );
            // Empty, not absent: the name is there.
            let answer = ask(&app, "a", transport, name, "AAAA");
            assert_eq!(
                (&answer["rcode"], &answer["answers"]),
                (&0.into(), &Value::Array(Vec::new()))
            );
        }
        let answer = ask(&app, "a", transport, "_http._tcp.rng.demo.internal", "SRV");
        assert_eq!(answer["rcode"], 0, "{answer}");
        assert_eq!(answer["answers"][0], "SRV 80 rng.demo.internal", "{answer}");
        let reverse: Vec<&str> = address.rsplit('.').collect();
        let reverse = format!("{}.in-addr.arpa", reverse.join("."));
        let answer = ask(&app, "a", transport, &reverse, "PTR");
        assert_eq!(answer["answers"][0], "PTR rng.demo.internal", "{answer}");
        let answer = ask(&app, "a", transport, "no-such.demo.internal", "A");
        assert_eq!(answer["rcode"], 3, "{answer}");
    }
}

/// In namespaces where the machine's only resolver is ours, which any user may make.
#[test]
fn other_names_are_asked_of_the_machines_resolvers() {
    if !has(&["python3", "ip"]) {
        return;
    }
    let app = App::of(&echoes(&["a"]));
    let roads = app.roads();
    let resolver = roads.write("resolver.py", RESOLVER);
    let configuration = roads.write("resolv.conf", "nameserver 127.0.0.1\n");
    let ask = roads.write("ask.py", ASK);
    let line = format!(
        "set -e
ip link set lo up
mount --bind {configuration} /etc/resolv.conf
mkfifo said
python3 {resolver} > said &
resolver=$!
read listens < said
{roads} up -d -f {file} >&2
for transport in udp tcp; do
  {roads} exec -T -p demo a python3 -c \"$(cat {ask})\" $transport outside.example A
done
{roads} down -p demo >&2
kill $resolver",
        configuration = configuration.display(),
        resolver = resolver.display(),
        roads = roads.binary().display(),
        file = app.file().display(),
        ask = ask.display(),
    );
    let mut unshare = roads.settled(Command::new("timeout"));
    unshare.args(["100", "unshare", "--net", "--mount"]);
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["sh", "-c", &line]);
    let outcome = roads.outcome(&mut unshare);
    assert!(outcome.status.success(), "{outcome:#?}");
    for line in outcome.stdout.lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&answer["rcode"], &answer["answers"][0]),
            (&0.into(), &"A 192.0.2.7".into())
        );
    }
    assert_eq!(outcome.stdout.lines().count(), 2, "{outcome:#?}");
}

#[test]
fn who_is_on_no_common_network_has_no_name_and_refuses() {
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"], networks: [front] }
  b: { image: host, command: roads coins echo, expose: [\"80\"], networks: [front, back] }
  c: { image: host, command: roads coins echo, expose: [\"80\"], networks: [back] }
networks: { front: {}, back: {} }
",
    );
    let status = |from: &str, url: &str| {
        app.sh(
            from,
            &format!("curl -s -o /dev/null -w '%{{http_code}}' {url}"),
        )
    };
    assert_eq!(status("a", "http://b/"), "200");
    assert_eq!(status("b", "http://c/"), "200");
    assert_eq!(status("c", "http://b/"), "200");
    for name in ["c", "c.demo", "c.demo.internal"] {
        let outcome = app.try_sh("a", &format!("getent hosts {name}"));
        assert!(!outcome.status.success(), "{name}: {outcome:#?}");
    }
    let address = app.service("c")["address"].as_str().unwrap().to_owned();
    let outcome = app.try_sh("a", &format!("curl -s -m 30 http://{address}/"));
    // 7: nobody accepts; 52 and 56: accepted by the ambassador, and closed without a byte.
    assert!(
        [7, 52, 56].contains(&outcome.status.code().unwrap()),
        "{outcome:#?}"
    );
    assert_eq!(app.service("c")["calls"], 1);
}

#[test]
fn two_services_that_listen_on_one_port_call_each_other() {
    let app = App::up(&echoes(&["a", "b"]));
    for (from, to) in [("a", "b"), ("b", "a"), ("a", "a")] {
        let answer = app.get(from, &format!("/call?url=http://{to}/hello"));
        assert_eq!(answer.status, 200, "{from} to {to}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["called"]["target"], "/hello", "{json:#}");
        assert_eq!(
            json["called"]["hostname"] == json["hostname"],
            from == to,
            "{json:#}"
        );
    }
}

#[test]
fn a_port_can_be_called_that_nobody_declared() {
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"] }
  b: { image: host, command: roads coins echo --port 80 --port 8123, expose: [\"80\"] }
",
    );
    let answer = app.get("a", "/call?url=http://b:8123/hello");
    assert_eq!(
        (answer.status, &answer.json()["called"]["target"]),
        (200, &"/hello".into())
    );
    // And one where nobody listens refuses, which is no hang.
    assert_ne!(app.get("a", "/call?url=http://b:8124/").status, 200);
}

#[test]
fn datagrams_are_answered() {
    if !has(&["python3"]) {
        return;
    }
    let app = App::up(
        "services:
  a: { image: host, command: roads coins echo, expose: [\"80\"] }
  u: { image: host, command: roads coins udp-echo --port 7, expose: [\"7/udp\"] }
",
    );
    let script = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(30)
s.connect(('u', 7))
for n in range(20):
    s.send(b'datagram %d' % n)
    assert s.recv(100) == b'datagram %d' % n
print('all')
";
    let printed = app.ok(&["exec", "-T", "a", "python3", "-c", script]);
    assert_eq!(printed.trim(), "all");
}

#[test]
fn a_server_may_speak_first() {
    let port = free_port();
    let app = App::up(&format!(
        "services:
  a: {{ image: host, command: roads coins echo, expose: [\"80\"] }}
  t:
    image: host
    command: roads coins tcp-echo --port 7 --banner welcome
    ports: [\"127.0.0.1:{port}:7\"]
",
    ));
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    talk(stream);
    if has(&["python3"]) {
        let script = "
import socket
s = socket.create_connection(('t', 7), 30)
print(s.makefile().readline().strip())
";
        assert_eq!(
            app.ok(&["exec", "-T", "a", "python3", "-c", script]).trim(),
            "welcome"
        );
    }
}

/// Reads the banner, sends and reads a line, closes one side and reads the end.
fn talk(stream: TcpStream) {
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "welcome\n");
    reader.get_mut().write_all(b"hello\n").unwrap();
    line.clear();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    reader.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}
