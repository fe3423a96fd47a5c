//! What a field's name alone says to a proxy; for heads that were not read by this crate.

use crate::head::Kind;

/// Whether a field says something about this connection only (RFC 9110 §7.6.1), framing included.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    match Kind::of(name.as_bytes()) {
        Kind::Connection | Kind::Hop | Kind::Te | Kind::TransferEncoding | Kind::Upgrade => true,
        Kind::ContentLength
        | Kind::Expect
        | Kind::Forwarded
        | Kind::ForwardedFor
        | Kind::ForwardedHost
        | Kind::ForwardedProto
        | Kind::Host
        | Kind::Lookalike
        | Kind::Other
        | Kind::Traceparent
        | Kind::Tracestate => false,
    }
}

/// Whether a field claims something about earlier hops: see [`crate::request::Trust`].
#[must_use]
pub fn claims_earlier_hop(name: &str) -> bool {
    matches!(
        Kind::of(name.as_bytes()),
        Kind::Forwarded | Kind::ForwardedFor | Kind::ForwardedHost | Kind::ForwardedProto
    )
}

/// Whether a field imitates one that frames a message; see [`crate::Reject::FramingLookalike`].
#[must_use]
pub fn imitates_framing(name: &str) -> bool {
    Kind::of(name.as_bytes()) == Kind::Lookalike
}
