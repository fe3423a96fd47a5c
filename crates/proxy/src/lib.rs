//! Listeners, protocols and endpoint pools: the path of a call.
//!
//! A [`Proxy`] serves three kinds of sockets: the captures of ambassadors, where instances call
//! services; the ingress and the published ports, where this machine's programs do. It decides
//! nothing that [`traffic`] decides, and knows engines, files and apps only by the
//! [`Snapshot`](traffic::Snapshot)s that it watches.
//!
//! ```text
//! handle ── Desired (watch) ──► worker (one a core) ── accept ──► connection ─┬─► http ─┬─► dial ──► hold
//! control ── Snapshot (watch) ──────┘                              udp ───────┼─► relay ┘     └──► pool
//! ```
//! - `handle`, `desired`, `listen`, `holder`: what is to be served, said from any thread.
//! - `worker`, `accept`: one thread with a runtime of its own. Workers share no connection, no pool
//!   and no lock that a call takes for longer than a look.
//! - `connection`, `relay`, `http`, `udp`, `ingress`: one caller's connection, by its protocol.
//! - `hold`, `dial`, `pool`: a connection to an endpoint, waited for if need be.
//!
//! **Invariant:** a connection on which nothing happens holds no buffer.
//! **Invariant:** a call is answered or refused by a deadline; an HTTP call is told why in words.
//! **Invariant:** nothing of a call that may not be repeated is sent twice.

mod accept;
mod buffer;
mod connection;
mod desired;
mod dial;
mod handle;
mod hold;
mod holder;
mod http;
mod http2;
mod ingress;
mod listen;
mod pool;
mod random;
mod relay;
mod udp;
mod verdict;
mod watchdog;
mod worker;

pub use handle::{
    Attachment, Begin, Clock, DnsOverTcp, KeepListener, Proxy, ProxyConfig, StartError,
};
pub use holder::Holder;
pub use listen::{BindError, ListenError, ListenerChange, Listening};
