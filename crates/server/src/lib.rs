//! The HTTP API over a unix socket that only its user can open.
//!
//! It converts: requests to what [`control::Control`] is asked, and what control tells to the
//! wire types of `api`. It decides nothing about apps, and knows no engine.
//!
//! Who may connect is settled twice: the socket has mode 0600, and the peer's user, as the kernel
//! tells it, is this one or root.

mod change;
mod convert;
mod exec;
mod extract;
mod listen;
mod produce;
mod read;
mod refusal;
mod routes;
#[cfg(test)]
mod tests;

pub use listen::{BindError, Listener, Server};
pub use routes::Parts;
