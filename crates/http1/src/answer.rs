//! Answers that we give ourselves: a status, and the reason in words.

use crate::Reject;
use crate::framing::{Framing, Persistence, push_declared};
use crate::request::Method;
use crate::syntax::push_decimal;

/// A short response with its reason as plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// Why, in words for the one who called; the body, before a line end.
    pub words: &'a str,
    /// After how many seconds to try again (RFC 9110 §10.2.3), where that is known.
    pub retry_after: Option<u32>,
    /// Whether the client's connection goes on.
    pub persistence: Persistence,
    /// What is answered: HEAD gets no body.
    pub method: Method,
}

impl Answer<'_> {
    /// To a head that could not be read, which also ends the connection. `words` is the reject's.
    #[must_use]
    pub fn refusing(reject: Reject) -> Vec<u8> {
        Answer {
            status: reject.status(),
            words: &reject.to_string(),
            retry_after: None,
            persistence: Persistence::Close,
            method: Method::Other,
        }
        .to_bytes()
    }

    /// The whole response, ready to send. Interim and bodiless statuses are not meant for this.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192 + self.words.len());
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(&mut out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: text/plain; charset=utf-8\r\n");
        push_declared(&mut out, Framing::Length(self.words.len() as u64 + 1));
        if let Some(seconds) = self.retry_after {
            out.extend_from_slice(b"Retry-After: ");
            push_decimal(&mut out, u64::from(seconds));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(match self.persistence {
            Persistence::Persist => b"Connection: keep-alive\r\n\r\n",
            Persistence::Close => b"Connection: close\r\n\r\n",
        });
        if self.method != Method::Head {
            out.extend_from_slice(self.words.as_bytes());
            out.push(b'\n');
        }
        out
    }
}

/// The phrase of RFC 9110 §15 (and RFC 6585) for a status we answer with.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Answer<'static> = Answer {
        status: 503,
        words: "rng is waking",
        retry_after: Some(2),
        persistence: Persistence::Persist,
        method: Method::Get,
    };

    #[test]
    fn an_answer_says_its_reason_and_when_to_come_back() {
        assert_eq!(
            String::from_utf8(BUSY.to_bytes()).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 14\r\nRetry-After: 2\r\nConnection: keep-alive\r\n\r\nrng is waking\n"
        );
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = Answer {
            method: Method::Head,
            ..BUSY
        }
        .to_bytes();
        assert!(bytes.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_refused_head_ends_the_connection() {
        let text = String::from_utf8(Answer::refusing(Reject::HostMissing)).unwrap();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(text.contains("Connection: close\r\n"));
        assert!(text.ends_with("the host field is missing\n"));
    }
}
