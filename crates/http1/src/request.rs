//! Request heads: parsed, judged, and (in `write`) written for the endpoint.

mod write;

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

pub use write::{RequestEdits, Scheme, Trust};

use crate::framing::{self, Framing, Persistence};
use crate::head::{Head, Kind, Options, Parsed, Span, Version};
use crate::limits::FIELDS_CAP;
use crate::response::Asked;
use crate::syntax::list;
use crate::target::{self, Authority, Form};
use crate::{Limits, Reject, trace};

/// A request's method, by what a proxy must know of it. Its name is
/// [`RequestHead::method_name`]; names are case-sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// DELETE
    Delete,
    /// GET
    Get,
    /// HEAD: its response has no body.
    Head,
    /// OPTIONS
    Options,
    /// Any other token.
    Other,
    /// PATCH
    Patch,
    /// POST
    Post,
    /// PUT
    Put,
    /// TRACE
    Trace,
}

impl Method {
    fn of(name: &str) -> Result<Self, Reject> {
        const NAME_BYTES_MAX: usize = 32;
        Ok(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "TRACE" => Self::Trace,
            "CONNECT" => return Err(Reject::Connect),
            _ if name.len() > NAME_BYTES_MAX => return Err(Reject::MethodTooLong),
            _ => Self::Other,
        })
    }

    /// Whether sending it twice means the same as once (RFC 9110 §9.2.2), so that it may be retried.
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Delete | Self::Get | Self::Head | Self::Options | Self::Put | Self::Trace => true,
            Self::Other | Self::Patch | Self::Post => false,
        }
    }
}

/// Whether a request offers to leave HTTP (RFC 9110 §7.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// It does not, or in a way that we ignore: by HTTP/1.0, with a body, without
    /// `Connection: upgrade`, or to another HTTP or to TLS, which would pass by us unread.
    None,
    /// It does, and the endpoint may answer 101. Until it answered, nothing behind the head may be
    /// sent on.
    Offered,
}

/// Whether the client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expectation {
    /// It does not wait.
    None,
    /// It waits; the head we write repeats the expectation, and the endpoint answers it.
    Continue,
}

/// A request's head, found to be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    head: Head,
    method: Method,
    method_name: Span,
    target: Span,
    form: Form,
    authority: Option<Span>,
    version: Version,
    framing: Framing,
    persistence: Persistence,
    upgrade: Upgrade,
    expectation: Expectation,
}

/// Reads a request's head from the bytes that a connection has delivered so far. One empty line before
/// it is skipped (and counted in the length).
///
/// # Errors
/// The first thing that is wrong; it is found as early as the bytes that show it are there.
pub fn parse(buf: &[u8], limits: &Limits) -> Result<Parsed<RequestHead>, Reject> {
    let skipped = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    let rest = &buf[skipped..];
    let (window, too_long) = window(rest, limits);
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_CAP];
    let slots = &mut slots[..limits.fields_max.min(FIELDS_CAP)];
    let mut found = httparse::Request::new(&mut []);
    match found.parse_with_uninit_headers(window, slots) {
        Ok(httparse::Status::Partial) => too_long.map_or(Ok(Parsed::Incomplete), Err),
        Ok(httparse::Status::Complete(length)) => {
            let head = RequestHead::new(&rest[..length], &found, limits)?;
            Ok(Parsed::Head {
                head,
                length: skipped + length,
            })
        }
        Err(error) => Err(reject(error, &found, window)),
    }
}

/// The bytes to parse, and what is wrong if they are not enough: a line, then a head, may not grow
/// beyond its bound.
fn window<'a>(rest: &'a [u8], limits: &Limits) -> (&'a [u8], Option<Reject>) {
    let (line_max, head_max) = (
        limits.line_bytes_max as usize,
        limits.head_bytes_max as usize,
    );
    match rest.get(..line_max) {
        Some(line) if !line.contains(&b'\n') => (line, Some(Reject::LineTooLong)),
        _ => match rest.get(..head_max) {
            Some(head) => (head, Some(Reject::HeadTooLong)),
            None => (rest, None),
        },
    }
}

fn reject(error: httparse::Error, found: &httparse::Request<'_, '_>, window: &[u8]) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::FieldName,
        httparse::Error::HeaderValue => Reject::FieldValue,
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::NewLine if found.method.is_none() => Reject::EmptyLines,
        httparse::Error::NewLine | httparse::Error::Status => Reject::LineEnd,
        httparse::Error::Token if found.method.is_none() => Reject::Method,
        httparse::Error::Token => Reject::TargetByte,
        httparse::Error::Version => {
            let after = found
                .path
                .map(|path| Span::of(path.as_bytes(), window).end() + 1);
            match after.and_then(|after| window.get(after..)) {
                Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]) => Reject::Version,
                _ => Reject::VersionSyntax,
            }
        }
    }
}

