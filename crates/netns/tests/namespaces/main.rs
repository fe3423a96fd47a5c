//! Tests in real network namespaces, as root or as an ordinary user; see [`support`].

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic; its helpers are not seen as tests"
)]

mod ambassador;
mod listening;
mod namespace;
mod support;
