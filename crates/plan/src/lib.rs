//! Desired, observed and now in; steps, routes and a report out; and the checker of plans.
//!
//! A [`Machine`] is the heart of one app: control and the simulator drive it alike.
//! ```text
//! loop {
//!     machine.handle_fact(..), handle_command(..), set_desired(..)   // what came in
//!     let pass = machine.pass(&demand, now);
//!     apply pass.routes      // open what is named, close the rest, publish the snapshot
//!     begin pass.steps       // concurrently; each is answered by one Fact
//!     wait for a fact, a command, demand, or pass.next
//! }
//! ```
//! It does no I/O, reads no clock and takes no chances: same input, same output.

mod account;
mod advance;
mod backoff;
mod check;
mod dependency;
mod desired;
mod draft;
mod goals;
mod instance;
mod machine;
mod posture;
mod readiness;
mod report;
mod service;
mod step;

pub use check::{Before, Violation, check};
pub use desired::{Command, Demand, Desired, Selection, ServiceDemand, ServiceDesired, Wish};
pub use machine::Machine;
pub use report::{
    Cause, InstanceReason, InstanceReport, InstanceState, Progress, Reason, Report, ServiceReport,
    ServiceState,
};
pub use step::{
    Action, Availability, Fact, Failure, Happened, Pass, Probe, Retry, Route, Sight, Sighting,
    Step, Ticket,
};
