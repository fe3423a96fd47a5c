//! Response heads: parsed in the light of their request, and (in `write`) written for the client.

mod write;

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

pub use write::{Relay, RelayBody, ResponseEdits};

use crate::framing::{self, Framing, Persistence};
use crate::head::{Head, Kind, Options, Parsed, Span, Version};
use crate::limits::FIELDS_CAP;
use crate::request::{Method, Upgrade};
use crate::{Limits, Reject};

/// What a response answers; without it nobody can tell where the response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    method: Method,
    upgrade: Upgrade,
    interim_seen: u16,
}

impl Asked {
    /// A request of this method, with or without the offer of an upgrade.
    #[must_use]
    pub fn new(method: Method, upgrade: Upgrade) -> Self {
        Self {
            method,
            upgrade,
            interim_seen: 0,
        }
    }
}

/// What follows a response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// 1xx: another head follows. It is passed on, but never to a client of HTTP/1.0.
    Interim,
    /// 101: from here on the connection carries another protocol, both ways, until it closes.
    Switching,
    /// The answer itself; its body follows.
    Final,
}

/// A response's head, found to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    head: Head,
    status: u16,
    reason: Span,
    version: Version,
    role: Role,
    framing: Framing,
    declared: Framing,
    persistence: Persistence,
}

/// Reads a response's head from the bytes that an endpoint has delivered so far. After an interim head,
/// parse again behind it with the same `asked`, which counts them.
///
/// # Errors
/// The first thing that is wrong. Whatever it is, the client is answered with 502.
pub fn parse(
    buf: &[u8],
    asked: &mut Asked,
    limits: &Limits,
) -> Result<Parsed<ResponseHead>, Reject> {
    let window = buf.get(..limits.head_bytes_max as usize);
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_CAP];
    let slots = &mut slots[..limits.fields_max.min(FIELDS_CAP)];
    let mut found = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut found, window.unwrap_or(buf), slots) {
        Ok(httparse::Status::Partial) if window.is_some() => Err(Reject::HeadTooLong),
        Ok(httparse::Status::Partial) => Ok(Parsed::Incomplete),
        Ok(httparse::Status::Complete(length)) => {
            let head = ResponseHead::new(&buf[..length], &found, *asked)?;
            if head.role == Role::Interim {
                asked.interim_seen += 1;
                if asked.interim_seen > limits.interim_max {
                    return Err(Reject::TooManyInterim);
                }
            }
            Ok(Parsed::Head { head, length })
        }
        Err(error) => Err(reject(error, found.code)),
    }
}

fn reject(error: httparse::Error, code: Option<u16>) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::FieldName,
        httparse::Error::HeaderValue => Reject::FieldValue,
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::NewLine if code.is_some() => Reject::LineEnd,
        httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => Reject::StatusLine,
    }
}

impl ResponseHead {
    fn new(raw: &[u8], found: &httparse::Response<'_, '_>, asked: Asked) -> Result<Self, Reject> {
        if !raw.starts_with(b"HTTP/1.") {
            return Err(Reject::StatusLine);
        }
        let status = found
            .code
            .filter(|&code| code >= 100)
            .ok_or(Reject::StatusLine)?;
        let version = match found.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let mut head = Head::new(raw, found.headers)?;
        let declared = framing::declared(&head, version)?;
        let options = head.connection_options()?;
        let role = role(&head, status, asked, options)?;
        let framing = framing(status, declared, asked.method)?;
        let persistence = match framing {
            Framing::UntilClose => Persistence::Close,
            Framing::None | Framing::Length(_) | Framing::Chunked => {
                Persistence::of(version, options)
            }
        };
        let reason = reason(&head);
        Ok(Self {
            head,
            status,
            reason,
            version,
            role,
            framing,
            declared,
            persistence,
        })
    }

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The version that the endpoint speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What follows this head.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where the response ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the endpoint's connection may go on after this exchange.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// All fields, as received: names and values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.pairs()
    }

    /// The fields that another protocol passes on: none that is hop-by-hop or frames the message.
    pub fn end_to_end_fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.end_to_end()
    }

    /// The length that it declares; where [`ResponseHead::framing`] is none, of a body not sent.
    #[must_use]
    pub fn declared_length(&self) -> Option<u64> {
        match self.declared {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked | Framing::UntilClose => None,
        }
    }
}

fn role(head: &Head, status: u16, asked: Asked, options: Options) -> Result<Role, Reject> {
    match status {
        101 => {
            let named = options.upgrade && head.all(Kind::Upgrade).any(|value| !value.is_empty());
            if named && asked.upgrade == Upgrade::Offered {
                Ok(Role::Switching)
            } else {
                Err(Reject::Switch)
            }
        }
        100..=199 => Ok(Role::Interim),
        _ => Ok(Role::Final),
    }
}

/// RFC 9112 §6.3, for responses.
fn framing(status: u16, declared: Framing, method: Method) -> Result<Framing, Reject> {
    match (status, declared) {
        // An endpoint that sends a body there after all would have it read as its next response.
        (100..=199 | 204, Framing::Chunked | Framing::Length(1..)) => Err(Reject::BodyAnnounced),
        (100..=199 | 204 | 304, _) => Ok(Framing::None),
        _ if method == Method::Head => Ok(Framing::None),
        (_, Framing::None) => Ok(Framing::UntilClose),
        (_, declared) => Ok(declared),
    }
}

/// The place of the reason phrase: all that stands behind `HTTP/1.x NNN `.
fn reason(head: &Head) -> Span {
    let end = head.fields_start() - 2;
    Span::new("HTTP/1.1 200 ".len().min(end), end)
}
