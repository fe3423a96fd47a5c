//! Answers in an endpoint's place: a status and words, or what gRPC has for them.

use std::fmt::Write as _;
use std::time::Duration;

use ::bytes::Bytes;
use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use h2::server::SendResponse;

use super::head::is_grpc;
use crate::http::Refusal;

/// How a call wants to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// With a status, and words as the body.
    Plain,
    /// With a status alone.
    Bodiless,
    /// With `grpc-status` and `grpc-message` (PROTOCOL-HTTP2 of gRPC, "Trailers-Only").
    Grpc,
}

impl Manner {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        match *method {
            Method::HEAD => Self::Bodiless,
            Method::POST if is_grpc(headers) => Self::Grpc,
            _ => Self::Plain,
        }
    }

    /// Answers a call.
    pub(super) fn refuse(self, respond: &mut SendResponse<Bytes>, refusal: &Refusal) {
        let sent = match self {
            Self::Plain => {
                let body = Bytes::from(format!("{}\n", refusal.words));
                let head = respond.send_response(plain(refusal, body.len()), false);
                head.and_then(|mut stream| stream.send_data(body, true))
            }
            Self::Bodiless => {
                let length = refusal.words.len() + 1;
                respond
                    .send_response(plain(refusal, length), true)
                    .map(drop)
            }
            Self::Grpc => respond.send_response(grpc(refusal), true).map(drop),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "the caller went away before it was answered");
        }
    }
}

fn plain(refusal: &Refusal, length: usize) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The statuses of gRPC that we give, by the table of its http-grpc-status-mapping.
fn grpc(refusal: &Refusal) -> Response<()> {
    let status = match refusal.status {
        400 => "13",
        404 => "12",
        408 => "4",
        _ => "14",
    };
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(status));
    let message = HeaderValue::from_str(&percent(&refusal.words));
    headers.insert(
        "grpc-message",
        message.unwrap_or(HeaderValue::from_static("")),
    );
    response
}

/// As `grpc-message` wants it: printable ASCII but for `%`, the rest as `%XX`.
fn percent(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for byte in words.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            // A String takes every write.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

/// How long the caller of a gRPC call waits for it (`grpc-timeout`).
pub(super) fn patience(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_at_most_eight_digits_and_a_unit() {
        let patience = |text: &'static str| {
            let value = HeaderValue::from_static(text);
            patience(&HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                value,
            )]))
        };
        assert_eq!(patience("250m"), Some(Duration::from_millis(250)));
        assert_eq!(patience("2H"), Some(Duration::from_secs(7200)));
        for wrong in ["", "m", "1", "123456789S", "-1S", "1x"] {
            assert_eq!(patience(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn words_are_encoded_for_grpc() {
        assert_eq!(percent("50% of ä\n"), "50%25 of %C3%A4%0A");
    }
}
