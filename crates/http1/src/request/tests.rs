//! Request heads by example: what passes, as what, and how it is written for the endpoint.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::TraceSeed;
use crate::head::may_be_complete;

fn head(text: &str) -> RequestHead {
    match parse(text.as_bytes(), &Limits::default()) {
        Ok(Parsed::Head { head, length }) if length == text.len() => head,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn rejected(text: &str) -> Reject {
    parse(text.as_bytes(), &Limits::default()).expect_err(text)
}

fn edits(trust: Trust) -> RequestEdits<'static> {
    RequestEdits {
        client: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        scheme: Scheme::Http,
        trust,
        host_if_absent: Authority::parse("rng").unwrap(),
        trace: TraceSeed {
            trace_id: [0xab; 16],
            span_id: [0xcd; 8],
        },
    }
}

fn written(text: &str, trust: Trust) -> String {
    let mut out = Vec::new();
    head(text).write_to(&mut out, &edits(trust));
    String::from_utf8(out).unwrap()
}

/// The written head without the lines that every head gets.
fn own_lines(text: &str) -> Vec<String> {
    written(text, Trust::Client)
        .split("\r\n")
        .filter(|line| !line.starts_with("X-Forwarded-") && !line.starts_with("traceparent"))
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_request_line_is_taken_apart() {
    let head = head("PATCH /a/b?c=d HTTP/1.1\r\nHost: a.b:81\r\n\r\n");
    assert_eq!(
        (head.method(), head.method_name()),
        (Method::Patch, "PATCH")
    );
    assert_eq!(
        (head.target(), head.path(), head.query()),
        ("/a/b?c=d", "/a/b", Some("c=d"))
    );
    let authority = head.authority().unwrap();
    assert_eq!((authority.as_str(), authority.host()), ("a.b:81", "a.b"));
    assert_eq!(authority.port(), Some(81));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(
        head.fields().collect::<Vec<_>>(),
        [("Host", &b"a.b:81"[..])]
    );
}

#[test]
fn rfc9112_2_2_one_empty_line_before_the_request_is_skipped() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(head(text).method_name(), "GET");
    assert_eq!(rejected(&format!("\r\n{text}")), Reject::EmptyLines);
    assert_eq!(rejected(&format!("\n{text}")), Reject::EmptyLines);
}

#[test]
fn rfc9112_3_each_wrong_request_line_is_refused_for_its_own_reason() {
    for (line, reject) in [
        ("G(T / HTTP/1.1", Reject::Method),
        (" / HTTP/1.1", Reject::Method),
        ("CONNECT a:443 HTTP/1.1", Reject::Connect),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1",
            Reject::MethodTooLong,
        ),
        ("GET  / HTTP/1.1", Reject::TargetByte),
        ("GET\t/ HTTP/1.1", Reject::Method),
        ("GET /a b HTTP/1.1", Reject::VersionSyntax),
        ("GET /\u{e4} HTTP/1.1", Reject::TargetByte),
        ("GET /a#b HTTP/1.1", Reject::TargetByte),
        ("GET /\x01 HTTP/1.1", Reject::TargetByte),
        ("GET a HTTP/1.1", Reject::TargetForm),
        ("GET * HTTP/1.1", Reject::TargetForm),
        ("GET ftp://a/ HTTP/1.1", Reject::TargetForm),
        ("GET http:/a HTTP/1.1", Reject::TargetForm),
        ("GET http:///a HTTP/1.1", Reject::TargetAuthority),
        ("GET http://u@a/ HTTP/1.1", Reject::TargetAuthority),
        ("GET /", Reject::TargetByte),
        ("GET / HTTP/1.1 ", Reject::LineEnd),
        ("GET / http/1.1", Reject::VersionSyntax),
        ("GET / HTTP/2.0", Reject::Version),
        ("GET / HTTP/1.2", Reject::Version),
        ("GET / HTTP/0.9", Reject::Version),
        ("GET / HTTP 1.1", Reject::VersionSyntax),
    ] {
        assert_eq!(
            rejected(&format!("{line}\r\nHost: a\r\n\r\n")),
            reject,
            "{line:?}"
        );
    }
}

#[test]
fn rfc9112_3_2_absolute_and_asterisk_targets_become_origin_form() {
    for (text, line, path) in [
        (
            "GET http://a/b?c HTTP/1.1\r\nHost: A\r\n\r\n",
            "GET /b?c HTTP/1.1",
            "/b",
        ),
        (
            "GET HTTPS://a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1",
            "/",
        ),
        (
            "GET http://a?c HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /?c HTTP/1.1",
            "/",
        ),
        (
            "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1",
            "/",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1",
            "*",
        ),
        (
            "GET //b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET //b HTTP/1.1",
            "//b",
        ),
    ] {
        assert_eq!(head(text).path(), path, "{text:?}");
        assert_eq!(own_lines(text)[0], line, "{text:?}");
    }
}

