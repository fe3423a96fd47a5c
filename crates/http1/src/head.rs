//! What request and response heads have in common: fields by place and kind, strict line ends,
//! connection options.

use crate::syntax::{is_token, list};
use crate::{Limits, Reject};

/// The protocol version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// What the bytes so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The beginning of a head: read more.
    Incomplete,
    /// A whole head. It owns its bytes: the read buffer can let go of the first `length` ones.
    Head {
        /// The head.
        head: T,
        /// How many bytes of the input it took.
        length: usize,
    },
}

/// Whether parsing again can say anything new after the buffer grew from `seen` bytes. It spares a
/// head that trickles in from being parsed at every byte; asking at the first bytes always says yes.
#[must_use]
pub fn may_be_complete(buf: &[u8], seen: usize, limits: &Limits) -> bool {
    let crossed = |bound: u32| seen < bound as usize && bound as usize <= buf.len();
    if seen == 0 || crossed(limits.line_bytes_max) || buf.len() >= limits.head_bytes_max as usize {
        return true;
    }
    let new = buf.get(seen.saturating_sub(2)..).unwrap_or_default();
    let after_line = |at: usize| matches!(new[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    new.iter()
        .enumerate()
        .any(|(at, &byte)| byte == b'\n' && after_line(at))
}

/// A range of a head's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Offsets are below [`Limits::head_bytes_max`], which is a `u32`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// Where `part`, a slice of `whole`, lies in it.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Self::new(start, start + part.len())
    }

    pub(crate) fn shifted(self, by: usize) -> Self {
        Self {
            start: self.start + by as u32,
            end: self.end + by as u32,
        }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn bytes(self, raw: &[u8]) -> &[u8] {
        &raw[self.start()..self.end()]
    }

    /// Of bytes already found to be ASCII.
    pub(crate) fn text(self, raw: &[u8]) -> &str {
        str::from_utf8(self.bytes(raw)).expect("checked to be ASCII when the head was parsed")
    }
}

/// The fields that mean something to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connection,
    ContentLength,
    Expect,
    /// `Forwarded`, `X-Real-IP`, and every `X-Forwarded-…` that has no kind of its own.
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    Host,
    /// Hop-by-hop without a meaning of its own to us.
    Hop,
    /// `content_length`, `transfer_encoding`.
    Lookalike,
    Other,
    Te,
    Traceparent,
    Tracestate,
    TransferEncoding,
    Upgrade,
}

impl Kind {
    pub(crate) fn of(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            9 if is("forwarded") || is("x-real-ip") => Self::Forwarded,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::Hop,
            10 if is("tracestate") => Self::Tracestate,
            11 if is("traceparent") => Self::Traceparent,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Hop,
            14 if is("content_length") => Self::Lookalike,
            15 if is("x-forwarded-for") => Self::ForwardedFor,
            16 if is("proxy-connection") => Self::Hop,
            16 if is("x-forwarded-host") => Self::ForwardedHost,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::ForwardedProto,
            17 if imitates(name, b"transfer-encoding") => Self::Lookalike,
            18 if is("proxy-authenticate") => Self::Hop,
            19 if is("proxy-authorization") => Self::Hop,
            25 if is("proxy-authentication-info") => Self::Hop,
            12.. if imitates(&name[..12], b"x-forwarded-") => Self::Forwarded,
            _ => Self::Other,
        }
    }
}

/// Equal but for case and underscores, which CGI-like readers cannot tell from dashes.
fn imitates(name: &[u8], known: &[u8]) -> bool {
    let plain = |&byte: &u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.iter().map(plain).eq(known.iter().copied())
}

/// One field: its places in the head, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    /// Just behind its line's CR LF.
    pub(crate) line_end: u32,
    pub(crate) kind: Kind,
    /// Whether a `Connection` field nominates it, so that it ends here.
    pub(crate) nominated: bool,
}

/// A head's bytes and the places of its fields: two allocations, whatever the number of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) raw: Box<[u8]>,
    pub(crate) fields: Vec<Field>,
}

