//! The invariants that every run holds, by what it is to break them.

use model::{InstanceId, Moment, ServiceName};
use plan::Violation;

use crate::Tally;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// A pass is one that the plan checker refuses.
    #[error("a pass breaks the rules: {0}")]
    Pass(Violation),
    /// Passes follow each other without anything to do or to wait for.
    #[error("passes go on without end and without effect")]
    Livelock,
    /// More programs live than may.
    #[error("{service} has {live} live programs, and may have {instances_max}")]
    TooMany {
        /// Whose.
        service: ServiceName,
        /// How many.
        live: usize,
        /// The bound.
        instances_max: u32,
    },
    /// A snapshot names an instance that is not ready.
    #[error("calls are sent to {id}, which {why}")]
    NotReady {
        /// Which.
        id: InstanceId,
        /// What it is instead.
        why: &'static str,
    },
    /// A program was frozen while a call was inside.
    #[error("{0} was frozen with a call inside")]
    FrozenWithCall(InstanceId),
    /// A call was lost though nothing went wrong but what we did.
    #[error("a call was lost: {id} was ended before its drain was over")]
    CallLost {
        /// Which instance took it along.
        id: InstanceId,
    },
    /// A call did not end well in a run without faults.
    #[error("a call to {service} ended as {outcome} though nothing went wrong")]
    CallFailed {
        /// Whose.
        service: ServiceName,
        /// How.
        outcome: &'static str,
    },
    /// A call was neither answered nor refused by its deadline.
    #[error("a call to {service} was still held after its deadline")]
    HeldTooLong {
        /// Whose.
        service: ServiceName,
    },
    /// After the faults stopped, the app is not as it should be.
    #[error("{service} did not come to what it should be: {why}")]
    NotConverged {
        /// Which.
        service: ServiceName,
        /// What it is instead, in the words of the report.
        why: String,
    },
    /// Long after the faults stopped, something is done still.
    #[error("steps go on without end though nobody calls and nothing fails")]
    Restless,
    /// After the app went down, something is left.
    #[error("{0} is left of an app that is down")]
    Left(InstanceId),
}

/// A run that broke an invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}\nseed {seed} at {at:?}: {breach}", .last.join("\n"))]
pub struct Failed {
    /// Run it again with this.
    pub seed: u64,
    /// When.
    pub at: Moment,
    /// What.
    pub breach: Breach,
    /// The transcript: its last lines, or all of them when it was to be kept.
    pub last: Vec<String>,
}

/// A run that held them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What happened in it.
    pub tally: Tally,
    /// Everything that happened, when it was to be kept.
    pub transcript: Vec<String>,
}
