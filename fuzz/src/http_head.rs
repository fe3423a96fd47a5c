//! `http1` under any bytes: what it accepts it writes so that it reads the same again, and where the
//! bytes are cut never matters.

use std::net::{IpAddr, Ipv4Addr};

use http1::body::{Advanced, Decoder, State};
use http1::request::{self, Method, RequestEdits, RequestHead, Scheme, Trust, Upgrade};
use http1::response::{self, Asked, ResponseEdits, ResponseHead, Role};
use http1::{
    Authority, Framing, Limits, Parsed, Persistence, Reject, Sniff, TraceSeed, Version, sniff,
};

/// Tight, so that short inputs reach them.
const LIMITS: Limits = Limits {
    head_bytes_max: 600,
    line_bytes_max: 200,
    fields_max: 16,
    body_bytes_max: 5_000,
    chunk_extension_bytes_max: 16,
    trailer_bytes_max: 64,
    interim_max: 4,
};

/// For what we wrote ourselves, which may be longer than what we read.
const WIDE: Limits = Limits {
    head_bytes_max: 4_000,
    line_bytes_max: 4_000,
    fields_max: 64,
    body_bytes_max: u64::MAX,
    ..LIMITS
};

const HOP_BY_HOP: [&str; 6] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "http2-settings",
];

/// Tries the bytes as a request, as responses, and as a chunked body.
///
/// # Panics
/// On a finding.
pub fn run(data: &[u8]) {
    try_request(data);
    for method in [Method::Get, Method::Head] {
        for upgrade in [Upgrade::None, Upgrade::Offered] {
            try_response(data, Asked::new(method, upgrade));
        }
    }
    try_body(Framing::Chunked, data);
}

fn try_request(data: &[u8]) {
    let parsed = request::parse(data, &LIMITS);
    cuts_agree(data, &parsed, |bytes| request::parse(bytes, &LIMITS));
    let whole = sniff(data);
    for cut in cuts(data) {
        let early = sniff(&data[..cut]);
        assert!(
            early == Sniff::More || early == whole,
            "sniffing depends on the cut at {cut}"
        );
    }
    if let Ok(Parsed::Head { head, length }) = parsed {
        if !data.starts_with(b"\r\n") {
            assert_eq!(whole, Sniff::Http1, "what parses was not recognised");
        }
        try_rewritten_request(&head, Trust::Client);
        try_rewritten_request(&head, Trust::Nobody);
        try_body(head.framing(), &data[length..]);
    }
}

fn try_rewritten_request(head: &RequestHead, trust: Trust) {
    let edits = RequestEdits {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Http,
        trust,
        host_if_absent: Authority::parse("absent").expect("a valid name"),
        trace: TraceSeed {
            trace_id: [1; 16],
            span_id: [2; 8],
        },
    };
    let mut out = Vec::new();
    head.write_to(&mut out, &edits);
    let again = match request::parse(&out, &WIDE) {
        Ok(Parsed::Head { head, length }) if length == out.len() => head,
        other => panic!("{} gave {other:?}", out.escape_ascii()),
    };
    assert_eq!(again.version(), Version::Http11);
    assert_eq!(again.method_name(), head.method_name());
    assert_eq!(again.query(), head.query());
    if again.path() != "*" {
        assert_eq!(again.path(), head.path());
    }
    let host = head
        .authority()
        .map_or("absent", |authority| authority.as_str());
    let host_again = again.authority().expect("every request has a host now");
    assert!(host_again.as_str().eq_ignore_ascii_case(host));
    assert_eq!(again.framing(), head.framing());
    assert_eq!(again.persistence(), Persistence::Persist);
    assert_eq!(again.upgrade(), head.upgrade());
    assert_eq!(again.expectation(), head.expectation());
    assert!(again.traceparent().is_some());
    if head.traceparent().is_some() {
        assert_eq!(again.traceparent(), head.traceparent());
    }
    no_hop_by_hop(
        again.fields(),
        head.fields(),
        head.upgrade() == Upgrade::Offered,
    );
    let forwarded = |(name, _): &(&str, &[u8])| name.eq_ignore_ascii_case("x-forwarded-for");
    assert_eq!(again.fields().filter(forwarded).count(), 1);
}

