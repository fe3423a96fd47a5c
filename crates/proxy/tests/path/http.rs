//! HTTP/1.1 between instances, call by call.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Protocol;

use crate::bed::{Bed, service, until, with_namespaces};
use crate::server::Server;
use crate::wire::Peer;

const WEB: u16 = 80;

/// `web`, which speaks `protocol`, and `client`.
fn bed(protocol: Protocol) -> Bed {
    Bed::new(vec![
        service("web", WEB, protocol),
        service("client", 1, Protocol::Tcp),
    ])
}

#[test]
fn every_call_on_one_connection_finds_its_own_endpoint() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let client = bed.instance("client", 1);
            let (one, two) = (bed.instance("web", 1), bed.instance("web", 2));
            let servers = [&one, &two].map(|web| Server::answering(web, WEB, "hello"));
            bed.ready(&[&one, &two]);
            let mut peer = Peer::new(bed.call(&client, "web", WEB));
            for _ in 0..60 {
                let answer = peer.get("web", "/");
                assert_eq!((answer.status(), answer.body.as_str()), (200, "hello"));
            }
            for server in servers {
                assert!(!server.requests().is_empty());
                // Connections to endpoints are kept alive; each worker has its own.
                assert!(server.connections() <= 2, "{}", server.connections());
            }
            assert_eq!(bed.load("web").calls, 60);
            assert_eq!(bed.load("web").connections, 0);
            until("the last call has left", || bed.load("web").in_flight == 0);
        });
    }
}

#[test]
fn hop_by_hop_fields_end_here_and_the_caller_is_named() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = Server::answering(&web, WEB, "");
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send(
            "GET /a?b HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, X-Secret\r\n\
             X-Secret: 1\r\nKeep-Alive: 5\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
        );
        assert_eq!(peer.receive().unwrap().status(), 200);
        let seen = &server.requests()[0];
        assert_eq!(seen.line, "GET /a?b HTTP/1.1");
        for gone in ["connection", "x-secret", "keep-alive"] {
            assert_eq!(seen.field(gone), None);
        }
        let caller = bed.address("client");
        let path = format!("192.0.2.7, {caller}");
        assert_eq!(seen.field("x-forwarded-for"), Some(path.as_str()));
        assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
        assert_eq!(seen.field("x-forwarded-host"), Some("web"));
        assert_eq!(seen.field("traceparent").unwrap().len(), 55);
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        peer.send(&format!(
            "GET / HTTP/1.1\r\nHost: web\r\ntraceparent: {trace}\r\n\r\n"
        ));
        assert_eq!(peer.receive().unwrap().status(), 200);
        assert_eq!(server.requests()[1].field("traceparent"), Some(trace));
    });
}

#[test]
fn a_smuggled_request_reaches_no_endpoint() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = Server::answering(&web, WEB, "");
        bed.ready(&[&web]);
        for body in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n\r\nGET /",
            "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ] {
            let mut peer = Peer::new(bed.call(&client, "web", WEB));
            peer.send(&format!("POST / HTTP/1.1\r\nHost: web\r\n{body}"));
            let answer = peer.receive().unwrap();
            assert_eq!(answer.status(), 400, "{body}");
            assert!(!answer.body.is_empty());
            assert!(peer.receive().is_none());
        }
        assert_eq!(server.requests().len(), 0);
    });
}

#[test]
fn an_endpoint_that_dies_costs_no_idempotent_call() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let client = bed.instance("client", 1);
        let (alive, dying) = (bed.instance("web", 1), bed.instance("web", 2));
        Server::answering(&alive, WEB, "alive");
        let dead = Server::dying(&dying, WEB);
        bed.ready(&[&alive, &dying]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        for call in 0..40 {
            let request = match call % 2 {
                0 => "GET / HTTP/1.1\r\nHost: web\r\n\r\n",
                _ => "PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc",
            };
            peer.send(request);
            assert_eq!(peer.receive().unwrap().body, "alive");
        }
        let tried = dead.requests();
        assert!(!tried.is_empty());
        // It is soon left out.
        assert!(tried.len() <= 5, "{}", tried.len());
        assert!(
            tried
                .iter()
                .all(|request| request.line.starts_with("GET") || request.body == "abc")
        );
    });
}

#[test]
fn instances_killed_under_load_fail_no_idempotent_call() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let client = bed.instance("client", 1);
        let mut current = bed.instance("web", 1);
        let mut server = Server::answering(&current, WEB, "alive");
        bed.ready(&[&current]);
        let ended = AtomicBool::new(false);
        let caller = || {
            let mut peer = Peer::new(bed.call(&client, "web", WEB));
            let mut calls = 0;
            while !ended.load(Ordering::SeqCst) {
                assert_eq!(peer.get("web", "/").body, "alive");
                calls += 1;
            }
            calls
        };
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(caller)).collect();
            for number in 2..12 {
                let calls = bed.load("web").calls;
                until("calls are made", || bed.load("web").calls > calls + 20);
                server.kill();
                // Its end is noticed a moment later, and another one is started.
                let next = bed.instance("web", number);
                current.endpoint.close();
                bed.ready(&[]);
                server = Server::answering(&next, WEB, "alive");
                bed.ready(&[&next]);
                current = next;
            }
            ended.store(true, Ordering::SeqCst);
            let calls = callers.into_iter().map(|caller| caller.join().unwrap());
            assert!(calls.sum::<u32>() > 200);
        });
    });
}

