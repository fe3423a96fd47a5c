//! The plan checker: whether a pass is one that the executor may carry out.

use model::{InstanceId, Moment, ServiceName};

use crate::{Demand, Machine, Pass};

/// What a pass does wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More instances would live than may.
    #[error("{service} would have {live} live instances, and may have {instances_max}")]
    TooMany {
        /// Whose.
        service: ServiceName,
        /// Counting those that a step starts.
        live: u32,
        /// The bound.
        instances_max: u32,
    },
    /// A step is for an instance that the machine does not know.
    #[error("a step is for {0}, which is unknown")]
    UnknownInstance(InstanceId),
}

/// What the checker needs to know of a machine before its pass.
#[derive(Debug, Clone)]
pub struct Before {}

impl Before {
    /// The machine as it is now.
    #[must_use]
    pub fn of(_machine: &Machine) -> Self {
        Self {}
    }
}

/// Whether `pass`, made at `now` by the machine that was as `before`, may be carried out.
///
/// # Errors
/// The first [`Violation`] found.
pub fn check(
    _before: &Before,
    _demand: &Demand,
    _pass: &Pass,
    _now: Moment,
) -> Result<(), Violation> {
    Ok(())
}
