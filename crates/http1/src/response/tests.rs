//! Response heads by example: where the response ends, and how it is written for the client.

use super::*;

fn asked(method: Method) -> Asked {
    Asked::new(method, Upgrade::None)
}

fn try_head(text: &str, mut asked: Asked) -> Result<ResponseHead, Reject> {
    match parse(text.as_bytes(), &mut asked, &Limits::default())? {
        Parsed::Head { head, length } if length == text.len() => Ok(head),
        other @ (Parsed::Head { .. } | Parsed::Incomplete) => panic!("{text:?} gave {other:?}"),
    }
}

fn head(text: &str) -> ResponseHead {
    try_head(text, asked(Method::Get)).expect(text)
}

fn written(head: &ResponseHead, client: Version, persistence: Persistence) -> (Vec<String>, Relay) {
    let mut out = Vec::new();
    let relay = head.write_to(
        &mut out,
        &ResponseEdits {
            client,
            persistence,
        },
    );
    let text = String::from_utf8(out).unwrap();
    let lines = text
        .strip_suffix("\r\n\r\n")
        .unwrap()
        .split("\r\n")
        .map(str::to_owned)
        .collect();
    (lines, relay)
}

#[test]
fn rfc9112_4_a_status_line_is_taken_apart_and_written_as_ours() {
    for (line, status, ours) in [
        ("HTTP/1.1 200 OK", 200, "HTTP/1.1 200 OK"),
        ("HTTP/1.0 404 Not Found", 404, "HTTP/1.1 404 Not Found"),
        ("HTTP/1.1 299 ", 299, "HTTP/1.1 299 "),
        ("HTTP/1.1 299", 299, "HTTP/1.1 299 "),
        ("HTTP/1.1 999 \u{e4}", 999, "HTTP/1.1 999 \u{e4}"),
    ] {
        let head = head(&format!("{line}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(head.status(), status);
        assert_eq!(
            written(&head, Version::Http11, Persistence::Persist).0[0],
            ours
        );
    }
    for line in [
        "HTTP/2 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200 O\x01K",
        "\r\nHTTP/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1 -20 OK",
        "200 OK",
    ] {
        let text = format!("{line}\r\n\r\n");
        assert_eq!(
            try_head(&text, asked(Method::Get)),
            Err(Reject::StatusLine),
            "{line:?}"
        );
    }
}

#[test]
fn rfc9112_6_3_the_end_depends_on_status_method_and_fields() {
    use Framing::{Chunked, Length, None, UntilClose};
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    for (method, status, fields, framing) in [
        (Method::Get, 200, "", UntilClose),
        (Method::Get, 200, LENGTH, Length(5)),
        (Method::Get, 200, CHUNKED, Chunked),
        (Method::Get, 205, "Content-Length: 0\r\n", Length(0)),
        (Method::Head, 200, "", None),
        (Method::Head, 200, LENGTH, None),
        (Method::Head, 200, CHUNKED, None),
        (Method::Get, 304, LENGTH, None),
        (Method::Get, 304, CHUNKED, None),
        (Method::Get, 204, "", None),
        (Method::Get, 204, "Content-Length: 0\r\n", None),
        (Method::Get, 103, "", None),
    ] {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        let head = try_head(&text, asked(method)).expect(&text);
        assert_eq!(head.framing(), framing, "{method:?} {text:?}");
    }
}

#[test]
fn a_response_whose_end_could_be_argued_about_is_refused() {
    for (text, reject) in [
        (
            "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n",
            Reject::BodyAnnounced,
        ),
        (
            "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reject::BodyAnnounced,
        ),
        (
            "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n",
            Reject::BodyAnnounced,
        ),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            Reject::ContentLengthRepeated,
        ),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reject::LengthAndCoding,
        ),
        (
            "HTTP/1.1 200 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            Reject::CodingUnsupported,
        ),
        (
            "HTTP/1.1 200 x\r\nTransfer-Encoding: gzip\r\n\r\n",
            Reject::Coding,
        ),
        (
            "HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n",
            Reject::CodingInHttp10,
        ),
        ("HTTP/1.1 200 x\r\nA: b\n\r\n", Reject::LineEnd),
        ("HTTP/1.1 200 x\nA: b\r\n\r\n", Reject::LineEnd),
        ("HTTP/1.1 200 x\r\nA: b\r\n c\r\n\r\n", Reject::FieldName),
        ("HTTP/1.1 200 x\r\nA : b\r\n\r\n", Reject::FieldName),
        (
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            Reject::Switch,
        ),
    ] {
        assert_eq!(try_head(text, asked(Method::Get)), Err(reject), "{text:?}");
    }
}

#[test]
fn rfc9112_9_3_the_endpoints_connection_goes_on_only_if_it_says_so() {
    use Persistence::{Close, Persist};
    for (text, persistence) in [
        ("HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\n", Persist),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n",
            Close,
        ),
        ("HTTP/1.1 200 x\r\n\r\n", Close),
        ("HTTP/1.1 200 x\r\nConnection: keep-alive\r\n\r\n", Close),
        ("HTTP/1.0 200 x\r\nContent-Length: 1\r\n\r\n", Close),
        (
            "HTTP/1.0 200 x\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
            Persist,
        ),
        ("HTTP/1.1 304 x\r\n\r\n", Persist),
    ] {
        assert_eq!(head(text).persistence(), persistence, "{text:?}");
    }
}

