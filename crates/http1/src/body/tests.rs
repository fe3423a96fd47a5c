//! Bodies by example, and by property: the end is found wherever the input is cut.

use proptest::prelude::*;

use super::*;

/// Feeds `input` in pieces of the given lengths, over and over; returns payload, bytes consumed, state.
fn decode(
    framing: Framing,
    input: &[u8],
    lengths: &[usize],
    limits: &Limits,
) -> Result<(Vec<u8>, usize, State), Reject> {
    let mut decoder = Decoder::new(framing, limits);
    let (mut payload, mut consumed) = (Vec::new(), 0);
    for &length in lengths.iter().cycle() {
        let mut rest = &input[consumed..input.len().min(consumed + length)];
        while !rest.is_empty() {
            let piece = decoder.piece(rest)?;
            payload.extend_from_slice(&rest[piece.payload]);
            consumed += piece.consumed;
            rest = &rest[piece.consumed..];
            if piece.state == State::Done {
                return Ok((payload, consumed, State::Done));
            }
        }
        if consumed == input.len() {
            break;
        }
    }
    Ok((payload, consumed, decoder.state()))
}

fn chunked(input: &str) -> Result<(String, usize, State), Reject> {
    let whole = decode(
        Framing::Chunked,
        input.as_bytes(),
        &[usize::MAX >> 1],
        &Limits::default(),
    );
    let bytewise = decode(Framing::Chunked, input.as_bytes(), &[1], &Limits::default());
    assert_eq!(whole, bytewise, "{input:?}");
    let mut decoder = Decoder::new(Framing::Chunked, &Limits::default());
    let advanced = decoder.advance(input.as_bytes());
    assert_eq!(
        advanced,
        whole
            .as_ref()
            .map_err(|&reject| reject)
            .map(|&(_, consumed, state)| Advanced { consumed, state })
    );
    whole.map(|(payload, consumed, state)| (String::from_utf8(payload).unwrap(), consumed, state))
}

