//! What a request is for: the forms of a request target (RFC 9112 §3.2) and the authority (RFC 9110 §7.2).

use std::net::Ipv6Addr;

use crate::Reject;
use crate::head::Span;
use crate::request::Method;

/// A host and perhaps a port, as `Host` and absolute targets carry them: a narrow subset of RFC 3986
/// without userinfo, percent-encoding or sub-delimiters, which no name that we can route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    text: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// # Errors
    /// [`Reject::HostInvalid`] for anything else.
    pub fn parse(text: &'a str) -> Result<Self, Reject> {
        let (host, port) = split(text).ok_or(Reject::HostInvalid)?;
        Ok(Self { text, host, port })
    }

    /// The whole of it, as received.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host in its received case; an IPv6 address keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &'a str {
        self.host
    }

    /// The port, where one was written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let host_length = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, port) = text.split_at(host_length);
    let host_fits = match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_host_byte),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
    };
    host_fits.then_some((host, port))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The form a target was written in. Spans are within the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/path?query`
    Origin,
    /// `*`, of OPTIONS.
    Asterisk,
    /// `http://authority/path?query`; `rest` may be empty or begin with `?`.
    Absolute { authority: Span, rest: Span },
}

/// Finds a target's form; only OPTIONS may ask for `*`.
pub(crate) fn form(target: &str, method: Method) -> Result<Form, Reject> {
    // `httparse` lets no space and no control byte pass.
    if !target.is_ascii() || target.contains('#') {
        return Err(Reject::TargetByte);
    }
    if target.starts_with('/') {
        return Ok(Form::Origin);
    }
    if target == "*" && method == Method::Options {
        return Ok(Form::Asterisk);
    }
    let begin = scheme_length(target).ok_or(Reject::TargetForm)?;
    let end = target[begin..]
        .find(['/', '?'])
        .map_or(target.len(), |at| begin + at);
    Authority::parse(&target[begin..end]).map_err(|_| Reject::TargetAuthority)?;
    Ok(Form::Absolute {
        authority: Span::new(begin, end),
        rest: Span::new(end, target.len()),
    })
}

fn scheme_length(target: &str) -> Option<usize> {
    ["http://", "https://"]
        .into_iter()
        .find(|scheme| {
            target
                .get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .map(str::len)
}
