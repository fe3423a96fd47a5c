//! Calls to a service that is asleep.

use std::io::{Read, Write};
use std::time::Duration;

use model::{Protocol, ServiceSpec};

use crate::bed::{Bed, PATIENCE, service, until, with_namespaces};
use crate::server::Server;
use crate::wire::Peer;

const WEB: u16 = 80;

fn bed(web: ServiceSpec) -> Bed {
    Bed::new(vec![web, service("client", 1, Protocol::Tcp)])
}

fn web(protocol: Protocol, requests_max: u32, timeout: Duration) -> ServiceSpec {
    let mut web = service("web", WEB, protocol);
    web.activation.hold.requests_max = requests_max;
    web.activation.hold.timeout = timeout;
    web
}

#[test]
fn a_first_call_is_held_and_goes_on_when_the_service_is_ready() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(web(protocol, 100, PATIENCE));
            let client = bed.instance("client", 1);
            let mut peers: Vec<_> = (0..20)
                .map(|_| Peer::new(bed.call(&client, "web", WEB)))
                .collect();
            for peer in &mut peers {
                peer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
            }
            assert_eq!(bed.woken().as_str(), "web");
            until("all are held", || bed.load("web").held == 20);
            assert_eq!(bed.load("web").wanted_port, Some(WEB));
            let web = bed.instance("web", 1);
            Server::answering(&web, WEB, "awake");
            bed.ready(&[&web]);
            for peer in &mut peers {
                assert_eq!(peer.receive().unwrap().body, "awake");
            }
            until("nothing is held", || bed.load("web").held == 0);
        });
    }
}

#[test]
fn a_plain_connection_is_held_too_and_loses_no_byte() {
    with_namespaces(|| {
        let bed = bed(web(Protocol::Tcp, 100, PATIENCE));
        let client = bed.instance("client", 1);
        let mut stream = bed.call(&client, "web", WEB);
        stream.write_all(b"early").unwrap();
        bed.woken();
        let web = bed.instance("web", 1);
        Server::start(&web, WEB, |_, mut stream| {
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        });
        bed.ready(&[&web]);
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"early");
    });
}

#[test]
fn a_call_beyond_the_bound_is_refused_at_once_in_words() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(web(protocol, 1, PATIENCE));
            let client = bed.instance("client", 1);
            let mut held = Peer::new(bed.call(&client, "web", WEB));
            held.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
            bed.woken();
            let mut refused = Peer::new(bed.call(&client, "web", WEB));
            let answer = refused.get("web", "/");
            assert_eq!(answer.status(), 503);
            assert!(answer.field("retry-after").is_some());
            assert!(
                answer.body.contains("no more calls can be held"),
                "{}",
                answer.body
            );
            let web = bed.instance("web", 1);
            Server::answering(&web, WEB, "awake");
            bed.ready(&[&web]);
            assert_eq!(held.receive().unwrap().body, "awake");
            assert_eq!(refused.get("web", "/").body, "awake");
        });
    }
}

#[test]
fn a_hold_ends_at_its_deadline_with_a_reason() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(web(protocol, 10, Duration::from_millis(50)));
            let client = bed.instance("client", 1);
            let answer = Peer::new(bed.call(&client, "web", WEB)).get("web", "/");
            assert_eq!(answer.status(), 503);
            assert!(answer.field("retry-after").is_some());
            assert!(
                answer.body.contains("did not become ready within 0.05 s"),
                "{}",
                answer.body
            );
            assert_eq!(bed.load("web").held, 0);
        });
    }
}

#[test]
fn a_plain_connection_is_reset_at_the_deadline() {
    with_namespaces(|| {
        let bed = bed(web(Protocol::Tcp, 10, Duration::from_millis(50)));
        let client = bed.instance("client", 1);
        let mut stream = bed.call(&client, "web", WEB);
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_service_that_will_not_come_refuses_at_once_with_its_reason() {
    with_namespaces(|| {
        let bed = bed(web(Protocol::Detect, 10, PATIENCE));
        let client = bed.instance("client", 1);
        let mut held = Peer::new(bed.call(&client, "web", WEB));
        held.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        bed.woken();
        bed.refuse("its program ended with code 3");
        for answer in [
            held.receive().unwrap(),
            Peer::new(bed.call(&client, "web", WEB)).get("web", "/"),
        ] {
            assert_eq!(answer.status(), 503);
            assert!(
                answer.body.contains("its program ended with code 3"),
                "{}",
                answer.body
            );
        }
    });
}

#[test]
fn a_caller_that_goes_away_while_held_is_held_no_longer() {
    for (protocol, says) in [
        (
            Protocol::Http1,
            "GET / HTTP/1.1\r\nHost: web\r\n\r\nmore that nobody reads",
        ),
        (Protocol::Detect, ""),
        (Protocol::Tcp, "bytes that nobody reads"),
    ] {
        with_namespaces(|| {
            let bed = bed(web(protocol, 10, PATIENCE));
            let client = bed.instance("client", 1);
            let mut stream = bed.call(&client, "web", WEB);
            stream.write_all(says.as_bytes()).unwrap();
            bed.woken();
            assert_eq!(bed.load("web").held, 1);
            drop(stream);
            until("the hold has ended", || bed.load("web").held == 0);
        });
    }
}

#[test]
fn a_ready_instance_may_begin_to_listen_a_little_later() {
    with_namespaces(|| {
        let bed = bed(web(Protocol::Detect, 10, PATIENCE));
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        bed.ready(&[&web]);
        for port in [WEB, 4321] {
            let mut peer = Peer::new(bed.call(&client, "web", port));
            peer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
            until("the call has entered", || bed.load("web").in_flight == 1);
            Server::answering(&web, port, "now");
            assert_eq!(peer.receive().unwrap().body, "now");
            drop(peer);
            until("the call has left", || bed.load("web").in_flight == 0);
        }
    });
}

#[test]
fn a_port_on_which_nothing_listens_is_named() {
    with_namespaces(|| {
        let bed = bed(web(Protocol::Detect, 10, Duration::from_millis(50)));
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        bed.ready(&[&web]);
        let answer = Peer::new(bed.call(&client, "web", 4321)).get("web", "/");
        assert_eq!(answer.status(), 502);
        assert!(
            answer.body.contains("web-1 does not listen on port 4321"),
            "{}",
            answer.body
        );
    });
}
