//! Callers of HTTP/2 that mean no good: each is refused or ended, and costs nobody else anything.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use model::Protocol;

use crate::bed::{Bed, Instance, service, until, with_namespaces};
use crate::peer2::{answering, connect, endpoint, get, talk};
use crate::server::Server;

const WEB: u16 = 80;

/// Frame types (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Error codes (§7).
const FLOW_CONTROL_ERROR: u8 = 3;
const REFUSED_STREAM: u8 = 7;
const ENHANCE_YOUR_CALM: u8 = 11;

/// `GET http://web/`, by the static table of HPACK.
const GET: &[u8] = b"\x82\x86\x84\x41\x03web";
const POST: &[u8] = b"\x83\x86\x84\x41\x03web";

/// More than any of our bounds.
const FLOOD_BYTES: usize = 64 * 1024 * 1024;

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A connection on which any frame can be said.
struct Raw(TcpStream);

impl Raw {
    fn new(mut stream: TcpStream) -> Self {
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut raw = Self(stream);
        raw.send(SETTINGS, 0, 0, b"").unwrap();
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(&frame(kind, flags, stream, payload))
    }

    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame {
            kind: head[3],
            stream,
            payload,
        })
    }

    /// Reads to the end, and returns the code of the last farewell.
    fn farewell(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some(frame) = self.read() {
            if frame.kind == GOAWAY {
                code = Some(frame.payload[7]);
            }
        }
        code
    }

    /// Says the same again and again without listening, until that is ended or waited with; returns
    /// how many bytes went.
    fn flood(&mut self, frames: &[u8]) -> usize {
        self.0
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut sent = 0;
        while sent < FLOOD_BYTES {
            match self.0.write(frames) {
                Ok(count) => sent += count,
                Err(error) => {
                    let ended = matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
                    );
                    assert!(ended, "{error}");
                    break;
                }
            }
        }
        sent
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// `web`, which answers, and a caller; afterwards an honest caller is answered still.
fn with_web(protocol: Protocol, hostile: impl FnOnce(&Bed, &Instance, &Server)) {
    let bed = Bed::new(vec![
        service("web", WEB, protocol),
        service("client", 1, Protocol::Tcp),
    ]);
    let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
    let server = match protocol {
        Protocol::Http2 => answering(&web, WEB, "hello"),
        Protocol::Detect | Protocol::Http1 | Protocol::Tcp => Server::answering(&web, WEB, "hello"),
    };
    bed.ready(&[&web]);
    hostile(&bed, &client, &server);
    talk(async {
        let send = connect(bed.call(&client, "web", WEB)).await;
        assert_eq!(get(&send, "/").await.body, "hello");
    });
    until("every call has left", || bed.load("web").in_flight == 0);
}

#[test]
fn who_gives_up_call_after_call_is_sent_away() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        with_namespaces(|| {
            with_web(protocol, |bed, client, _| {
                let mut raw = Raw::new(bed.call(client, "web", WEB));
                let mut writer = Raw(raw.0.try_clone().unwrap());
                let flooding = std::thread::spawn(move || {
                    let mut sent = 0;
                    for stream in (1..40_000).step_by(2) {
                        let mut call = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
                        call.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                        if writer.0.write_all(&call).is_err() {
                            break;
                        }
                        sent += 1;
                    }
                    sent
                });
                assert_eq!(raw.farewell(), Some(ENHANCE_YOUR_CALM));
                drop(raw);
                assert!(flooding.join().unwrap() < 20_000);
                assert!(bed.load("web").calls < 2_000, "{:?}", bed.load("web"));
            });
        });
    }
}

#[test]
fn a_head_without_an_end_is_cut_off() {
    with_namespaces(|| {
        with_web(Protocol::Http1, |bed, client, server| {
            let mut raw = Raw::new(bed.call(client, "web", WEB));
            raw.send(HEADERS, END_STREAM, 1, GET).unwrap();
            // A literal field without indexing, over and over.
            let field = b"\x00\x01a\x01b".repeat(3000);
            let sent = raw.flood(&frame(CONTINUATION, 0, 1, &field));
            assert!(sent < FLOOD_BYTES, "{sent} bytes were taken");
            assert!(server.requests().is_empty());
        });
    });
}

