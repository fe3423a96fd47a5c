//! Sockets and the fixed nftables ruleset inside another network namespace.
//!
//! An *ambassador* is what Roadstead holds inside one instance's network namespace: a few sockets
//! made there and served from outside, and a ruleset that leads the instance's calls to them. This
//! crate makes those sockets and rules ([`ambassador`]), makes sockets that dial an instance from
//! inside its own namespace ([`Namespace`]), tells where a captured connection wanted to go
//! ([`original_destination`]), and which ports an instance listens on ([`Listening`]).
//!
//! It is the only raw-socket code of the project. It knows nothing of services, names, instances or
//! proxies, starts no thread and waits for nothing: each call returns when the kernel has answered.
//!
//! **IPv6.** An instance has `::1` and no other IPv6 address or route, so IPv6 never leaves it; a
//! service's name answers AAAA with nothing. Hence all rules here are about IPv4. A program that
//! calls `::ffff:127.127.0.9` sends IPv4, and is captured.
//!
//! What the redirect costs is measured by `cargo bench -p roadstead-netns`; see
//! `docs/measurements/redirect.md`.

pub mod ambassador;
mod listening;
mod namespace;
mod netlink;
mod origin;

use std::net::Ipv4Addr;

pub use listening::Listening;
pub use namespace::{Namespace, NamespaceError};
pub use origin::{Origin, original_destination};

/// The first address of the range that services live in; see [`SERVICE_PREFIX_LENGTH`].
pub const SERVICE_RANGE: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 0);

/// How many leading bits of [`SERVICE_RANGE`] an address shares with it when it is a service's.
pub const SERVICE_PREFIX_LENGTH: u8 = 16;

/// Where an instance's resolver asks, over UDP and TCP, port 53.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 1);

/// The one address of an instance that is not a loopback address, on the interface `lo`.
///
/// Resolvers that honour `AI_ADDRCONFIG` only answer with IPv4 where such an address exists, and
/// calls to the outside leave from it.
pub const INSTANCE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 127, 0, 1);

/// The port on 127.0.0.1 of the TCP captures and of the DNS capture.
///
/// It is the one TCP port that an instance cannot bind on 127.0.0.1 or 0.0.0.0. It lies above the
/// range of ephemeral ports (32768 to 60999), so no outgoing connection takes it by chance.
pub const CAPTURE_PORT: u16 = 65127;

/// The port on 127.0.0.1 of the first UDP capture; each further one is one lower.
///
/// An instance cannot bind these UDP ports on 127.0.0.1 or 0.0.0.0.
pub const UDP_CAPTURE_PORT: u16 = CAPTURE_PORT - 1;

/// How many UDP captures one namespace may have: its rules fit in one netlink batch.
pub const UDP_CAPTURES_MAX: usize = 256;

/// Whether `address` is in the range that services live in.
#[must_use]
pub fn is_service_address(address: Ipv4Addr) -> bool {
    address.octets()[..2] == SERVICE_RANGE.octets()[..2]
}