#[test]
fn hop_by_hop_fields_end_here_and_the_framing_is_said_anew() {
    let text = "HTTP/1.1 200 OK\r\nServer: s\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\n\
                Keep-Alive: timeout=5\r\nUpgrade: h2c\r\ntransfer-encoding: CHUNKED\r\nDate: d\r\n\
                Proxy-Authenticate: p\r\n\r\n";
    let (lines, relay) = written(&head(text), Version::Http11, Persistence::Persist);
    assert_eq!(
        lines,
        [
            "HTTP/1.1 200 OK",
            "Server: s",
            "Date: d",
            "Transfer-Encoding: chunked"
        ]
    );
    assert_eq!(
        relay,
        Relay {
            body: RelayBody::Raw,
            persistence: Persistence::Persist
        }
    );
}

#[test]
fn what_the_client_is_told_about_its_connection_is_what_its_version_needs() {
    use Persistence::{Close, Persist};
    use RelayBody::{Payload, Raw};
    use Version::{Http10, Http11};
    const LENGTH: &str = "Content-Length: 1";
    const CHUNKED: &str = "Transfer-Encoding: chunked";
    const OTHER: &str = "A: b";
    for (field, client, wanted, kept, option, body, persistence) in [
        (LENGTH, Http11, Persist, LENGTH, "", Raw, Persist),
        (LENGTH, Http11, Close, LENGTH, "close", Raw, Close),
        (LENGTH, Http10, Persist, LENGTH, "keep-alive", Raw, Persist),
        (LENGTH, Http10, Close, LENGTH, "close", Raw, Close),
        (CHUNKED, Http11, Persist, CHUNKED, "", Raw, Persist),
        (CHUNKED, Http10, Persist, "", "close", Payload, Close),
        (OTHER, Http11, Persist, OTHER, "close", Raw, Close),
    ] {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n"));
        let (lines, relay) = written(&head, client, wanted);
        let connection = if option.is_empty() {
            ""
        } else {
            "Connection: "
        };
        let told = [kept.to_owned(), format!("{connection}{option}")];
        let told: Vec<_> = told.iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines[1..].iter().collect::<Vec<_>>(), told);
        assert_eq!(relay, Relay { body, persistence });
    }
}

#[test]
fn a_response_without_a_body_still_declares_the_one_it_stands_for() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let head = try_head(text, asked(Method::Head)).unwrap();
    let (lines, relay) = written(&head, Version::Http11, Persistence::Persist);
    assert_eq!(lines, ["HTTP/1.1 200 OK", "Content-Length: 5"]);
    assert_eq!(relay.persistence, Persistence::Persist);
    let no_content = self::head("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        written(&no_content, Version::Http11, Persistence::Persist).0,
        ["HTTP/1.1 204 No"]
    );
}

#[test]
fn an_offered_upgrade_is_accepted_and_a_required_one_is_named() {
    let offered = Asked::new(Method::Get, Upgrade::Offered);
    let text = "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = try_head(text, offered).unwrap();
    assert_eq!(head.role(), Role::Switching);
    assert_eq!(
        written(&head, Version::Http11, Persistence::Persist).0,
        [
            "HTTP/1.1 101 Switching",
            "Upgrade: websocket",
            "Connection: upgrade"
        ]
    );
    let bare = try_head(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
        offered,
    );
    assert_eq!(bare, Err(Reject::Switch));
    let required = self::head("HTTP/1.1 426 x\r\nUpgrade: a/2\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        written(&required, Version::Http11, Persistence::Persist).0[1..],
        [
            "Upgrade: a/2",
            "Content-Length: 0",
            "Connection: upgrade, keep-alive"
        ]
    );
}

#[test]
fn interim_heads_come_before_the_final_one_but_not_without_end() {
    let limits = Limits {
        interim_max: 2,
        ..Limits::default()
    };
    let text = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut asked = asked(Method::Post);
    for _ in 0..2 {
        let Ok(Parsed::Head { head, length }) = parse(text, &mut asked, &limits) else {
            panic!("two interim heads are allowed");
        };
        assert_eq!((head.role(), length), (Role::Interim, text.len()));
        let (lines, _) = written(&head, Version::Http11, Persistence::Close);
        assert_eq!(lines, ["HTTP/1.1 100 Continue"]);
    }
    assert_eq!(
        parse(text, &mut asked, &limits),
        Err(Reject::TooManyInterim)
    );
}

#[test]
fn the_bound_of_a_head_holds_to_the_byte() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for (bound, fits) in [(text.len(), true), (text.len() - 1, false)] {
        let limits = Limits {
            head_bytes_max: bound as u32,
            ..Limits::default()
        };
        let parsed = parse(text, &mut asked(Method::Get), &limits);
        assert_eq!(
            parsed.map(|_| ()),
            if fits {
                Ok(())
            } else {
                Err(Reject::HeadTooLong)
            }
        );
    }
}