#[test]
fn a_head_that_is_too_long_is_refused_alone() {
    with_namespaces(|| {
        with_web(Protocol::Http1, |bed, client, server| {
            let mut raw = Raw::new(bed.call(client, "web", WEB));
            let mut head = GET.to_vec();
            for _ in 0..70 {
                // A literal field of 1,000 bytes: 127 and 873 more, in HPACK's integers.
                head.extend_from_slice(b"\x00\x01a\x7f\xe9\x06");
                head.extend_from_slice(&[b'b'; 1000]);
            }
            for (at, part) in head.chunks(16_000).enumerate() {
                let kind = if at == 0 { HEADERS } else { CONTINUATION };
                let begin = if at == 0 { END_STREAM } else { 0 };
                let ends = if (at + 1) * 16_000 >= head.len() {
                    END_HEADERS
                } else {
                    0
                };
                raw.send(kind, begin | ends, 1, part).unwrap();
            }
            let refused = loop {
                let frame = raw.read().unwrap();
                if frame.stream == 1 {
                    break frame;
                }
            };
            // `:status` of the static table, and 431 in HPACK's Huffman code.
            assert_eq!(refused.kind, HEADERS);
            assert_eq!(refused.payload[..4], [0x48, 0x83, 0x69, 0x90]);
            assert!(server.requests().is_empty());
            raw.send(HEADERS, END_HEADERS | END_STREAM, 3, GET).unwrap();
            while raw.read().unwrap().stream != 3 {}
        });
    });
}

#[test]
fn no_more_calls_at_once_are_taken_than_allowed() {
    with_namespaces(|| {
        let bed = Bed::new(vec![
            service("web", WEB, Protocol::Http2),
            service("client", 1, Protocol::Tcp),
        ]);
        let (client, web) = (bed.instance("client", 1), bed.instance("web", 1));
        endpoint(&web, WEB, |mut called| async move {
            let body = called.request.body_mut();
            // Until the caller ends.
            while let Some(Ok(_)) = body.data().await {}
            called.answer("late", None);
        });
        bed.ready(&[&web]);
        let mut raw = Raw::new(bed.call(&client, "web", WEB));
        for call in 0..200 {
            raw.send(HEADERS, END_HEADERS, 2 * call + 1, POST).unwrap();
        }
        let mut refused = 0;
        while refused < 200 - 128 {
            let frame = raw.read().unwrap();
            if frame.kind == RST_STREAM {
                assert_eq!(frame.payload, [0, 0, 0, REFUSED_STREAM]);
                refused += 1;
            }
        }
        raw.send(DATA, END_STREAM, 1, b"").unwrap();
        while raw.read().unwrap().stream != 1 {}
        until("those taken are in flight", || {
            bed.load("web").in_flight <= 128
        });
    });
}

#[test]
fn floods_of_small_talk_are_not_stored() {
    for flood in [
        frame(PING, 0, 0, b"12345678").repeat(500),
        frame(SETTINGS, 0, 0, b"\0\x03\0\0\0\x64").repeat(500),
        frame(DATA, 0, 1, b"").repeat(1000),
    ] {
        with_namespaces(|| {
            with_web(Protocol::Http1, |bed, client, _| {
                let mut raw = Raw::new(bed.call(client, "web", WEB));
                raw.send(HEADERS, END_HEADERS, 1, POST).unwrap();
                // Who does not listen is not listened to for long, whatever it says.
                let sent = raw.flood(&flood);
                assert!(sent < FLOOD_BYTES, "{sent} bytes were taken");
            });
        });
    }
}

#[test]
fn a_window_beyond_all_bounds_ends_the_connection() {
    with_namespaces(|| {
        with_web(Protocol::Http1, |bed, client, _| {
            let mut raw = Raw::new(bed.call(client, "web", WEB));
            for _ in 0..2 {
                let most = (i32::MAX as u32).to_be_bytes();
                raw.send(WINDOW_UPDATE, 0, 0, &most).unwrap();
            }
            assert_eq!(raw.farewell(), Some(FLOW_CONTROL_ERROR));
        });
    });
}

#[test]
fn what_is_no_frame_ends_the_connection() {
    with_namespaces(|| {
        with_web(Protocol::Detect, |bed, client, _| {
            for rest in [
                &b"GET / HTTP/1.1\r\n\r\n"[..],
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            ] {
                let mut stream = bed.call(client, "web", WEB);
                stream
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                    .unwrap();
                stream.write_all(rest).unwrap();
                assert!(Raw(stream).farewell().is_some_and(|code| code != 0));
            }
        });
    });
}
