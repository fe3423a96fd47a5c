//! A simulated call, from its beginning to its end.

use std::time::Duration;

use model::{InstanceId, Moment, ServiceName};
use traffic::{Connection, Held, InFlight};

/// Which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) service: ServiceName,
    /// The call that waits for this one, inside another service.
    pub(crate) parent: Option<CallId>,
    pub(crate) kind: Kind,
    /// When it is refused if it is held still.
    pub(crate) deadline: Moment,
    pub(crate) held: Option<Held>,
    pub(crate) inside: Option<Inside>,
    pub(crate) was_held: bool,
}

/// What it does once inside.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A request: it takes this long, then calls these services one after the other.
    Request {
        work: Duration,
        calls: Vec<ServiceName>,
    },
    /// A connection that is open for so long.
    Connection(Duration),
}

/// Where it is.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) id: InstanceId,
    pub(crate) run: u64,
    /// Held for what dropping them does.
    pub(crate) _guards: (InFlight, Option<Connection>),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Refused,
    TimedOut,
    /// With a program or daemon that was made to die.
    Crashed,
    /// At the deadline of a drain.
    Cut,
    FailedDownstream,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Crashed => "crashed",
            Self::Cut => "cut",
            Self::FailedDownstream => "failed further down",
        }
    }
}
