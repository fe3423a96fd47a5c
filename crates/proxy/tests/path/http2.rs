//! HTTP/2 between instances, and between it and HTTP/1.1.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response};
use model::Protocol;

use crate::bed::{Bed, PATIENCE, service, with_namespaces};
use crate::peer2::{
    Ends, answering, begin, call, connect, endpoint, get, reply, request, talk, text, until,
};
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
    for protocol in [Protocol::Http2, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let client = bed.instance("client", 1);
            let webs = [bed.instance("web", 1), bed.instance("web", 2)];
            let one = answering(&webs[0], WEB, "one");
            let two = answering(&webs[1], WEB, "two");
            bed.ready(&[&webs[0], &webs[1]]);
            let counts = talk(async {
                let send = connect(bed.call(&client, "web", WEB)).await;
                let mut counts = [0, 0];
                for _ in 0..60 {
                    let reply = get(&send, "/").await;
                    assert_eq!(reply.status, 200);
                    counts[usize::from(reply.body == "two")] += 1;
                }
                counts
            });
            assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
            // One connection to each carries them all; another was made to see who speaks first.
            let connections = [one.connections(), two.connections()].iter().sum::<usize>();
            assert_eq!(
                connections,
                if protocol == Protocol::Detect { 3 } else { 2 }
            );
            assert_eq!(bed.load("web").calls, 60);
            crate::bed::until("all have left", || bed.load("web").in_flight == 0);
        });
    }
}

#[test]
fn many_calls_at_once_share_few_connections() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = endpoint(&web, WEB, |mut called| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            called.answer("late", None);
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let mut calls = Vec::new();
            for _ in 0..90 {
                calls.push(begin(&send, request("GET", "/"), Ends::Yes).await.0);
            }
            for response in calls {
                assert_eq!(reply(response).await.unwrap().body, "late");
            }
        });
        assert_eq!(server.connections(), 1);
    });
}

#[test]
fn a_caller_of_http_2_is_understood_by_an_endpoint_of_http_1() {
    for protocol in [Protocol::Http1, Protocol::Detect] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
            let server = Server::start(&web, WEB, |server, stream| {
                let mut peer = Peer::new(stream);
                while let Some(request) = peer.receive() {
                    server.saw(request);
                    peer.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kept: 1\r\n\
                         Connection: x-dropped\r\nX-Dropped: 1\r\n\r\n\
                         3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
                    );
                }
            });
            bed.ready(&[&web]);
            talk(async {
                let send = connect(bed.call(&client, "web", WEB)).await;
                let mut post = request("POST", "/a?b=c");
                let headers = post.headers_mut();
                headers.append("cookie", HeaderValue::from_static("a=1"));
                headers.append("cookie", HeaderValue::from_static("b=2"));
                headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.7"));
                let reply = call(&send, post, "hello").await.unwrap();
                assert_eq!((reply.status.as_u16(), &*reply.body), (200, "abcde"));
                assert_eq!(reply.field("x-kept"), Some("1"));
                assert_eq!(reply.field("x-dropped"), None);
                assert_eq!(reply.trailers["x-sum"], "5");
                assert_eq!(get(&send, "/again").await.body, "abcde");
            });
            let mut requests = server.requests();
            // The preface, which it does not understand.
            requests.retain(|request| request.line.ends_with("HTTP/1.1"));
            let seen = &requests[0];
            assert_eq!(seen.line, "POST /a?b=c HTTP/1.1");
            assert_eq!(seen.field("host"), Some("web"));
            assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
            let path = format!("192.0.2.7, {}", bed.address("client"));
            assert_eq!(seen.field("x-forwarded-for"), Some(path.as_str()));
            assert_eq!(seen.field("traceparent").unwrap().len(), 55);
            assert_eq!(seen.body, "hello");
            assert_eq!(requests[1].line, "GET /again HTTP/1.1");
        });
    }
}

