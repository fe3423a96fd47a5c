//! HTTP/1.1 without I/O: bytes in, events and edited heads out.
//!
//! It owns the message syntax of RFC 9112 and the parts of RFC 9110 a proxy must decide by: framing,
//! persistence, upgrades, hop-by-hop fields. It knows no socket, clock, random source or route.
//!
//! One exchange, as a proxy drives it:
//! 1. [`sniff()`] tells from a connection's first bytes whether it speaks HTTP/1.x at all.
//! 2. [`request::parse`] answers [`Parsed::Incomplete`], a [`request::RequestHead`] and its length, or a
//!    [`Reject`] that says what is wrong and which status answers it ([`Answer`]).
//! 3. [`request::RequestHead::write_to`] writes the head for the endpoint, edited.
//! 4. A [`body::Decoder`] walks the body's raw bytes and says where it ends; the proxy relays those bytes.
//! 5. [`response::parse`], as often as there are interim heads, then
//!    [`response::ResponseHead::write_to`], which says how the body must be relayed.
//!
//! **Strict.** Wherever two readers could disagree about where a message ends, the message is refused
//! (RFC 9112 §11.2, request smuggling); where the RFC lets a recipient repair or merge, we refuse too.
//! What passes is written out again in one canonical form. The choices, each argued at its [`Reject`]:
//! any repeated `Content-Length`, any transfer coding but exactly `chunked`, any bare CR or LF, obs-fold,
//! whitespace around a chunk size, and a `Connection` that nominates a framing field.
//!
//! **Splitting.** Feeding the same bytes in other pieces never changes the result.

mod answer;
pub mod body;
pub mod fields;
mod framing;
mod head;
mod limits;
mod reject;
pub mod request;
pub mod response;
mod sniff;
mod syntax;
mod target;
mod trace;

pub use answer::Answer;
pub use framing::{Framing, Persistence};
pub use head::{Parsed, Version, may_be_complete};
pub use limits::Limits;
pub use reject::Reject;
pub use sniff::{Sniff, sniff};
pub use target::Authority;
pub use trace::{TraceSeed, is_valid_traceparent};
