//! Known request smuggling payloads: each is refused, in its head or in its body, and for its reason.

use http1::body::Decoder;
use http1::{Limits, Parsed, Reject, request};

/// Reads a head and all of its body; true if both are accepted and complete.
fn read(bytes: &[u8]) -> Result<bool, Reject> {
    let limits = Limits::default();
    match request::parse(bytes, &limits)? {
        Parsed::Incomplete => Ok(false),
        Parsed::Head { head, length } => {
            let mut decoder = Decoder::new(head.framing(), &limits);
            let advanced = decoder.advance(&bytes[length..])?;
            Ok(advanced.state == http1::body::State::Done)
        }
    }
}

/// A reject, and payloads that earn it.
type Table = &'static [(Reject, &'static [&'static str])];

/// Fields between `Host` and the empty line.
const FIELDS: Table = &[
    // Length against coding: CL.TE, TE.CL, in both orders.
    (
        Reject::LengthAndCoding,
        &[
            "Content-Length: 6\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            "Content-Length: x\r\nTransfer-Encoding: chunked",
            "Content-Length: 6\r\nTransfer-Encoding: identity",
        ],
    ),
    // Several lengths: CL.CL.
    (
        Reject::ContentLengthRepeated,
        &[
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\ncontent-length: 5",
            "Content-Length: 5, 6",
            "Content-Length: 5, 5",
            "Content-Length: 5,",
        ],
    ),
    // Lengths that readers of numbers read differently.
    (
        Reject::ContentLength,
        &[
            "Content-Length: +5",
            "Content-Length: -5",
            "Content-Length: 0x5",
            "Content-Length: 5 5",
            "Content-Length: 5.0",
            "Content-Length: 5e1",
            "Content-Length: 5_0",
            "Content-Length: \"5\"",
            "Content-Length: ",
            "Content-Length: 9223372036854775808",
            "Content-Length: 18446744073709551616",
            "Content-Length: 18446744073709551621",
            "Content-Length: \u{ff15}",
        ],
    ),
    // Codings that one reader knows and another does not: TE.TE.
    (
        Reject::Coding,
        &[
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunkedx",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chun ked",
            "Transfer-Encoding:",
            "Transfer-Encoding: \u{130}chunked",
        ],
    ),
    (
        Reject::CodingUnsupported,
        &[
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: , chunked",
        ],
    ),
    (
        Reject::FieldValue,
        &[
            "Transfer-Encoding: \x0bchunked",
            "Transfer-Encoding: chunked\x0c",
            "Transfer-Encoding: chunked\0",
            "Transfer-Encoding: chunked\x7f",
        ],
    ),
    // Names that one reader repairs.
    (
        Reject::FieldName,
        &[
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "\tTransfer-Encoding: chunked",
            "A: b\r\n Transfer-Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Content-Length:\r\n\t5",
            "\0Transfer-Encoding: chunked",
            "Transfer-Encoding\0: chunked",
            "Transfer\\Encoding(: chunked",
            "\"Transfer-Encoding\": chunked",
            "Transfer-Encoding chunked",
            "Transfer-Encoding",
            ": chunked",
            "\u{e4}: b",
        ],
    ),
    (
        Reject::FramingLookalike,
        &["Transfer_Encoding: chunked", "content_length: 5"],
    ),
    // Line ends that one reader sees.
    (
        Reject::LineEnd,
        &[
            "A: b\nTransfer-Encoding: chunked",
            "A: b\n\nGET /admin HTTP/1.1",
            "A:\nB: c",
        ],
    ),
    (
        Reject::FieldValue,
        &["A: b\rTransfer-Encoding: chunked", "A: b\r\r\nB: c"],
    ),
    (Reject::FieldName, &["A\rB: c"]),
    // Whom it is for.
    (Reject::HostRepeated, &["Host: b", "host: a"]),
    // Fields that the connection options would strip on the way.
    (
        Reject::ConnectionNomination,
        &[
            "Connection: content-length\r\nContent-Length: 5",
            "Connection: close, Host",
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
        ],
    ),
    (Reject::ConnectionOption, &["Connection: \"close\""]),
    (
        Reject::TooManyConnectionOptions,
        &["Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q"],
    ),
];

/// Bodies of a request with `Transfer-Encoding: chunked`.
const CHUNKS: Table = &[
    (
        Reject::ChunkLineEnd,
        &[
            "5\nhello\r\n0\r\n\r\n",
            "5;\nx\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\n\n0\r\n\r\n",
            "5\r\nhelloXX0\r\n\r\n",
            "0\r\n\nGET",
        ],
    ),
    (
        Reject::ChunkSize,
        &[
            "5 \r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "-1\r\n",
        ],
    ),
    (
        Reject::ChunkSizeTooLarge,
        &["10000000000000005\r\nhello\r\n"],
    ),
    (Reject::TrailerName, &["0\r\n a: b\r\n\r\n"]),
    (
        Reject::TrailerForbidden,
        &["0\r\nContent-Length: 5\r\n\r\n"],
    ),
];

/// Whole heads, where the request line or the version matters.
const HEADS: Table = &[
    (
        Reject::CodingInHttp10,
        &["POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ),
    (Reject::HostMissing, &["GET / HTTP/1.1\r\n\r\n"]),
    (
        Reject::HostInvalid,
        &[
            "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n",
        ],
    ),
    (Reject::FieldName, &["GET / HTTP/1.1\r\n Host: a\r\n\r\n"]),
    (
        Reject::HostDiffers,
        &[
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    ),
    (
        Reject::TargetAuthority,
        &["GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n"],
    ),
    (Reject::TargetForm, &["GET @a/ HTTP/1.1\r\nHost: a\r\n\r\n"]),
    (
        Reject::LineEnd,
        &[
            "GET /a HTTP/1.1\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1\rHost: a\r\n\r\n",
            "GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a\r\n\n",
            "GET /a HTTP/1.1\r\nHost: a\n\r\n",
        ],
    ),
    (
        Reject::TargetByte,
        &[
            "GET /a\r\nHost: a\r\n\r\n",
            "GET /a\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    ),
    (Reject::Version, &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]),
];

fn refuses(table: Table, message: impl Fn(&str) -> String) {
    for (reject, payloads) in table {
        for payload in *payloads {
            let text = message(payload);
            assert_eq!(read(text.as_bytes()), Err(*reject), "{text:?}");
        }
    }
}

#[test]
fn every_known_smuggling_payload_is_refused() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";
    refuses(FIELDS, |fields| format!("{POST}{fields}\r\n\r\n"));
    refuses(CHUNKS, |body| {
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}")
    });
    refuses(HEADS, str::to_owned);
}

#[test]
fn the_same_request_without_a_trick_passes() {
    for fields in [
        "Content-Length: 0",
        "A: b\tc d",
        "Content-Type: text/plain; x=\"\u{e4}\"",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        assert_eq!(read(text.as_bytes()), Ok(true), "{text:?}");
    }
    let text =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(read(text.as_bytes()), Ok(true));
}

#[test]
fn a_chunk_size_beyond_32_bits_is_not_cut_to_them() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                100000005\r\nhello\r\n0\r\n\r\n";
    assert_eq!(read(text.as_bytes()), Ok(false), "the body goes on");
}
