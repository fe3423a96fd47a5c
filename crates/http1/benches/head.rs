//! What parsing and rewriting a head costs, beside `httparse` alone on the same bytes in the same run.
//! Rounds alternate, and the best of each counts, so that a busy machine disturbs both alike.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use http1::body::Decoder;
use http1::request::{self, Method, RequestEdits, Scheme, Trust, Upgrade};
use http1::response::{self, Asked, ResponseEdits};
use http1::{Authority, Framing, Limits, Parsed, Persistence, TraceSeed, Version, sniff};

const REQUEST: &[u8] = b"GET /api/v1/coins?since=2024-01-01&limit=50 HTTP/1.1\r\n\
    Host: webui.coins.localhost:7080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef\r\n\
    Cache-Control: no-cache\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: hasher/1.0\r\n\
    Date: Tue, 01 Oct 2024 12:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: no-store\r\n\
    Vary: Accept-Encoding\r\n\r\n";

fn main() {
    let limits = Limits::default();
    let edits = RequestEdits {
        client: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)),
        scheme: Scheme::Http,
        trust: Trust::Client,
        host_if_absent: Authority::parse("rng").expect("a valid name"),
        trace: TraceSeed {
            trace_id: [7; 16],
            span_id: [9; 8],
        },
    };
    let answer = ResponseEdits {
        client: Version::Http11,
        persistence: Persistence::Persist,
    };
    let mut out = Vec::with_capacity(1024);
    let parsed = |bytes| match request::parse(bytes, &limits) {
        Ok(Parsed::Head { head, .. }) => head,
        other => panic!("{other:?}"),
    };
    let head = parsed(REQUEST);
    let mut chunks = b"400\r\n".to_vec();
    chunks.resize(chunks.len() + 0x400, b'x');
    chunks.extend_from_slice(b"\r\n0\r\n\r\n");
    let cases: &mut [(&str, &mut dyn FnMut())] = &mut [
        ("httparse alone, request", &mut || {
            httparse_request(black_box(REQUEST))
        }),
        ("http1 parse, request", &mut || {
            drop(black_box(parsed(black_box(REQUEST))))
        }),
        ("http1 write, request", &mut || {
            let mut out = Vec::with_capacity(1024);
            black_box(&head).write_to(&mut out, &edits);
            black_box(&out);
        }),
        ("http1 parse + write, request", &mut || {
            out.clear();
            parsed(black_box(REQUEST)).write_to(&mut out, &edits);
            black_box(&out);
        }),
        ("http1 parse + write, response", &mut || {
            let mut asked = Asked::new(Method::Get, Upgrade::None);
            let mut out = Vec::with_capacity(1024);
            match response::parse(black_box(RESPONSE), &mut asked, &limits) {
                Ok(Parsed::Head { head, .. }) => head.write_to(&mut out, &answer),
                other => panic!("{other:?}"),
            };
            black_box(&out);
        }),
        ("http1 sniff", &mut || {
            black_box(sniff(black_box(REQUEST)));
        }),
        ("http1 body of one chunk of 1 KiB", &mut || {
            let mut decoder = Decoder::new(Framing::Chunked, &limits);
            black_box(decoder.advance(black_box(&chunks)).expect("valid chunks"));
        }),
    ];
    report(cases);
}

fn httparse_request(bytes: &[u8]) {
    let mut slots = [const { MaybeUninit::uninit() }; 128];
    let mut request = httparse::Request::new(&mut []);
    black_box(
        request
            .parse_with_uninit_headers(bytes, &mut slots)
            .expect("a valid head"),
    );
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures and prints"
)]
fn report(cases: &mut [(&str, &mut dyn FnMut())]) {
    const ROUNDS: usize = 30;
    const RUNS: u32 = 10_000;
    let mut best = vec![f64::INFINITY; cases.len()];
    for _ in 0..ROUNDS {
        for ((_, run), best) in cases.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            (0..RUNS).for_each(|_| run());
            *best = best.min(begin.elapsed().as_nanos() as f64 / f64::from(RUNS));
        }
    }
    println!(
        "request head {} bytes, response head {} bytes",
        REQUEST.len(),
        RESPONSE.len()
    );
    for ((name, _), nanos) in cases.iter().zip(best) {
        println!("{nanos:8.0} ns  {name}");
    }
}