impl Head {
    /// Takes what `httparse` found in `raw`, which it read from its first byte to its last.
    /// `httparse` takes a bare LF for a line's end: here it is refused.
    pub(crate) fn new(raw: &[u8], found: &[httparse::Header<'_>]) -> Result<Self, Reject> {
        let mut fields = Vec::with_capacity(found.len());
        for header in found {
            let name = header.name.as_bytes();
            fields.push(Field {
                name: Span::of(name, raw),
                value: Span::of(header.value, raw),
                line_end: 0,
                kind: Kind::of(name),
                nominated: false,
            });
        }
        let mut line_end = raw.len() - 2;
        for field in fields.iter_mut().rev() {
            ends_line(&raw[..line_end])?;
            field.line_end = line_end as u32;
            line_end = field.name.start();
        }
        ends_line(&raw[..line_end])?;
        ends_line(raw)?;
        Ok(Self {
            raw: raw.into(),
            fields,
        })
    }

    /// Where the fields begin: just behind the first line.
    pub(crate) fn fields_start(&self) -> usize {
        self.fields
            .first()
            .map_or(self.raw.len() - 2, |field| field.name.start())
    }

    /// The values of the fields of a kind, but for those that `Connection` nominates.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        self.fields
            .iter()
            .filter(move |field| field.kind == kind && !field.nominated)
            .map(|field| field.value.bytes(&self.raw))
    }

    /// Names and values, as received.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields
            .iter()
            .map(|field| (field.name.text(&self.raw), field.value.bytes(&self.raw)))
    }

    /// As [`Head::pairs`], without what ends at this hop: nominated fields, hop-by-hop ones, framing.
    pub(crate) fn end_to_end(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let passes = |field: &&Field| match field.kind {
            Kind::Connection
            | Kind::ContentLength
            | Kind::Hop
            | Kind::Host
            | Kind::Lookalike
            | Kind::Te
            | Kind::TransferEncoding
            | Kind::Upgrade => false,
            Kind::Expect
            | Kind::Forwarded
            | Kind::ForwardedFor
            | Kind::ForwardedHost
            | Kind::ForwardedProto
            | Kind::Other
            | Kind::Traceparent
            | Kind::Tracestate => !field.nominated,
        };
        let fields = self.fields.iter().filter(passes);
        fields.map(|field| (field.name.text(&self.raw), field.value.bytes(&self.raw)))
    }

    /// Copies the lines from `start` on for which `keeps` says yes, in as few pieces as possible.
    pub(crate) fn copy(&self, start: usize, out: &mut Vec<u8>, keeps: impl Fn(&Field) -> bool) {
        let mut run = start;
        for field in &self.fields {
            if field.nominated || !keeps(field) {
                out.extend_from_slice(&self.raw[run..field.name.start()]);
                run = field.line_end as usize;
            }
        }
        out.extend_from_slice(&self.raw[run..self.raw.len() - 2]);
    }

    /// Reads every `Connection` field, and marks the fields that it nominates.
    pub(crate) fn connection_options(&mut self) -> Result<Options, Reject> {
        const NOMINATIONS_MAX: usize = 16;
        let mut options = Options::default();
        let mut nominations = 0;
        for at in 0..self.fields.len() {
            if self.fields[at].kind != Kind::Connection {
                continue;
            }
            for option in list(self.fields[at].value.bytes(&self.raw)) {
                if options.take(option)? {
                    continue;
                }
                nominations += 1;
                if nominations > NOMINATIONS_MAX {
                    return Err(Reject::TooManyConnectionOptions);
                }
                nominate(&self.raw, &mut self.fields, option)?;
            }
        }
        Ok(options)
    }
}

/// The connection options that mean something by themselves (RFC 9110 §7.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

impl Options {
    /// Takes note of an option; false if it is the name of some field.
    fn take(&mut self, option: &[u8]) -> Result<bool, Reject> {
        if !is_token(option) {
            return Err(Reject::ConnectionOption);
        }
        let is = |known: &str| option.eq_ignore_ascii_case(known.as_bytes());
        if is("close") {
            self.close = true;
        } else if is("keep-alive") {
            self.keep_alive = true;
        } else if is("upgrade") {
            self.upgrade = true;
        } else {
            return Ok(is("te"));
        }
        Ok(true)
    }
}

fn nominate(raw: &[u8], fields: &mut [Field], option: &[u8]) -> Result<(), Reject> {
    match Kind::of(option) {
        Kind::Host | Kind::ContentLength | Kind::TransferEncoding | Kind::Lookalike => {
            return Err(Reject::ConnectionNomination);
        }
        Kind::Connection
        | Kind::Expect
        | Kind::Forwarded
        | Kind::ForwardedFor
        | Kind::ForwardedHost
        | Kind::ForwardedProto
        | Kind::Hop
        | Kind::Other
        | Kind::Te
        | Kind::Traceparent
        | Kind::Tracestate
        | Kind::Upgrade => {}
    }
    for field in fields {
        field.nominated |= field.name.bytes(raw).eq_ignore_ascii_case(option);
    }
    Ok(())
}

fn ends_line(bytes: &[u8]) -> Result<(), Reject> {
    if bytes.ends_with(b"\r\n") {
        Ok(())
    } else {
        Err(Reject::LineEnd)
    }
}
