//! Observe, plan, execute, publish: one task an app, around the pure [`plan::Machine`].
//!
//! ```text
//!   Control (handle) ── Request ──►┌──────────────┐── Action ──► Engine
//!   engine events ───── Fact ─────►│ one app's    │◄── Fact ──── (steps under way)
//!   data plane ──────── wake ─────►│ task         │── Snapshot ► data plane (watch)
//!                                  └──────────────┘── Published ► status (watch), events
//! ```
//! A signal only wakes the task; what it does follows from what is desired and what was told.
//! Changes of what is desired are made by one caller at a time, and remembered before they are
//! acted on.

mod app;
mod by_hand;
mod command;
mod error;
mod execute;
mod journal;
mod release;
mod routes;
mod shared;
mod status;

pub use command::{Changes, Control, Exec, Parts, UpDone, UpWish};
pub use error::ControlError;
pub use plan::Progress;
pub use status::{AppStatus, InstanceStatus, ServiceStatus};
