//! Entering an endpoint, with a hold while there is none.
//!
//! ```text
//! service unknown ──► refused (Unknown)
//! an endpoint admits ──► entered
//! none, Availability::Refused ──► refused (the reason)
//! none, Availability::Held ──► held ── a snapshot with an endpoint that admits ──► entered
//!      │                         ├──── Availability::Refused ──► refused (the reason)
//!      └─ as many as may be      └──── hold.timeout ──► refused (Timeout)
//!         are held ──► refused (Full)
//! ```
//! A call whose endpoint has just died wants another one. If there is no other it is held as well,
//! until the dead one has left the snapshot and a new one is there; but not for long, since an
//! endpoint that stays is alive, and only ends its connections badly.

use std::sync::Arc;
use std::time::Duration;

use model::InstanceId;
use tokio::time::{Instant, timeout_at};
use traffic::{Availability, InFlight, Service, Snapshot};

use crate::worker::{Destination, Worker};

/// How long an endpoint that failed a call may take to leave the snapshot before it is tried again.
const FAREWELL: Duration = Duration::from_secs(1);

/// A call that has entered an endpoint.
#[derive(Debug)]
pub(crate) struct Entered {
    /// The service as it was when the call entered.
    pub(crate) service: Arc<Service>,
    /// Leaves when dropped.
    pub(crate) call: InFlight,
}

/// Why a call was not let in. `Display` is for the one who called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotEntered {
    #[error("service {0} is not up")]
    Unknown(Destination),
    #[error("{service} is not available: {reason}")]
    Refused {
        service: Destination,
        reason: Arc<str>,
    },
    #[error("{service} is not ready, and no more calls can be held: {held} are waiting")]
    Full { service: Destination, held: u32 },
    #[error("{service} did not become ready within {} s", .within.as_secs_f32())]
    Timeout {
        service: Destination,
        within: Duration,
    },
}

/// Enters an endpoint that is not among `tried`, or any if all are; waits for one if need be.
/// Dropping the future ends the hold.
pub(crate) async fn enter(
    worker: &Worker,
    destination: &Destination,
    tried: &mut Vec<InstanceId>,
) -> Result<Entered, NotEntered> {
    let unknown = || NotEntered::Unknown(destination.clone());
    let service = worker.service(destination).ok_or_else(unknown)?;
    match attempt(worker, destination, service, tried)? {
        Attempt::Entered(entered) => Ok(entered),
        Attempt::Wait(service) => wait(worker, destination, &service, tried).await,
    }
}

enum Attempt {
    Entered(Entered),
    Wait(Arc<Service>),
}

fn attempt(
    worker: &Worker,
    destination: &Destination,
    service: Arc<Service>,
    tried: &[InstanceId],
) -> Result<Attempt, NotEntered> {
    let untried = |tried: &[InstanceId]| {
        service
            .endpoints
            .iter()
            .any(|endpoint| !tried.contains(endpoint.instance()))
    };
    let entered = if tried.is_empty() || untried(tried) {
        service.enter(worker.now(), worker.random.next(), tried)
    } else {
        None
    };
    match (entered, &service.availability) {
        (Some(call), _) => Ok(Attempt::Entered(Entered { service, call })),
        (None, Availability::Held) => Ok(Attempt::Wait(service)),
        (None, Availability::Refused(reason)) => Err(NotEntered::Refused {
            service: destination.clone(),
            reason: Arc::clone(reason),
        }),
    }
}

async fn wait(
    worker: &Worker,
    destination: &Destination,
    service: &Service,
    tried: &mut Vec<InstanceId>,
) -> Result<Entered, NotEntered> {
    let mut snapshots = worker.snapshots.clone();
    let hold = service.spec.activation.hold;
    let now = Instant::now();
    let (deadline, farewell) = (now + hold.timeout, now + FAREWELL);
    let held = service.activity.hold(&hold, destination.port, worker.now());
    let _held = held.map_err(|full| NotEntered::Full {
        service: destination.clone(),
        held: full.held,
    })?;
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let service = service_of(&snapshot, destination)?;
        if Instant::now() >= farewell {
            tried.clear();
        }
        tried.retain(|tried| service.endpoints.iter().any(|e| e.instance() == tried));
        if let Attempt::Entered(entered) = attempt(worker, destination, service, tried)? {
            return Ok(entered);
        }
        let until = if tried.is_empty() {
            deadline
        } else {
            deadline.min(farewell)
        };
        let changed = timeout_at(until, snapshots.changed()).await;
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_ended)) => return Err(NotEntered::Unknown(destination.clone())),
            Err(_elapsed) if until < deadline => {}
            Err(_elapsed) => {
                let service = destination.clone();
                return Err(NotEntered::Timeout {
                    service,
                    within: hold.timeout,
                });
            }
        }
    }
}

fn service_of(snapshot: &Snapshot, destination: &Destination) -> Result<Arc<Service>, NotEntered> {
    let service = snapshot.service(&destination.app, &destination.service);
    service
        .cloned()
        .ok_or_else(|| NotEntered::Unknown(destination.clone()))
}
