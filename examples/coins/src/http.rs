//! The little HTTP/1.1 that the example needs: blocking, keep-alive, every size bounded.
//!
//! Nothing here is shared with Roadstead's own proxy, on purpose: the example is a foreign
//! application to it, and the end-to-end tests are worth more for that.

mod client;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, ClientError, Url};
pub use message::{Headers, Request, Response};
pub use server::{Answer, serve};

pub(crate) use client::{ANSWER_MAX, connect};
pub(crate) use message::json_string;
pub(crate) use server::accept_each;