impl RequestHead {
    fn new(raw: &[u8], found: &httparse::Request<'_, '_>, limits: &Limits) -> Result<Self, Reject> {
        let method = found.method.ok_or(Reject::Method)?;
        let target = found.path.ok_or(Reject::TargetForm)?;
        let method_name = Span::of(method.as_bytes(), raw);
        if method_name.start() != 0 {
            return Err(Reject::EmptyLines);
        }
        let mut head = Head::new(raw, found.headers)?;
        let version = match found.version {
            Some(0) => Version::Http10,
            _ => Version::Http11,
        };
        let method = Method::of(method)?;
        let form = target::form(target, method)?;
        let target = Span::of(target.as_bytes(), raw);
        let authority = authority(&head, version, form, target)?;
        let framing = framing::declared(&head, version)?;
        if matches!(framing, Framing::Length(length) if length > limits.body_bytes_max) {
            return Err(Reject::BodyTooLarge);
        }
        let options = head.connection_options()?;
        Ok(Self {
            method,
            method_name,
            target,
            form,
            authority,
            version,
            framing,
            persistence: Persistence::of(version, options),
            upgrade: upgrade(&head, version, framing, options),
            expectation: expectation(&head, version, framing)?,
            head,
        })
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method's name, as received.
    #[must_use]
    pub fn method_name(&self) -> &str {
        self.method_name.text(&self.head.raw)
    }

    /// The request target, as received.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.text(&self.head.raw)
    }

    /// The path that is asked for, without a query: it begins with `/`, or is `*`. Neither decoded nor
    /// normalised.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.rest().split('?').next() {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    /// What stands behind the `?`, where there is one.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.rest().split_once('?').map(|(_, query)| query)
    }

    /// The target without scheme and authority.
    fn rest(&self) -> &str {
        match self.form {
            Form::Origin | Form::Asterisk => self.target(),
            Form::Absolute { rest, .. } => rest.text(self.target().as_bytes()),
        }
    }

    /// Whom the request is addressed to; only an HTTP/1.0 request may leave it out.
    #[must_use]
    pub fn authority(&self) -> Option<Authority<'_>> {
        let text = self.authority?.text(&self.head.raw);
        Some(Authority::parse(text).expect("checked when the head was parsed"))
    }

    /// The version that the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where the request ends; never [`Framing::UntilClose`].
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client's connection may go on after this exchange.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Whether the client offers to leave HTTP.
    #[must_use]
    pub fn upgrade(&self) -> Upgrade {
        self.upgrade
    }

    /// Whether the client waits for a 100 before it sends the body.
    #[must_use]
    pub fn expectation(&self) -> Expectation {
        self.expectation
    }

    /// The `traceparent` that is passed on: the only one, and valid.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        let mut all = self.head.all(Kind::Traceparent);
        let value = all
            .next()
            .filter(|value| trace::is_valid_traceparent(value))?;
        if all.next().is_some() {
            None
        } else {
            str::from_utf8(value).ok()
        }
    }

    /// All fields, as received: names and values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.pairs()
    }

    /// The fields that another protocol passes on: none that is hop-by-hop, frames the message, or is
    /// `Host`.
    pub fn end_to_end_fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.end_to_end()
    }

    /// Whether the client takes trailers: `TE: trailers`.
    #[must_use]
    pub fn takes_trailers(&self) -> bool {
        let trailers = |te: &[u8]| te.eq_ignore_ascii_case(b"trailers");
        self.head.all(Kind::Te).flat_map(list).any(trailers)
    }

    /// What must be remembered to read this request's response.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked::new(self.method, self.upgrade)
    }
}

/// Exactly one valid `Host` (RFC 9112 §3.2), the same as the target's authority where that has one.
fn authority(
    head: &Head,
    version: Version,
    form: Form,
    target: Span,
) -> Result<Option<Span>, Reject> {
    let mut hosts = head.fields.iter().filter(|field| field.kind == Kind::Host);
    let host = hosts.next().map(|field| field.value);
    if hosts.next().is_some() {
        return Err(Reject::HostRepeated);
    }
    let asked = match form {
        Form::Origin | Form::Asterisk => None,
        Form::Absolute { authority, .. } => Some(authority.shifted(target.start())),
    };
    let Some(host) = host else {
        return if version == Version::Http10 {
            Ok(asked)
        } else {
            Err(Reject::HostMissing)
        };
    };
    let text = host.bytes(&head.raw);
    Authority::parse(str::from_utf8(text).map_err(|_| Reject::HostInvalid)?)?;
    match asked {
        Some(asked) if !asked.bytes(&head.raw).eq_ignore_ascii_case(text) => {
            Err(Reject::HostDiffers)
        }
        Some(_) | None => Ok(Some(host)),
    }
}

fn upgrade(head: &Head, version: Version, framing: Framing, options: Options) -> Upgrade {
    let bodiless = matches!(framing, Framing::None | Framing::Length(0));
    if version == Version::Http10 || !options.upgrade || !bodiless {
        return Upgrade::None;
    }
    let mut protocols = head.all(Kind::Upgrade).flat_map(list).peekable();
    if protocols.peek().is_some() && protocols.all(passes_unread) {
        Upgrade::Offered
    } else {
        Upgrade::None
    }
}

/// A protocol that may run through us unread. Another HTTP may not: requests would reach the endpoint
/// without route, limit or record ("h2c smuggling").
fn passes_unread(protocol: &[u8]) -> bool {
    let name = protocol
        .split(|&byte| byte == b'/')
        .next()
        .unwrap_or_default();
    !["h2c", "h2", "h3", "http", "tls"]
        .iter()
        .any(|refused| name.eq_ignore_ascii_case(refused.as_bytes()))
}

/// An expectation without a body to wait with, or by HTTP/1.0, is to be ignored.
fn expectation(head: &Head, version: Version, framing: Framing) -> Result<Expectation, Reject> {
    if version == Version::Http10 {
        return Ok(Expectation::None);
    }
    let mut found = Expectation::None;
    for value in head.all(Kind::Expect) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reject::Expectation);
        }
        found = Expectation::Continue;
    }
    let bodiless = matches!(framing, Framing::None | Framing::Length(0));
    Ok(if bodiless { Expectation::None } else { found })
}
