//! The engine on a real Docker Engine, which the tests start for themselves. Needs root, dockerd
//! and busybox; without them the tests say so and are skipped, except in CI.

#![expect(clippy::unwrap_used, reason = "all of it is tests")]

mod dockerd;
mod life;
mod words;
mod world;