#[test]
fn rfc9112_3_2_hosts_that_name_one_place_pass() {
    for host in [
        "a",
        "rng.coins.localhost:7080",
        "my_app",
        "[::1]",
        "[fe80::1]:80",
        "127.0.0.1:65535",
    ] {
        assert_eq!(
            head(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
                .authority()
                .unwrap()
                .as_str(),
            host
        );
    }
    for host in [
        "", "a b", "a,b", "u@a", "a:", "a:b", "a:65536", "a:-1", "a/b", "[::1", "[g]", "[::1]a",
        "\u{e4}", ":80", "::1", "a%2e",
    ] {
        assert_eq!(
            rejected(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")),
            Reject::HostInvalid,
            "{host:?}"
        );
    }
}

#[test]
fn an_http10_request_may_leave_the_host_out_and_gets_one() {
    let text = "GET / HTTP/1.0\r\nAccept: x\r\n\r\n";
    assert_eq!(head(text).authority(), None);
    assert_eq!(
        own_lines(text),
        ["GET / HTTP/1.1", "Accept: x", "Host: rng"]
    );
    assert!(!written(text, Trust::Client).contains("X-Forwarded-Host"));
    let absolute = "GET http://hasher/x HTTP/1.0\r\n\r\n";
    assert_eq!(own_lines(absolute), ["GET /x HTTP/1.1", "Host: hasher"]);
}

#[test]
fn rfc9112_6_3_framing_is_what_the_one_field_declares() {
    for (fields, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-LENGTH:\t 0042 \r\n", Framing::Length(42)),
        (
            "Content-Length: 9223372036854775807\r\n",
            Framing::Length(i64::MAX as u64),
        ),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked),
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(head(&text).framing(), framing, "{fields:?}");
    }
    let text = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:\t 0042 \r\n\r\n";
    assert_eq!(
        own_lines(text),
        ["POST / HTTP/1.1", "Host: a", "Content-Length: 42"]
    );
}

#[test]
fn a_body_beyond_the_bound_is_refused_by_its_head() {
    let limits = Limits {
        body_bytes_max: 10,
        ..Limits::default()
    };
    let text = |length| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    assert!(parse(text(10).as_bytes(), &limits).is_ok());
    assert_eq!(
        parse(text(11).as_bytes(), &limits),
        Err(Reject::BodyTooLarge)
    );
}

#[test]
fn rfc9112_9_3_persistence_follows_version_and_option() {
    for (version, option, persistence) in [
        ("1.1", "x", Persistence::Persist),
        ("1.1", "close", Persistence::Close),
        ("1.1", "keep-alive, CLOSE", Persistence::Close),
        ("1.0", "x", Persistence::Close),
        ("1.0", "Keep-Alive", Persistence::Persist),
        ("1.0", "keep-alive,close", Persistence::Close),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        assert_eq!(head(&text).persistence(), persistence, "{version} {option}");
    }
}

#[test]
fn rfc9110_7_6_1_hop_by_hop_fields_end_here() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nConnection: close, x-Gone\r\nX-Gone: 2\r\n\
                Keep-Alive: 5\r\nB: 3\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\nx-gone: 4\r\n\
                Upgrade: websocket\r\nProxy-Authorization: p\r\nTrailer: t\r\n\r\n";
    assert_eq!(
        own_lines(text),
        [
            "GET / HTTP/1.1",
            "Host: a",
            "A: 1",
            "B: 3",
            "Trailer: t",
            "TE: trailers",
            "Connection: TE"
        ]
    );
}

#[test]
fn rfc9110_7_8_a_websocket_handshake_passes() {
    let text = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    assert_eq!(head(text).upgrade(), Upgrade::Offered);
    assert_eq!(
        own_lines(text)[2..],
        [
            "Upgrade: websocket",
            "Sec-WebSocket-Key: k",
            "Connection: upgrade"
        ]
    );
}

#[test]
fn rfc9110_7_8_an_upgrade_that_cannot_be_meant_is_not_passed_on() {
    for text in [
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, HTTP/2.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
    ] {
        assert_eq!(head(text).upgrade(), Upgrade::None, "{text:?}");
        let lines = own_lines(text).join("\n").to_ascii_lowercase();
        assert!(
            !lines.contains("upgrade") && !lines.contains("http2"),
            "{lines}"
        );
    }
}

#[test]
fn rfc9110_10_1_1_only_the_known_expectation_passes_and_only_with_a_body() {
    let text = |version, fields| format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
    let waiting = text("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n");
    assert_eq!(head(&waiting).expectation(), Expectation::Continue);
    assert!(own_lines(&waiting).contains(&"Expect: 100-Continue".to_owned()));
    for ignored in [
        text("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n"),
        text("1.1", "Expect: 100-continue\r\n"),
    ] {
        assert_eq!(head(&ignored).expectation(), Expectation::None);
        assert_eq!(
            own_lines(&ignored)
                .iter()
                .filter(|line| line.starts_with("Expect"))
                .count(),
            0
        );
    }
    assert_eq!(
        rejected(&text("1.1", "Expect: pizza\r\n")),
        Reject::Expectation
    );
}