#[test]
fn a_caller_of_http_1_is_understood_by_an_endpoint_of_http_2() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        endpoint(&web, WEB, |mut called| async move {
            let headers = called.request.headers().clone();
            let authority = called.request.uri().authority().unwrap().to_string();
            let path = called.request.uri().path_and_query().unwrap().to_string();
            let body = text(called.request.body_mut()).await.unwrap();
            let sum = called.request.body_mut().trailers().await.unwrap();
            let sum = sum.map_or("none".to_owned(), |sum| format!("{:?}", sum["x-sum"]));
            let hop = ["connection", "x-secret"]
                .iter()
                .any(|name| headers.contains_key(*name));
            let by = headers["x-forwarded-for"].to_str().unwrap().to_owned();
            let trailers = HeaderMap::from_iter([(
                "x-checked".parse().unwrap(),
                HeaderValue::from_static("yes"),
            )]);
            let words = format!("{authority} {path} {body} {sum} {hop} {by}");
            called.answer(&words, Some(trailers));
        });
        bed.ready(&[&web]);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        let by = bed.address("client");
        let answer = peer.get("web", "/a?b");
        assert_eq!(answer.body, format!("web /a?b  none false {by}"));
        assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
        assert_eq!(peer.trailers, ["x-checked: yes"]);
        peer.send(
            "POST / HTTP/1.1\r\nHost: web\r\nConnection: x-secret\r\nX-Secret: 1\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        );
        peer.send("2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
        let answer = peer.receive().unwrap();
        assert_eq!(answer.body, format!("web / abcde \"5\" false {by}"));
        peer.send("POST /one HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
        let answer = peer.head().unwrap();
        assert_eq!(answer.field("connection"), Some("close"));
        assert_eq!(peer.rest(), format!("web /one abc none false {by}"));
    });
}

#[test]
fn a_call_is_held_until_the_service_is_awake_or_refused_in_its_own_words() {
    with_namespaces(|| {
        let mut web = service("web", WEB, Protocol::Http2);
        web.activation.hold.timeout = PATIENCE;
        let bed = Bed::new(vec![web, service("client", 1, Protocol::Tcp)]);
        let client = bed.instance("client", 1);
        let grpc = || {
            let mut call = request("POST", "/a.B/C");
            let kind = HeaderValue::from_static("application/grpc+proto");
            call.headers_mut().insert("content-type", kind);
            call
        };
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let (held, _) = begin(&send, request("GET", "/"), Ends::Yes).await;
            until("it is held", || bed.load("web").held == 1).await;
            // A call's own deadline is kept.
            let mut short = grpc();
            let soon = HeaderValue::from_static("50m");
            short.headers_mut().insert("grpc-timeout", soon);
            let late = call(&send, short, "").await.unwrap();
            assert_eq!(late.field("grpc-status"), Some("4"));
            let web = bed.instance("web", 1);
            answering(&web, WEB, "awake");
            bed.ready(&[&web]);
            assert_eq!(reply(held).await.unwrap().body, "awake");
            bed.refuse("it 100% cannot start");
            let refused = get(&send, "/").await;
            assert_eq!(refused.status, 503);
            assert!(refused.body.contains("it 100% cannot start"), "{refused:?}");
            let refused = call(&send, grpc(), "x").await.unwrap();
            assert_eq!(
                (refused.status.as_u16(), refused.field("grpc-status")),
                (200, Some("14"))
            );
            let message = refused.field("grpc-message").unwrap();
            assert!(message.contains("it 100%25 cannot start"), "{message}");
        });
    });
}

