//! A response's head as the client gets it, and how its body must then be relayed.

use super::{ResponseHead, Role};
use crate::framing::{Framing, Persistence, push_declared};
use crate::head::{Field, Kind, Version};
use crate::syntax::push_decimal;

/// What is changed in a response's head on its way to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseEdits {
    /// The version that the client speaks.
    pub client: Version,
    /// Whether we would go on with the client's connection; its request's persistence, or `Close`
    /// while draining.
    pub persistence: Persistence,
}

/// How to go on after a response's head was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Which bytes of the body to relay.
    pub body: RelayBody,
    /// What the client was told; it holds.
    pub persistence: Persistence,
}

/// Which bytes of a body to relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayBody {
    /// All that [`crate::body::Decoder::advance`] consumes.
    Raw,
    /// Only the payload that [`crate::body::Decoder::piece`] finds: the client speaks HTTP/1.0 and
    /// knows no chunks.
    Payload,
}

impl ResponseHead {
    /// Appends the head for the client to `out`: always `HTTP/1.1` in the status line (RFC 9110 §2.5),
    /// the framing said once and canonically, no hop-by-hop field but those of an upgrade. Interim
    /// heads are not for clients of HTTP/1.0: write none for them.
    ///
    /// The client's connection ends after a body whose end only that can show: one that ends with the
    /// endpoint's connection, or chunks for HTTP/1.0.
    pub fn write_to(&self, out: &mut Vec<u8>, edits: &ResponseEdits) -> Relay {
        out.reserve(self.head.raw.len() + 64);
        self.write_line(out);
        self.head
            .copy(self.head.fields_start(), out, |field| self.keeps(field));
        let relay = self.relay(edits);
        match self.role {
            Role::Interim => {}
            Role::Switching => out.extend_from_slice(b"Connection: upgrade\r\n"),
            Role::Final => {
                self.write_framing(out, edits.client);
                self.write_connection(out, edits.client, relay.persistence);
            }
        }
        out.extend_from_slice(b"\r\n");
        relay
    }

    fn relay(&self, edits: &ResponseEdits) -> Relay {
        let (body, persistence) = match (self.framing, edits.client) {
            (Framing::Chunked, Version::Http10) => (RelayBody::Payload, Persistence::Close),
            (Framing::UntilClose, _) => (RelayBody::Raw, Persistence::Close),
            (Framing::None | Framing::Length(_) | Framing::Chunked, _) => {
                (RelayBody::Raw, edits.persistence)
            }
        };
        Relay { body, persistence }
    }

    fn write_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(self.reason.bytes(&self.head.raw));
        out.extend_from_slice(b"\r\n");
    }

    fn keeps(&self, field: &Field) -> bool {
        match field.kind {
            Kind::Upgrade => self.offers_upgrade() || self.role == Role::Switching,
            Kind::Connection
            | Kind::ContentLength
            | Kind::Hop
            | Kind::Lookalike
            | Kind::Te
            | Kind::TransferEncoding => false,
            Kind::Expect
            | Kind::Forwarded
            | Kind::ForwardedFor
            | Kind::ForwardedHost
            | Kind::ForwardedProto
            | Kind::Host
            | Kind::Other
            | Kind::Traceparent
            | Kind::Tracestate => true,
        }
    }

    /// 426 (Upgrade Required) must say to what; elsewhere `Upgrade` advertises what we would not pass.
    fn offers_upgrade(&self) -> bool {
        self.status == 426
    }

    /// A response to HEAD and a 304 declare the body that they do not have.
    fn write_framing(&self, out: &mut Vec<u8>, client: Version) {
        match self.declared {
            Framing::Chunked if client == Version::Http10 => {}
            Framing::Length(_) if self.status == 204 => {}
            Framing::None | Framing::UntilClose | Framing::Length(_) | Framing::Chunked => {
                push_declared(out, self.declared);
            }
        }
    }

    fn write_connection(&self, out: &mut Vec<u8>, client: Version, persistence: Persistence) {
        let upgrade = if self.offers_upgrade() {
            "upgrade, "
        } else {
            ""
        };
        let option = match (persistence, client) {
            (Persistence::Close, _) => "close",
            (Persistence::Persist, Version::Http10) => "keep-alive",
            (Persistence::Persist, Version::Http11) if upgrade.is_empty() => return,
            (Persistence::Persist, Version::Http11) => "keep-alive",
        };
        for part in ["Connection: ", upgrade, option, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}