#[test]
fn a_length_ends_after_so_many_bytes_and_leaves_the_next_message() {
    let mut decoder = Decoder::new(Framing::Length(5), &Limits::default());
    assert_eq!(
        decoder.advance(b"abc"),
        Ok(Advanced {
            consumed: 3,
            state: State::More
        })
    );
    assert_eq!(decoder.finish(), Err(Reject::BodyTruncated));
    assert_eq!(
        decoder.advance(b"deGET"),
        Ok(Advanced {
            consumed: 2,
            state: State::Done
        })
    );
    assert_eq!(
        decoder.advance(b"GET"),
        Ok(Advanced {
            consumed: 0,
            state: State::Done
        })
    );
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn no_body_is_done_before_its_first_byte() {
    for framing in [Framing::None, Framing::Length(0)] {
        assert_eq!(
            Decoder::new(framing, &Limits::default()).state(),
            State::Done
        );
    }
}

#[test]
fn a_body_until_close_ends_with_the_connection() {
    let mut decoder = Decoder::new(Framing::UntilClose, &Limits::default());
    assert_eq!(
        decoder.advance(b"abc"),
        Ok(Advanced {
            consumed: 3,
            state: State::More
        })
    );
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn rfc9112_7_1_chunks_extensions_and_trailers_pass() {
    for (input, payload) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0005\r\nhello\r\n000\r\n\r\n", "hello"),
        (
            "a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n",
            "0123456789abcdefghij",
        ),
        ("5;a\r\nhello\r\n0;b=\"c; d\"\r\n\r\n", "hello"),
        (
            "5\r\nhello\r\n0\r\nX-Sum:\t1 2\r\ngrpc-status: 0\r\nEmpty:\r\n\r\n",
            "hello",
        ),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    ] {
        let next = format!("{input}GET");
        assert_eq!(
            chunked(&next),
            Ok((payload.to_owned(), input.len(), State::Done)),
            "{input:?}"
        );
        for cut in 0..input.len() {
            assert_eq!(
                chunked(&input[..cut]).map(|found| found.2),
                Ok(State::More),
                "{input:?} {cut}"
            );
        }
    }
}

#[test]
fn rfc9112_7_1_every_doubtful_byte_of_the_framing_is_refused() {
    for (input, reject) in [
        ("\r\n0\r\n\r\n", Reject::ChunkSize),
        (";a\r\n", Reject::ChunkSize),
        ("x\r\n", Reject::ChunkSize),
        ("+5\r\n", Reject::ChunkSize),
        ("-5\r\n", Reject::ChunkSize),
        ("0x5\r\n", Reject::ChunkSize),
        (" 5\r\n", Reject::ChunkSize),
        ("5 \r\n", Reject::ChunkSize),
        ("5 ;a\r\n", Reject::ChunkSize),
        ("5\t\r\n", Reject::ChunkSize),
        ("5_0\r\n", Reject::ChunkSize),
        ("5\nhello\r\n", Reject::ChunkLineEnd),
        ("5\rhello\r\n", Reject::ChunkLineEnd),
        ("5\r\r\nhello\r\n", Reject::ChunkLineEnd),
        ("5\r\nhelloworld\r\n", Reject::ChunkLineEnd),
        ("5\r\nhello\n0\r\n", Reject::ChunkLineEnd),
        ("5\r\nhello\r0\r\n", Reject::ChunkLineEnd),
        ("5;a\nhello", Reject::ChunkLineEnd),
        ("5;a\0\r\n", Reject::ChunkExtension),
        ("5;\u{e4}\r\n", Reject::ChunkExtension),
        ("5;a\rb\r\n", Reject::ChunkLineEnd),
        ("8000000000000000\r\n", Reject::ChunkSizeTooLarge),
        ("ffffffffffffffff\r\n", Reject::ChunkSizeTooLarge),
        ("10000000000000005\r\n", Reject::ChunkSizeTooLarge),
        ("00000000000000005\r\n", Reject::ChunkSizeTooLarge),
        ("0\r\n\n", Reject::ChunkLineEnd),
        ("0\r\n\rG", Reject::ChunkLineEnd),
        ("0\n\n", Reject::ChunkLineEnd),
        ("0\r\n a: b\r\n\r\n", Reject::TrailerName),
        ("0\r\n: b\r\n\r\n", Reject::TrailerName),
        ("0\r\na : b\r\n\r\n", Reject::TrailerName),
        ("0\r\na\r\n\r\n", Reject::TrailerName),
        ("0\r\na: b\r\n c\r\n\r\n", Reject::TrailerName),
        ("0\r\na\n", Reject::ChunkLineEnd),
        ("0\r\na: b\n\r\n", Reject::ChunkLineEnd),
        ("0\r\na: b\rc\r\n\r\n", Reject::ChunkLineEnd),
        ("0\r\na: b\0\r\n\r\n", Reject::TrailerValue),
        ("0\r\nContent-Length: 5\r\n\r\n", Reject::TrailerForbidden),
        (
            "0\r\ntransfer-encoding: chunked\r\n\r\n",
            Reject::TrailerForbidden,
        ),
        (
            "0\r\nTransfer_Encoding: chunked\r\n\r\n",
            Reject::TrailerForbidden,
        ),
        ("0\r\nHOST: a\r\n\r\n", Reject::TrailerForbidden),
        ("0\r\na: b\r\nHost: a\r\n\r\n", Reject::TrailerForbidden),
        ("0\r\na: b\x7f\r\n\r\n", Reject::TrailerValue),
        ("0\r\nAuthorization: a\r\n\r\n", Reject::TrailerForbidden),
        ("0\r\nTrailer: a\r\n\r\n", Reject::TrailerForbidden),
        ("0\r\nX-Forwarded-For: a\r\n\r\n", Reject::TrailerForbidden),
    ] {
        assert_eq!(chunked(input), Err(reject), "{input:?}");
    }
}

#[test]
fn extensions_trailers_and_payload_are_bounded_to_the_byte() {
    let limits = Limits {
        chunk_extension_bytes_max: 4,
        trailer_bytes_max: 5,
        body_bytes_max: 6,
        ..Limits::default()
    };
    let decode = |framing, input: &str| {
        decode(framing, input.as_bytes(), &[3], &limits).map(|found| found.2)
    };
    for (input, found) in [
        ("6;abcd\r\nabcdef\r\n0;abcd\r\na:b\r\n\r\n", Ok(State::Done)),
        ("6;abcde\r\n", Err(Reject::ChunkExtensionTooLong)),
        ("0\r\na:bcd\r\n", Err(Reject::TrailerTooLong)),
        ("0\r\na:\r\nb:\r\n", Err(Reject::TrailerTooLong)),
        ("7\r\n", Err(Reject::BodyTooLarge)),
        ("4\r\nabcd\r\n3\r\n", Err(Reject::BodyTooLarge)),
    ] {
        assert_eq!(decode(Framing::Chunked, input), found, "{input:?}");
    }
    assert_eq!(decode(Framing::UntilClose, "abcdef"), Ok(State::More));
    assert_eq!(
        decode(Framing::UntilClose, "abcdefg"),
        Err(Reject::BodyTooLarge)
    );
}

proptest! {
    #[test]
    fn any_payload_in_any_chunks_comes_out_however_the_input_is_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        trailer in prop::option::of("[a-z]{1,40}: [ -~]{0,20}"),
        cuts in prop::collection::vec(1_usize..50, 1..10),
        rest in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut raw = Vec::new();
        for chunk in &chunks {
            raw.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"0\r\n");
        if let Some(trailer) = trailer {
            raw.extend_from_slice(format!("x-{trailer}\r\n").as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        let length = raw.len();
        raw.extend_from_slice(&rest);
        let found = decode(Framing::Chunked, &raw, &cuts, &Limits::default());
        prop_assert_eq!(found, Ok((chunks.concat(), length, State::Done)));
    }

    #[test]
    fn any_bytes_give_the_same_result_however_they_are_cut(
        raw in "(0|5|a|\r\n|\r|\n|;| |x:|y){0,40}",
        cuts in prop::collection::vec(1_usize..7, 1..5),
    ) {
        let whole = decode(Framing::Chunked, raw.as_bytes(), &[raw.len().max(1)], &Limits::default());
        let cut = decode(Framing::Chunked, raw.as_bytes(), &cuts, &Limits::default());
        prop_assert_eq!(whole, cut);
    }
}

#[test]
fn trailer_fields_are_found_whatever_the_cut() {
    let body = b"3\r\nabc\r\n0\r\ngrpc-status: 0\r\nX-Sum:  7 \r\n\r\n";
    for cut in 0..body.len() {
        let mut decoder = Decoder::new(Framing::Chunked, &Limits::default());
        let mut lines = Vec::new();
        for part in [&body[..cut], &body[cut..]] {
            let mut rest = part;
            while !rest.is_empty() {
                let piece = decoder.piece(rest).unwrap();
                lines.extend_from_slice(&rest[piece.trailer]);
                rest = &rest[piece.consumed..];
            }
        }
        let found: Vec<_> = trailer_fields(&lines).collect();
        assert_eq!(
            found,
            [("grpc-status", &b"0"[..]), ("X-Sum", b"7")],
            "cut at {cut}"
        );
    }
    assert!(may_trail("grpc-message") && !may_trail("Content-Length") && !may_trail("cookie"));
}