#[test]
fn bodies_stream_both_ways_at_once_and_trailers_follow() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        endpoint(&web, WEB, |mut called| async move {
            let mut out = called
                .respond
                .send_response(Response::new(()), false)
                .unwrap();
            let body = called.request.body_mut();
            while let Some(part) = body.data().await {
                let part = part.unwrap();
                body.flow_control().release_capacity(part.len()).unwrap();
                out.send_data(part, false).unwrap();
            }
            let trailers = body.trailers().await.unwrap().unwrap();
            out.send_trailers(trailers).unwrap();
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let (response, mut up) = begin(&send, request("POST", "/"), Ends::No).await;
            let mut down = response.await.unwrap().into_body();
            for number in 0..200 {
                let word = format!("{number};").repeat(500);
                up.send_data(Bytes::from(word.clone()), false).unwrap();
                let mut echo = Vec::new();
                while echo.len() < word.len() {
                    let part = down.data().await.unwrap().unwrap();
                    down.flow_control().release_capacity(part.len()).unwrap();
                    echo.extend_from_slice(&part);
                }
                assert_eq!(echo, word.as_bytes());
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("x-end", HeaderValue::from_static("7"));
            up.send_trailers(trailers).unwrap();
            assert!(down.data().await.is_none());
            assert_eq!(down.trailers().await.unwrap().unwrap()["x-end"], "7");
        });
    });
}

#[test]
fn a_caller_that_does_not_read_stops_its_endpoint_and_no_other_call() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        endpoint(&web, WEB, move |mut called| {
            let counted = Arc::clone(&counted);
            async move {
                if called.request.uri().path() != "/much" {
                    return called.answer("little", None);
                }
                let mut out = called
                    .respond
                    .send_response(Response::new(()), false)
                    .unwrap();
                loop {
                    out.reserve_capacity(16 * 1024);
                    match std::future::poll_fn(|context| out.poll_capacity(context)).await {
                        Some(Ok(room)) => {
                            counted.fetch_add(room, Ordering::SeqCst);
                            out.send_data(Bytes::from(vec![b'x'; room]), false).unwrap();
                        }
                        Some(Err(_)) | None => return,
                    }
                }
            }
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let much = begin(&send, request("GET", "/much"), Ends::Yes).await.0;
            let _unread = much.await.unwrap().into_body();
            let mut before = 0;
            // It goes on until every window between them is full.
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let now = sent.load(Ordering::SeqCst);
                if now == before && now > 0 {
                    break;
                }
                before = now;
            }
            assert!(before < 512 * 1024, "{before} bytes are under way");
            // Another caller's calls share the connection to the endpoint.
            let other = connect(bed.call(&client, "web", WEB)).await;
            assert_eq!(get(&other, "/").await.body, "little");
        });
    });
}

#[test]
fn what_one_side_gives_up_the_other_is_told_of() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        endpoint(&web, WEB, move |mut called| {
            let tell = Arc::clone(&tell);
            async move {
                if called.request.uri().path() == "/reset" {
                    return called.respond.send_reset(Reason::ENHANCE_YOUR_CALM);
                }
                let mut out = called
                    .respond
                    .send_response(Response::new(()), false)
                    .unwrap();
                let reset = std::future::poll_fn(|context| out.poll_reset(context)).await;
                *tell.lock().unwrap() = Some(reset.unwrap());
            }
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let error = call(&send, request("GET", "/reset"), "").await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
            let (response, mut up) = begin(&send, request("POST", "/stay"), Ends::No).await;
            drop(response.await.unwrap());
            up.send_reset(Reason::CANCEL);
            until("the endpoint was told", || told.lock().unwrap().is_some()).await;
            assert_eq!(*told.lock().unwrap(), Some(Reason::CANCEL));
            until("it has left", || bed.load("web").in_flight == 0).await;
        });
    });
}

#[test]
fn a_call_that_was_not_taken_is_sent_elsewhere_whatever_it_is() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let client = bed.instance("client", 1);
        let webs = [bed.instance("web", 1), bed.instance("web", 2)];
        let refusing = endpoint(&webs[0], WEB, |mut called| async move {
            called.respond.send_reset(Reason::REFUSED_STREAM);
        });
        endpoint(&webs[1], WEB, |mut called| async move {
            let body = text(called.request.body_mut()).await.unwrap();
            called.answer(&body, None);
        });
        bed.ready(&[&webs[0], &webs[1]]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            for _ in 0..30 {
                let reply = call(&send, request("POST", "/"), "once").await.unwrap();
                assert_eq!(reply.body, "once");
            }
        });
        assert!(refusing.connections() > 0);
        let mut peer = Peer::new(bed.call(&client, "web", WEB));
        for _ in 0..10 {
            peer.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nonce");
            assert_eq!(peer.receive().unwrap().body, "once");
        }
    });
}