fn try_response(data: &[u8], asked: Asked) {
    let parse = |bytes: &[u8]| response::parse(bytes, &mut asked.clone(), &LIMITS);
    let parsed = parse(data);
    cuts_agree(data, &parsed, parse);
    if let Ok(Parsed::Head { head, length }) = parsed {
        for client in [Version::Http10, Version::Http11] {
            try_rewritten_response(&head, client, asked);
        }
        try_body(head.framing(), &data[length..]);
    }
}

fn try_rewritten_response(head: &ResponseHead, client: Version, mut asked: Asked) {
    let edits = ResponseEdits {
        client,
        persistence: Persistence::Persist,
    };
    let mut out = Vec::new();
    let relay = head.write_to(&mut out, &edits);
    let again = match response::parse(&out, &mut asked, &WIDE) {
        Ok(Parsed::Head { head, length }) if length == out.len() => head,
        other => panic!("{} gave {other:?}", out.escape_ascii()),
    };
    assert_eq!((again.status(), again.role()), (head.status(), head.role()));
    if client == Version::Http10 && head.framing() == Framing::Chunked {
        assert_eq!(again.framing(), Framing::UntilClose);
    } else {
        assert_eq!(again.framing(), head.framing());
    }
    if head.role() == Role::Final {
        assert_eq!(again.persistence(), relay.persistence);
    }
    let upgrade = head.role() == Role::Switching || head.status() == 426;
    no_hop_by_hop(again.fields(), head.fields(), upgrade);
}

/// No hop-by-hop field came through, nor one that `Connection` named.
fn no_hop_by_hop<'a>(
    written: impl Iterator<Item = (&'a str, &'a [u8])>,
    read: impl Iterator<Item = (&'a str, &'a [u8])>,
    upgrade: bool,
) {
    const OWN: [&str; 8] = [
        "te",
        "traceparent",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "connection",
        "content-length",
    ];
    let mut ended: Vec<String> = HOP_BY_HOP.iter().map(|name| (*name).to_owned()).collect();
    for (_, value) in read.filter(|(name, _)| name.eq_ignore_ascii_case("connection")) {
        ended.extend(
            String::from_utf8_lossy(value)
                .split(',')
                .map(|name| name.trim().to_lowercase()),
        );
    }
    ended.retain(|name| !OWN.contains(&name.as_str()));
    for (name, value) in written {
        let name = name.to_lowercase();
        assert!(!ended.contains(&name), "{name} came through");
        assert!(name != "te" || value == b"trailers");
        assert!(upgrade || name != "upgrade", "upgrade came through");
    }
}

fn try_body(framing: Framing, data: &[u8]) {
    let whole = Decoder::new(framing, &LIMITS).advance(data);
    for step in [1, 3, 7] {
        assert_eq!(
            decode(framing, data, step),
            whole,
            "decoding depends on cuts of {step}"
        );
    }
}

fn decode(framing: Framing, data: &[u8], step: usize) -> Result<Advanced, Reject> {
    let mut decoder = Decoder::new(framing, &LIMITS);
    let mut consumed = 0;
    while consumed < data.len() && decoder.state() == State::More {
        let input = &data[consumed..data.len().min(consumed + step)];
        let piece = decoder.piece(input)?;
        assert!(piece.consumed > 0, "no progress");
        assert_eq!(piece.payload.end, piece.consumed);
        consumed += piece.consumed;
    }
    Ok(Advanced {
        consumed,
        state: decoder.state(),
    })
}

/// Some places to cut at: all of a short input's, the ends of a longer one's.
fn cuts(data: &[u8]) -> impl Iterator<Item = usize> {
    let length = data.len();
    (0..length).filter(move |&cut| cut < 256 || cut + 16 > length || cut % 61 == 0)
}

fn cuts_agree<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    whole: &Result<Parsed<T>, Reject>,
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, Reject>,
) {
    for cut in cuts(data) {
        let early = parse(&data[..cut]);
        if early != Ok(Parsed::Incomplete) {
            assert_eq!(&early, whole, "parsing depends on the cut at {cut}");
        }
    }
}