#[test]
fn a_call_is_held_until_its_only_endpoint_is_replaced() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let client = bed.instance("client", 1);
        let (dying, next) = (bed.instance("web", 1), bed.instance("web", 2));
        let dead = Server::dying(&dying, WEB);
        Server::answering(&next, WEB, "next");
        bed.ready(&[&dying]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_eq!(bed.woken().as_str(), "web");
        assert_eq!(dead.requests().len(), 1);
        bed.ready(&[&next]);
        assert_eq!(peer.receive().unwrap().body, "next");
    });
}

#[test]
fn an_endpoint_that_stays_but_never_answers_is_told_of() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = Server::dying(&web, WEB);
        bed.ready(&[&web]);
        let answer = Peer::new(bed.call(&client, "web", WEB)).get("web", "/");
        assert_eq!(answer.status(), 502);
        assert!(
            answer.body.contains("web-1 ended the connection"),
            "{}",
            answer.body
        );
        assert_eq!(server.requests().len(), 4);
    });
}

#[test]
fn a_post_is_never_sent_twice() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let client = bed.instance("client", 1);
        let instances = [bed.instance("web", 1), bed.instance("web", 2)];
        let servers = [0, 1].map(|at| Server::dying(&instances[at], WEB));
        bed.ready(&[&instances[0], &instances[1]]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(peer.receive().unwrap().status(), 502);
        let seen: usize = servers.iter().map(|server| server.requests().len()).sum();
        assert_eq!(seen, 1);
        // The caller's connection goes on.
        peer.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nho");
        assert_eq!(peer.receive().unwrap().status(), 502);
    });
}

#[test]
fn a_post_goes_elsewhere_while_nothing_of_it_was_sent() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let client = bed.instance("client", 1);
        let (deaf, web) = (bed.instance("web", 1), bed.instance("web", 2));
        Server::answering(&web, WEB, "done");
        bed.ready(&[&deaf, &web]);
        deaf.endpoint.close();
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        for _ in 0..20 {
            peer.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi");
            assert_eq!(peer.receive().unwrap().body, "done");
        }
    });
}

#[test]
fn a_caller_that_waits_for_100_gets_it_from_the_endpoint() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            while let Some(head) = peer.head() {
                assert_eq!(head.field("expect"), Some("100-continue"));
                peer.send("HTTP/1.1 100 Continue\r\n\r\n");
                let body = peer.bytes(5).unwrap();
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"
                ));
            }
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        for body in ["first", "other"] {
            peer.send(
                "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            );
            assert_eq!(peer.head().unwrap().status(), 100);
            peer.send(body);
            assert_eq!(peer.receive().unwrap().body, body);
        }
    });
}

#[test]
fn an_answer_may_come_before_its_request_is_whole() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            peer.head().unwrap();
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while let Some(chunk) = peer.chunk() {
                peer.send(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
            }
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(peer.head().unwrap().status(), 200);
        for word in ["one", "two", "three", ""] {
            peer.send(&format!("{:x}\r\n{word}\r\n", word.len()));
            assert_eq!(peer.chunk().unwrap(), word);
        }
    });
}

#[test]
fn an_early_refusal_is_heard_by_a_caller_that_still_sends() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            peer.head().unwrap();
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
            peer.rest();
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\nbegin");
        let answer = peer.receive().unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.field("connection"), Some("close"));
        peer.send(&"x".repeat(10_000));
        assert_eq!(peer.rest(), "");
    });
}

#[test]
fn calls_sent_at_once_are_answered_in_order() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.receive() {
                let echo = format!("{} {}", request.line, request.body);
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{echo}",
                    echo.len()
                ));
            }
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send(
            "GET /1 HTTP/1.1\r\nHost: web\r\n\r\n\
             PUT /2 HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc\
             POST /3 HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
             GET /4 HTTP/1.1\r\nHost: web\r\n\r\n",
        );
        for echo in [
            "GET /1 HTTP/1.1 ",
            "PUT /2 HTTP/1.1 abc",
            "POST /3 HTTP/1.1 de",
            "GET /4 HTTP/1.1 ",
        ] {
            assert_eq!(peer.receive().unwrap().body, echo);
        }
    });
}

#[test]
fn a_caller_that_has_only_ended_its_sending_side_is_answered() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
            Server::answering(&web, WEB, "heard");
            let mut peer = Peer::new(bed.call(&client, "web", WEB));
            peer.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
            peer.stream.get_ref().shutdown(Shutdown::Write).unwrap();
            bed.woken();
            bed.ready(&[&web]);
            assert_eq!(peer.receive().unwrap().body, "heard");
            assert_eq!(peer.rest(), "");
        });
    }
}