#[test]
fn an_endpoint_that_dies_costs_an_idempotent_call_nothing_and_another_an_answer_of_ours() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let client = bed.instance("client", 1);
        let webs = [bed.instance("web", 1), bed.instance("web", 2)];
        Server::start(&webs[0], WEB, |server, stream| {
            talk(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                // Gone with its first call.
                drop(connection.accept().await);
            });
            server.forget();
        });
        answering(&webs[1], WEB, "alive");
        bed.ready(&[&webs[0], &webs[1]]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            let mut failed = 0;
            while failed == 0 {
                let reply = call(&send, request("POST", "/"), "x").await.unwrap();
                if reply.status == 502 {
                    failed += 1;
                    assert!(reply.body.contains("without an answer"), "{reply:?}");
                }
            }
            for _ in 0..30 {
                assert_eq!(get(&send, "/").await.body, "alive");
            }
        });
    });
}

#[test]
fn an_endpoint_that_says_farewell_is_called_on_another_connection() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = Server::start(&web, WEB, |_, stream| {
            talk(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut served = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream
                        .send_data(Bytes::from_static(b"hello"), true)
                        .unwrap();
                    served += 1;
                    if served == 5 {
                        connection.graceful_shutdown();
                    }
                }
            });
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            for _ in 0..23 {
                server.forget();
                let reply = call(&send, request("POST", "/"), "x").await.unwrap();
                assert_eq!((reply.status.as_u16(), &*reply.body), (200, "hello"));
            }
        });
        assert!(server.connections() >= 4, "{}", server.connections());
    });
}

#[test]
fn a_channel_goes_with_its_endpoint() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let closed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&closed);
        Server::start(&web, WEB, move |server, stream| {
            talk(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
            server.forget();
            count.fetch_add(1, Ordering::SeqCst);
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            assert_eq!(get(&send, "/").await.status, 200);
            bed.ready(&[]);
            until("the channel is closed", || {
                closed.load(Ordering::SeqCst) == 1
            })
            .await;
        });
    });
}

#[test]
fn a_shutdown_lets_calls_in_flight_end_and_sends_callers_elsewhere() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let web = bed.instance("web", 1);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        endpoint(&web, WEB, move |mut called| {
            let gone = Arc::clone(&gone);
            async move {
                let wait = move || gone.lock().unwrap().recv_timeout(PATIENCE);
                tokio::task::spawn_blocking(wait).await.unwrap().unwrap();
                called.answer("last", None);
            }
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.ingress()).await;
            let mut call = request("GET", "/");
            *call.uri_mut() = "http://web.app.localhost/".parse().unwrap();
            let (response, _) = begin(&send, call, Ends::Yes).await;
            until("the call is in flight", || bed.load("web").in_flight == 1).await;
            let answered = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                go.send(()).unwrap();
                reply(response).await.unwrap().body
            };
            let ((), body) = tokio::join!(bed.proxy.shutdown(PATIENCE), answered);
            assert_eq!(body, "last");
            assert!(send.ready().await.is_err());
        });
    });
}

