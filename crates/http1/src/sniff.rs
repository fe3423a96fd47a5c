//! Does a connection speak HTTP? Told from its first bytes, as early as they show it.

use crate::syntax::is_token_byte;

/// What a connection's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sniff {
    /// A whole request line of HTTP/1.x.
    Http1,
    /// The whole preface of HTTP/2 (RFC 9113 §3.4): it is spoken with prior knowledge.
    Http2,
    /// Whatever follows, it will become neither.
    Neither,
    /// It may still become one of the two.
    More,
}

/// Looks at all the bytes that a connection has delivered so far.
///
/// Only `METHOD target HTTP/1.x` with CR LF counts for HTTP/1.x. So redis' inline `GET key`, mail and
/// TLS are told apart; what shows no line end within 8 KiB is not HTTP/1.x either.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniff {
    const LINE_BYTES_MAX: usize = 8 * 1024;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if bytes.starts_with(PREFACE) {
        return Sniff::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Sniff::More;
    }
    match line(bytes) {
        Some(false) => Sniff::Neither,
        Some(true) => Sniff::Http1,
        None if bytes.len() >= LINE_BYTES_MAX => Sniff::Neither,
        None => Sniff::More,
    }
}

/// Whether the bytes begin with a request line; none while that is open.
fn line(bytes: &[u8]) -> Option<bool> {
    const METHOD_BYTES_MAX: usize = 32;
    let method = bytes
        .iter()
        .take_while(|&&byte| is_token_byte(byte))
        .count();
    if method > METHOD_BYTES_MAX {
        return Some(false);
    }
    let rest = match bytes.get(method..)? {
        [] => return None,
        [b' ', rest @ ..] if method > 0 => rest,
        _ => return Some(false),
    };
    let target = rest
        .iter()
        .take_while(|byte| byte.is_ascii_graphic())
        .count();
    let (target, rest) = rest.split_at(target);
    let rest = match rest {
        [] => return None,
        [b' ', rest @ ..] if is_target(&bytes[..method], target) => rest,
        _ => return Some(false),
    };
    let fits = rest
        .iter()
        .zip(b"HTTP/1.x\r\n")
        .all(|(&byte, &wanted)| match wanted {
            b'x' => byte.is_ascii_digit(),
            wanted => byte == wanted,
        });
    match fits {
        true if rest.len() < "HTTP/1.x\r\n".len() => None,
        fits => Some(fits),
    }
}

/// Roughly one of the four forms: enough to know `SET key HTTP/1.1` for what it is.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    target.starts_with(b"/")
        || target == b"*"
        || target.windows(3).any(|three| three == b"://")
        || (method == b"CONNECT" && target.contains(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_line_is_http_and_each_of_its_beginnings_may_be() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "CONNECT a:443 HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.1\r\n",
            "get /a?b=|c HTTP/1.9\r\n",
        ] {
            for cut in 0..line.len() {
                assert_eq!(
                    sniff(&line.as_bytes()[..cut]),
                    Sniff::More,
                    "{line:?} cut at {cut}"
                );
            }
            assert_eq!(sniff(line.as_bytes()), Sniff::Http1, "{line:?}");
            assert_eq!(
                sniff(&[line.as_bytes(), b"\0\xff"].concat()),
                Sniff::Http1,
                "{line:?}"
            );
        }
    }

    #[test]
    fn other_protocols_are_known_by_the_first_byte_that_gives_them_away() {
        for (bytes, at) in [
            (&b"GET foo\r\n"[..], 8),
            (b"GET foo HTTP/1.1\r\n", 8),
            (b"PING\r\n", 5),
            (b"*1\r\n$4\r\nPING\r\n", 3),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", 24),
            (b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", 14),
            (b"\x16\x03\x01\x02\x00\x01", 1),
            (b"\r\nGET / HTTP/1.1\r\n", 1),
            (b" GET / HTTP/1.1\r\n", 1),
            (b"GET  / HTTP/1.1\r\n", 5),
            (b"GET /  HTTP/1.1\r\n", 7),
            (b"GET / HTTP/1.1\n", 15),
            (b"GET / HTTP/1.1 \r\n", 15),
            (b"GET /\xc3\xa4 HTTP/1.1\r\n", 6),
            (b"GET /\r\n", 6),
            (b"HTTP/1.1 200 OK\r\n", 5),
            (b"EHLO mail.example.com\r\n", 22),
        ] {
            assert_eq!(
                sniff(&bytes[..at - 1]),
                Sniff::More,
                "{}",
                bytes.escape_ascii()
            );
            assert_eq!(
                sniff(&bytes[..at]),
                Sniff::Neither,
                "{}",
                bytes.escape_ascii()
            );
            assert_eq!(sniff(bytes), Sniff::Neither, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_preface_is_http_2_and_each_of_its_beginnings_may_be() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        for cut in 0..preface.len() {
            assert_eq!(sniff(&preface[..cut]), Sniff::More, "cut at {cut}");
        }
        assert_eq!(sniff(&[preface, &b"\0\0\0\x04"[..]].concat()), Sniff::Http2);
        assert_eq!(sniff(b"PRI * HTTP/1.1\r\n"), Sniff::Http1);
    }

    #[test]
    fn neither_a_method_nor_a_line_is_waited_for_forever() {
        assert_eq!(sniff(&[b'A'; 32]), Sniff::More);
        assert_eq!(sniff(&[b'A'; 33]), Sniff::Neither);
        let line = [b"GET /", &[b'a'; 8 * 1024][..]].concat();
        assert_eq!(sniff(&line[..8 * 1024 - 1]), Sniff::More);
        assert_eq!(sniff(&line), Sniff::Neither);
    }
}