#[test]
fn large_bodies_pass_both_ways_whole() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.receive() {
                let body = request.body;
                peer.send(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ));
                peer.send(&body);
            }
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        let body: String = (0..300_000)
            .map(|n| char::from(b'a' + (n % 26) as u8))
            .collect();
        let mut sending = peer.stream.get_ref().try_clone().unwrap();
        for _ in 0..3 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let length = body.len();
                    let head =
                        format!("PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: {length}\r\n\r\n");
                    sending.write_all(head.as_bytes()).unwrap();
                    sending.write_all(body.as_bytes()).unwrap();
                });
                assert!(peer.receive().unwrap().body == body);
            });
        }
    });
}

#[test]
fn an_upgrade_becomes_a_relay_that_keeps_the_service_awake() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |server, stream| {
            server.forget();
            let mut peer = Peer::new(stream);
            let head = peer.head().unwrap();
            assert_eq!(head.field("upgrade"), Some("echo"));
            assert_eq!(head.field("connection"), Some("upgrade"));
            peer.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nhello ");
            let word = peer.bytes(4).unwrap();
            peer.send(&word);
            assert_eq!(peer.rest(), "");
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send(
            "GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nping",
        );
        assert_eq!(peer.head().unwrap().status(), 101);
        assert_eq!(peer.bytes(10).unwrap(), "hello ping");
        assert_eq!(bed.load("web").connections, 1);
        peer.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        until("the relay has ended", || bed.load("web").connections == 0);
        assert_eq!(bed.load("web").in_flight, 0);
    });
}

#[test]
fn a_caller_of_http_1_0_gets_no_chunks_and_an_end() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            let head = peer.head().unwrap();
            assert!(head.line.ends_with("HTTP/1.1"));
            assert_eq!(head.field("host"), Some("web"));
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            peer.send("3\r\ntwo\r\n0\r\n\r\n");
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("GET / HTTP/1.0\r\n\r\n");
        let head = peer.head().unwrap();
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(peer.rest(), "onetwo");
    });
}

#[test]
fn half_an_answer_is_never_taken_for_a_whole_one() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            peer.head().unwrap();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            peer.stream.get_ref().shutdown(Shutdown::Both).unwrap();
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        peer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_eq!(peer.head().map(|head| head.status()), Some(200));
        let mut rest = Vec::new();
        let ended = peer.stream.read_to_end(&mut rest);
        assert!(ended.is_err() && rest.len() <= 4, "{ended:?} {rest:?}");
    });
}

#[test]
fn an_answer_that_is_none_is_a_502_in_words() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        Server::start(&web, WEB, |_, stream| {
            let mut peer = Peer::new(stream);
            peer.head().unwrap();
            peer.send("+PONG\r\n\r\n");
            peer.rest();
        });
        bed.ready(&[&web]);
        let answer = Peer::new(bed.call(&client, "web", WEB)).get("web", "/");
        assert_eq!(answer.status(), 502);
        assert!(answer.body.contains("web-1"), "{}", answer.body);
    });
}

#[test]
fn an_idle_connection_is_closed_when_its_instance_leaves_the_snapshot() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let (ended, has_ended) = std::sync::mpsc::channel();
        let server = Server::start(&web, WEB, move |server, stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.receive() {
                server.saw(request);
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            // Later connections may end after the test has.
            let _ = ended.send(());
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        assert_eq!(peer.get("web", "/").status(), 200);
        assert_eq!(peer.get("web", "/").status(), 200);
        assert_eq!(server.connections(), 1);
        web.endpoint.close();
        bed.ready(&[]);
        has_ended.recv_timeout(crate::bed::PATIENCE).unwrap();
        // The caller's connection is another matter.
        peer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_eq!(bed.woken().as_str(), "web");
        web.endpoint.open();
        bed.ready(&[&web]);
        assert_eq!(peer.receive().unwrap().status(), 200);
        assert_eq!(server.connections(), 2);
    });
}

#[test]
fn a_connection_that_the_endpoint_has_closed_fails_no_call() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = Server::answering(&web, WEB, "still here");
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        for _ in 0..20 {
            assert_eq!(peer.get("web", "/").body, "still here");
            server.cut();
        }
    });
}

#[test]
fn calls_that_all_fail_are_not_sent_again_without_end() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http1);
        let client = bed.instance("client", 1);
        let webs = [1, 2, 3, 4, 5, 6].map(|number| bed.instance("web", number));
        let servers = webs.each_ref().map(|web| Server::dying(web, WEB));
        bed.ready(&webs.each_ref());
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        let mut begun = None;
        for _ in 0..300 {
            assert_eq!(peer.get("web", "/").status(), 502);
            begun.get_or_insert_with(std::time::Instant::now);
        }
        let tries: usize = servers.iter().map(|server| server.requests().len()).sum();
        // A fifth of the calls, what is saved, and ten a second.
        let seconds = begun.unwrap().elapsed().as_secs() as usize + 2;
        let most = 300 + 60 + 100 + 10 * seconds;
        assert!((400..=most).contains(&tries), "{tries} tries");
    });
}