#[test]
fn a_request_whose_authority_is_in_doubt_reaches_no_endpoint() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let server = answering(&web, WEB, "no");
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            for hosts in [&["other"][..], &["web", "web"], &["a b"]] {
                let mut doubtful = request("GET", "/");
                for host in hosts {
                    doubtful
                        .headers_mut()
                        .append("host", HeaderValue::from_static(host));
                }
                assert_eq!(
                    call(&send, doubtful, "").await.unwrap().status,
                    400,
                    "{hosts:?}"
                );
            }
            let mut lookalike = request("GET", "/");
            let value = HeaderValue::from_static("5");
            lookalike.headers_mut().insert("content_length", value);
            assert_eq!(call(&send, lookalike, "").await.unwrap().status, 400);
        });
        assert_eq!(server.connections(), 0);
    });
}

#[test]
fn a_websocket_over_http_2_reaches_endpoints_of_both_protocols() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        with_namespaces(|| {
            let bed = bed(protocol);
            let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
            let _server = match protocol {
                Protocol::Http2 => endpoint(&web, WEB, |mut called| async move {
                    let protocol = called.request.extensions().get::<h2::ext::Protocol>();
                    assert_eq!(protocol.unwrap().as_str(), "websocket");
                    let mut out = called
                        .respond
                        .send_response(Response::new(()), false)
                        .unwrap();
                    let said = text(called.request.body_mut()).await.unwrap();
                    out.send_data(Bytes::from(said.to_uppercase()), true)
                        .unwrap();
                }),
                Protocol::Detect | Protocol::Http1 | Protocol::Tcp => {
                    Server::start(&web, WEB, |server, stream| {
                        let mut peer = Peer::new(stream);
                        server.saw(peer.receive().unwrap());
                        peer.send(
                            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                             Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
                        );
                        let said = peer.rest();
                        peer.send(&said.to_uppercase());
                        server.cut();
                    })
                }
            };
            bed.ready(&[&web]);
            talk(async {
                let send = connect(bed.call(&client, "web", WEB)).await;
                until("the proxy says that it may be asked for one", || {
                    send.is_extended_connect_protocol_enabled()
                })
                .await;
                let mut ask = request("CONNECT", "/chat");
                ask.extensions_mut()
                    .insert(h2::ext::Protocol::from_static("websocket"));
                let (response, mut up) = begin(&send, ask, Ends::No).await;
                let response = response.await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.headers().get("sec-websocket-accept"), None);
                up.send_data(Bytes::from_static(b"hello"), true).unwrap();
                assert_eq!(text(&mut response.into_body()).await.unwrap(), "HELLO");
            });
        });
    }
}

#[test]
fn an_endpoint_that_greets_first_is_called_call_by_call() {
    with_namespaces(|| {
        let bed = bed(Protocol::Detect);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        let greeted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&greeted);
        Server::start(&web, WEB, move |server, mut stream| {
            if server.connections() == 1 {
                // As the gRPC of others does; it is not spoken to on this connection.
                stream.write_all(b"\0\0\0\x04\0\0\0\0\0").unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                return;
            }
            talk(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            });
        });
        bed.ready(&[&web]);
        talk(async {
            let stream = bed.call(&client, "web", WEB);
            until("the endpoint has spoken", || {
                greeted.load(Ordering::SeqCst) == 1
            })
            .await;
            let send = connect(stream).await;
            for _ in 0..10 {
                assert_eq!(get(&send, "/").await.status, 200);
            }
            assert_eq!(
                (bed.load("web").calls, bed.load("web").connections),
                (10, 0)
            );
        });
    });
}

#[test]
fn who_leaves_in_the_middle_of_answers_is_no_enemy() {
    with_namespaces(|| {
        let bed = bed(Protocol::Http2);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        endpoint(&web, WEB, |mut called| async move {
            let mut out = called
                .respond
                .send_response(Response::new(()), false)
                .unwrap();
            // An answer without an end.
            let _ = std::future::poll_fn(|context| out.poll_reset(context)).await;
        });
        bed.ready(&[&web]);
        talk(async {
            let send = connect(bed.call(&client, "web", WEB)).await;
            for _ in 0..500 {
                let (response, _) = begin(&send, request("GET", "/"), Ends::Yes).await;
                drop(response.await.unwrap());
            }
        });
    });
}
