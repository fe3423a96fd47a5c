//! The HTTP API over a unix socket.