#[test]
fn forwarding_fields_are_appended_to_for_a_client_we_trust() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n\
                X-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n\r\n";
    let out = written(text, Trust::Client);
    assert!(
        out.contains("\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.1.2.3\r\n"),
        "{out}"
    );
    assert!(out.contains("\r\nX-Forwarded-Proto: https\r\n"), "{out}");
    assert!(!out.contains("Proto: http\r\n"), "{out}");
    assert!(out.contains("\r\nX-Forwarded-Host: a\r\n"), "{out}");
    assert!(out.contains("\r\nForwarded: "), "{out}");
}

#[test]
fn nobody_else_can_forge_an_earlier_hop() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\n\
                X-Forwarded-Proto: wss\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.1.1.1\r\n\
                X-Forwarded-Prefix: /evil\r\nX-Real-IP: 1.1.1.1\r\n\r\n";
    let out = written(text, Trust::Nobody);
    assert!(
        !out.contains("1.1.1.1") && !out.contains("evil") && !out.contains("wss"),
        "{out}"
    );
    assert!(out.contains("\r\nX-Forwarded-For: 10.1.2.3\r\n"), "{out}");
}

#[test]
fn a_valid_trace_goes_on_and_any_other_is_begun_anew() {
    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let text = |value: &str| {
        format!("GET / HTTP/1.1\r\nHost: a\r\ntracestate: s=1\r\ntraceparent: {value}\r\n\r\n")
    };
    let out = written(&text(VALID), Trust::Client);
    assert_eq!(out.matches("traceparent").count(), 1);
    assert!(out.contains(VALID) && out.contains("tracestate"), "{out}");
    for other in [
        "00-zz".to_owned(),
        format!("{VALID}\r\ntraceparent: {VALID}"),
    ] {
        let out = written(&text(&other), Trust::Client);
        assert_eq!(out.matches("traceparent").count(), 1);
        assert!(
            out.contains(&format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8))),
            "{out}"
        );
        assert!(!out.contains("tracestate"), "{out}");
    }
    assert_eq!(head(&text(VALID)).traceparent(), Some(VALID));
}

#[test]
fn bounds_of_line_head_and_fields_hold_to_the_byte() {
    let limits = Limits {
        line_bytes_max: 100,
        head_bytes_max: 300,
        fields_max: 3,
        ..Limits::default()
    };
    let parse = |text: &str| parse(text.as_bytes(), &limits).map(|_| ());
    let line = |length: usize| format!("GET /{:a<1$} HTTP/1.1\r\n", "", length - 16);
    assert_eq!(line(100).len(), 100);
    assert_eq!(parse(&format!("{}Host: a\r\n\r\n", line(100))), Ok(()));
    assert_eq!(parse(&line(101)), Err(Reject::LineTooLong));
    assert_eq!(parse(&line(101)[..100]), Err(Reject::LineTooLong));
    assert_eq!(parse(&line(101)[..99]), Ok(()));
    let padded = |length: usize| {
        let start = format!("{}Host: a\r\nB: ", line(50));
        format!("{start}{:b<1$}\r\n\r\n", "", length - start.len() - 4)
    };
    assert_eq!(parse(&padded(300)), Ok(()));
    assert_eq!(parse(&padded(301)), Err(Reject::HeadTooLong));
    assert_eq!(parse(&padded(301)[..299]), Ok(()));
    assert_eq!(parse(&padded(301)[..300]), Err(Reject::HeadTooLong));
    let fields = |count: usize| {
        format!(
            "{}Host: a\r\n{}\r\n",
            line(50),
            "A: b\r\n".repeat(count - 1)
        )
    };
    assert_eq!(parse(&fields(3)), Ok(()));
    assert_eq!(parse(&fields(4)), Err(Reject::TooManyFields));
}

#[test]
fn parsing_again_is_worth_it_only_at_an_empty_line_or_a_bound() {
    let limits = Limits {
        line_bytes_max: 100,
        head_bytes_max: 300,
        ..Limits::default()
    };
    let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    let head_length = text.len() - 4;
    for seen in 1..head_length {
        for now in seen..text.len() {
            let worth = may_be_complete(&text[..now], seen, &limits);
            assert_eq!(worth, now >= head_length, "from {seen} to {now}");
        }
    }
    assert!(may_be_complete(&text[..1], 0, &limits));
    assert!(may_be_complete(&[b'a'; 100], 99, &limits));
    assert!(!may_be_complete(&[b'a'; 101], 100, &limits));
    assert!(may_be_complete(&[b'a'; 300], 299, &limits));
}
