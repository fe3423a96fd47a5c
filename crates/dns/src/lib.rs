//! The name server of every namespace: answers from the same Snapshot that routes calls.
//!
//! [`answer`] decides on one message without I/O; [`NameServer`] serves the sockets: those of the
//! ambassadors, which tell who asks, and what cannot be answered here is asked of this machine's
//! own [`Resolvers`]. What a caller may not call has no name here.

mod answer;
mod forward;
mod server;

pub use answer::{Answer, Over, answer};
pub use forward::Resolvers;
pub use server::{NameServer, Transport};
