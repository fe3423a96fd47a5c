//! What holds for any bytes, tried with generated heads and with mutated seeds. The claims are the fuzz
//! target's (`fuzz/src/http_head.rs`): cuts never matter; what is accepted is written so that it reads the same
//! again, framing included, and without any hop-by-hop field.

use proptest::prelude::*;

#[path = "../../../fuzz/src/http_head.rs"]
pub mod http_head;
#[path = "../../../fuzz/src/smoke.rs"]
pub mod smoke;

#[test]
fn claims_hold_for_mutated_seeds() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/http_head");
    smoke::smoke(seeds.as_ref(), 10_000, http_head::run);
}

fn field() -> impl Strategy<Value = String> {
    let options =
        "((close|keep-alive|upgrade|TE|x-a|x-b|expect|traceparent|x-forwarded-for)(, ?)?){1,4}";
    prop_oneof![
        "(x-[a-d]|Accept|Cookie): ?[ -~]{0,20}",
        options.prop_map(|options| format!("Connection: {options}")),
        "(keep-alive|proxy-connection|http2-settings|proxy-authorization|te): (trailers|x)",
        "upgrade: (websocket|h2c|foo/2)",
        "x-forwarded-(for|proto|host|x): [a-z0-9.]{0,9}",
        "traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
        "expect: 100-continue",
        "content-length: [0-9]{1,3}",
        Just("Transfer-Encoding: chunked".to_owned()),
    ]
}

fn message(line: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (
        line,
        prop::collection::vec(field(), 0..8),
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(line, fields, rest)| {
            let mut bytes = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n")).into_bytes();
            if fields.is_empty() {
                bytes.truncate(bytes.len() - 2);
            }
            bytes.extend_from_slice(&rest);
            bytes
        })
}

proptest! {
    #[test]
    fn claims_hold_for_generated_requests(
        bytes in message(
            "(GET|HEAD|POST|OPTIONS|FOO) (/[!-~]{0,9}|\\*|http://a(/[a-z]?|)(\\?[a-z]|)) HTTP/1\\.[01]\r\nHost: a"
        ),
    ) {
        http_head::run(&bytes);
    }

    #[test]
    fn claims_hold_for_generated_responses(
        bytes in message("HTTP/1\\.[01] (100|101|103|200|204|304|426|503)( [ -~]{0,9})?"),
    ) {
        http_head::run(&bytes);
    }
}
