//! The path of a call through real sockets in real network namespaces; see [`bed`].

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic; its helpers are not seen as tests"
)]

mod bed;
mod drain;
mod foreign;
mod hold;
mod hostile;
mod http;
mod http2;
mod ingress;
mod peer2;
mod server;
mod tcp;
mod udp;
mod wire;
