//! What the path of a call decides, without I/O: who may call whom, which endpoint, hold or
//! refuse, and when an endpoint has drained.
//!
//! The data plane reads a [`Snapshot`], which is never changed once published. What moves in
//! between — calls in flight, calls held — are counters that all snapshots share ([`Activity`],
//! [`Endpoint`]). Randomness and time are arguments.

mod activity;
pub mod balance;
mod breaker;
mod budget;
mod directory;
mod endpoint;
mod outlier;
mod snapshot;

pub use activity::{Activity, Connection, Held, HoldFull, Load, Wake};
pub use breaker::{Breaker, BreakerPolicy, Broken};
pub use budget::{RetryBudget, RetryPolicy};
pub use directory::{Callee, DOMAIN, Denied, Directory, HostEntry};
pub use endpoint::{Endpoint, InFlight};
pub use outlier::{Outlier, OutlierPolicy};
pub use snapshot::{App, Availability, Generation, Service, Snapshot};
