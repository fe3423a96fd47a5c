//! What the end-to-end tests and the measurements are made of: a `roads` with a home of its own,
//! apps in it, a small HTTP client, and a look at processes.
//!
//! Every [`Roads`] has its own folders, its own daemon and its own ingress port, so tests run
//! beside each other. It ends only what it started. Nothing here knows the crates of `roads`: it
//! is used as a person uses it, by its command, by HTTP, and by signals.
//!
//! What goes wrong here is a failed test, so it panics and says what it wanted.

mod app;
pub mod http;
mod outside;
pub mod process;
mod roads;
mod wait;

pub use app::App;
pub use outside::{Outside, VARIABLE as OUTSIDE_VARIABLE};
pub use roads::{Outcome, Roads, free_port};
pub use wait::{eventually, until};
