//! A request's head as the endpoint gets it: hop-by-hop fields ended, forwarding fields added.

use std::io::Write as _;
use std::net::IpAddr;

use super::{Expectation, RequestHead, Upgrade};
use crate::framing::push_declared;
use crate::head::{Field, Kind, Version};
use crate::target::{Authority, Form};
use crate::trace::TraceSeed;

/// What the client spoke to us over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Through TLS.
    Https,
}

/// Whether the client's word about earlier hops is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The client is a proxy of ours, or a service of the app: `X-Forwarded-For` is appended to, the
    /// other forwarding fields are passed on where present.
    Client,
    /// Everything that claims an earlier hop is dropped (`Forwarded`, `X-Real-IP`, any
    /// `X-Forwarded-…`, also with underscores) and said anew.
    Nobody,
}

/// What is changed in a request's head on its way to the endpoint.
#[derive(Debug, Clone, Copy)]
pub struct RequestEdits<'a> {
    /// Who is calling, for `X-Forwarded-For`.
    pub client: IpAddr,
    /// For `X-Forwarded-Proto`.
    pub scheme: Scheme,
    /// Whether the client's own forwarding fields count.
    pub trust: Trust,
    /// `Host` for a request of HTTP/1.0 that names none.
    pub host_if_absent: Authority<'a>,
    /// Begins a trace, where the request is part of none.
    pub trace: TraceSeed,
}

impl RequestHead {
    /// Appends the head for the endpoint to `out`: always HTTP/1.1, the target in origin form, one
    /// `Host`, the framing said once and canonically, no hop-by-hop field but those of an upgrade that
    /// is offered and `TE: trailers`.
    pub fn write_to(&self, out: &mut Vec<u8>, edits: &RequestEdits<'_>) {
        out.reserve(self.head.raw.len() + 384);
        let traced = self.traceparent().is_some();
        let begin = self.write_line(out);
        self.head
            .copy(begin, out, |field| self.keeps(field, edits.trust, traced));
        self.write_host(out, edits);
        push_declared(out, self.framing);
        self.write_connection(out);
        self.write_forwarded(out, edits);
        if !traced {
            out.extend_from_slice(b"traceparent: ");
            edits.trace.push(out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the request line, unless the received one serves as it is; returns where in the raw head
    /// copying begins.
    fn write_line(&self, out: &mut Vec<u8>) -> usize {
        let absolute = match self.form {
            Form::Origin | Form::Asterisk if self.version == Version::Http11 => return 0,
            Form::Origin | Form::Asterisk => false,
            Form::Absolute { .. } => true,
        };
        out.extend_from_slice(self.method_name.bytes(&self.head.raw));
        out.push(b' ');
        match self.rest() {
            "" if absolute && self.method == super::Method::Options => out.push(b'*'),
            rest => {
                if absolute && !rest.starts_with('/') {
                    out.push(b'/');
                }
                out.extend_from_slice(rest.as_bytes());
            }
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.head.fields_start()
    }

    fn keeps(&self, field: &Field, trust: Trust, traced: bool) -> bool {
        match field.kind {
            Kind::Host | Kind::Other => true,
            Kind::Traceparent | Kind::Tracestate => traced,
            Kind::Expect => self.expectation == Expectation::Continue,
            Kind::Upgrade => self.upgrade == Upgrade::Offered,
            Kind::Forwarded | Kind::ForwardedHost | Kind::ForwardedProto => trust == Trust::Client,
            Kind::Connection
            | Kind::ContentLength
            | Kind::ForwardedFor
            | Kind::Hop
            | Kind::Lookalike
            | Kind::Te
            | Kind::TransferEncoding => false,
        }
    }

    fn write_host(&self, out: &mut Vec<u8>, edits: &RequestEdits<'_>) {
        if self.head.all(Kind::Host).next().is_none() {
            let host = self.authority().unwrap_or(edits.host_if_absent);
            push_field(out, b"Host: ", host.as_str().as_bytes());
        }
    }

    fn write_connection(&self, out: &mut Vec<u8>) {
        if self.upgrade == Upgrade::Offered {
            out.extend_from_slice(b"Connection: upgrade\r\n");
        } else if self.takes_trailers() {
            out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        }
    }

    fn write_forwarded(&self, out: &mut Vec<u8>, edits: &RequestEdits<'_>) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        if edits.trust == Trust::Client {
            let earlier = self
                .head
                .all(Kind::ForwardedFor)
                .filter(|value| !value.is_empty());
            for earlier in earlier {
                out.extend_from_slice(earlier);
                out.extend_from_slice(b", ");
            }
        }
        write!(out, "{}\r\n", edits.client).expect("a Vec takes every write");
        let said = |kind| edits.trust == Trust::Client && self.head.all(kind).next().is_some();
        if !said(Kind::ForwardedProto) {
            out.extend_from_slice(match edits.scheme {
                Scheme::Http => b"X-Forwarded-Proto: http\r\n",
                Scheme::Https => b"X-Forwarded-Proto: https\r\n",
            });
        }
        if let Some(host) = self.authority.filter(|_| !said(Kind::ForwardedHost)) {
            push_field(out, b"X-Forwarded-Host: ", host.bytes(&self.head.raw));
        }
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
