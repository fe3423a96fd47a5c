//! Where a message ends (RFC 9112 §6.3) and whether its connection goes on (§9.3).

use crate::Reject;
use crate::head::{Head, Kind, Options, Version};
use crate::syntax::decimal;

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, a last chunk, trailers.
    Chunked,
    /// It ends with the connection; only a response can.
    UntilClose,
}

/// Whether a connection serves another exchange after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It does.
    Persist,
    /// It is closed.
    Close,
}

impl Persistence {
    /// What a message of this version and these connection options says.
    pub(crate) fn of(version: Version, options: Options) -> Self {
        match version {
            _ if options.close => Self::Close,
            Version::Http10 if !options.keep_alive => Self::Close,
            Version::Http10 | Version::Http11 => Self::Persist,
        }
    }
}

/// The framing that a head's fields declare; [`Framing::None`] when they declare nothing.
pub(crate) fn declared(head: &Head, version: Version) -> Result<Framing, Reject> {
    if head.all(Kind::Lookalike).next().is_some() {
        return Err(Reject::FramingLookalike);
    }
    let mut lengths = head.all(Kind::ContentLength);
    let mut codings = head.all(Kind::TransferEncoding);
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Reject::LengthAndCoding),
        (Some(length), None) => {
            if lengths.next().is_some() || length.contains(&b',') {
                return Err(Reject::ContentLengthRepeated);
            }
            decimal(length)
                .map(Framing::Length)
                .ok_or(Reject::ContentLength)
        }
        (None, Some(coding)) => {
            if version == Version::Http10 {
                return Err(Reject::CodingInHttp10);
            }
            if codings.next().is_some() {
                return Err(Reject::Coding);
            }
            chunked(coding)
        }
    }
}

fn chunked(coding: &[u8]) -> Result<Framing, Reject> {
    const CHUNKED: &[u8] = b"chunked";
    if coding.eq_ignore_ascii_case(CHUNKED) {
        return Ok(Framing::Chunked);
    }
    let is_chunked = |element: &[u8]| element.trim_ascii().eq_ignore_ascii_case(CHUNKED);
    let mut elements = coding.rsplit(|&byte| byte == b',');
    let last_only = elements.next().is_some_and(is_chunked) && !elements.any(is_chunked);
    Err(if last_only {
        Reject::CodingUnsupported
    } else {
        Reject::Coding
    })
}

/// Appends the one canonical field that declares `framing`.
pub(crate) fn push_declared(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            crate::syntax::push_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
    }
}
