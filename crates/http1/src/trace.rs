//! The `traceparent` field of W3C Trace Context: is it valid, and how one is begun.

use crate::syntax::push_hex;

/// The random bytes a new trace is named by. They are an argument, because randomness is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSeed {
    /// Names the whole trace.
    pub trace_id: [u8; 16],
    /// Names our own span, the parent of whatever the endpoint does.
    pub span_id: [u8; 8],
}

impl TraceSeed {
    /// Appends `00-<trace>-<span>-01`. Sampled, because a reader that follows its parent would
    /// otherwise record nothing of a trace that we merely began. All zeros are no valid id: one bit
    /// is set then.
    pub fn push(mut self, out: &mut Vec<u8>) {
        for id in [&mut self.trace_id[..], &mut self.span_id[..]] {
            if id.iter().all(|&byte| byte == 0) {
                id[0] = 1;
            }
        }
        out.extend_from_slice(b"00-");
        push_hex(out, &self.trace_id);
        out.push(b'-');
        push_hex(out, &self.span_id);
        out.extend_from_slice(b"-01");
    }
}

/// Whether a `traceparent` value is to be passed on (W3C Trace Context §3.2.2): version 00 exactly,
/// a later version with possibly more behind another dash, never version ff nor an id of zeros.
#[must_use]
pub fn is_valid_traceparent(value: &[u8]) -> bool {
    let Some((known, rest)) = value.split_at_checked(55) else {
        return false;
    };
    let hex = |range: std::ops::Range<usize>| {
        known[range]
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |range: std::ops::Range<usize>| known[range].iter().all(|&byte| byte == b'0');
    let version = &known[..2];
    let tail_fits = if version == b"00" {
        rest.is_empty()
    } else {
        matches!(rest, [] | [b'-', ..])
    };
    hex(0..2)
        && version != b"ff"
        && [2, 35, 52].iter().all(|&dash| known[dash] == b'-')
        && (hex(3..35) && !zero(3..35))
        && (hex(36..52) && !zero(36..52))
        && hex(53..55)
        && tail_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_w3c_values_are_passed_on() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_valid_traceparent(GOOD.as_bytes()));
        assert!(is_valid_traceparent(
            b"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"
        ));
        for bad in [
            "",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!is_valid_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_begun_trace_is_valid_even_from_zeros() {
        for byte in [0, 7, 255] {
            let mut out = Vec::new();
            TraceSeed {
                trace_id: [byte; 16],
                span_id: [byte; 8],
            }
            .push(&mut out);
            assert!(is_valid_traceparent(&out));
        }
    }
}
