//! An endpoint and its gate: calls enter while it is open; once closed it drains.
//!
//! ```text
//!            enter (count + 1)             leave (count - 1)
//!   OPEN ───────────────────────► OPEN ──────────────────────► OPEN
//!     │ close
//!     ▼
//!   CLOSED, n in flight ── leave ──► … ── the last leaves ──► DRAINED (wakes its owner)
//!     │ open (the drain was called off)
//!     ▼
//!   OPEN
//! ```
//! Count and gate are one word, so a call that enters while the gate closes is either counted
//! before the close, and waited for, or sees it closed, and goes elsewhere. There is no third.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{InstanceId, Moment, Revision};

use crate::activity::nanos;
use crate::balance::PeakEwma;
use crate::{Activity, Outlier, OutlierPolicy, Wake};

const CLOSED: u32 = 1 << 31;
const COUNT: u32 = CLOSED - 1;

/// A ready instance as calls see it.
pub struct Endpoint {
    instance: InstanceId,
    revision: Revision,
    gate: AtomicU32,
    calls: AtomicU64,
    latency: PeakEwma,
    /// Whether [`Outlier`] has failures in a row; a success then has something to tell it.
    has_failed: AtomicBool,
    outlier: Mutex<Outlier>,
    /// Nanoseconds on the [`Moment`] clock; 0 is never.
    ejected_until: AtomicU64,
    on_drained: Wake,
}

impl Endpoint {
    /// An open endpoint; `on_drained` is called when the last call leaves after a close.
    #[must_use]
    pub fn new(instance: InstanceId, revision: Revision, on_drained: Wake) -> Self {
        Self {
            instance,
            revision,
            gate: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            latency: PeakEwma::default(),
            has_failed: AtomicBool::new(false),
            outlier: Mutex::default(),
            ejected_until: AtomicU64::new(0),
            on_drained,
        }
    }

    /// The instance behind it.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The revision that the instance is a copy of.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Calls and connections in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.gate.load(Ordering::SeqCst) & COUNT
    }

    /// Calls and connections that were counted since it was made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Admits nothing from now on. What is in flight goes on.
    pub fn close(&self) {
        self.gate.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Admits again.
    pub fn open(&self) {
        self.gate.fetch_and(COUNT, Ordering::SeqCst);
    }

    /// Whether it admits at this moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gate.load(Ordering::SeqCst) & CLOSED == 0
    }

    /// Whether it fails what others answer, and is to be left out for a while.
    #[must_use]
    pub fn is_ejected(&self, now: Moment) -> bool {
        nanos(now) < self.ejected_until.load(Ordering::Relaxed)
    }

    /// What another call costs here, to be compared with other endpoints.
    #[must_use]
    pub fn cost(&self, now: Moment) -> f64 {
        let cost = self.latency.cost(self.in_flight(), now);
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => cost,
            until => {
                let back_for = Duration::from_nanos(nanos(now).saturating_sub(until));
                cost * OutlierPolicy::default().surcharge(back_for)
            }
        }
    }

    /// Enters, unless it is closed. The guard leaves when dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, activity: &Arc<Activity>) -> Option<InFlight> {
        if self.gate.fetch_add(1, Ordering::SeqCst) & CLOSED != 0 {
            self.leave();
            return None;
        }
        activity.entered();
        Some(InFlight {
            endpoint: Arc::clone(self),
            activity: Arc::clone(activity),
        })
    }

    fn outlier(&self) -> MutexGuard<'_, Outlier> {
        self.outlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        if self.gate.fetch_sub(1, Ordering::SeqCst) == CLOSED | 1 {
            (self.on_drained)();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = self.gate.load(Ordering::SeqCst);
        let state = if gate & CLOSED == 0 { "open" } else { "closed" };
        write!(
            f,
            "Endpoint({} {} {state}, {} in flight)",
            self.instance,
            self.revision,
            gate & COUNT
        )
    }
}

/// A call or connection inside an endpoint; dropping it leaves.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    activity: Arc<Activity>,
}

impl InFlight {
    /// Counts a call or connection. It may enter before it is known to be one, and several times.
    pub fn count(&self) {
        self.endpoint.calls.fetch_add(1, Ordering::Relaxed);
        self.activity.count();
    }

    /// Takes note of an answer's head: how long it took, and whether it says that the endpoint is in
    /// trouble (502, 503, 504). Returns until when the endpoint is ejected for it, if it is.
    pub fn answered(&self, status: u16, took: Duration, now: Moment) -> Option<Moment> {
        if matches!(status, 502..=504) {
            return self.failed(now);
        }
        let endpoint = &self.endpoint;
        endpoint.latency.observe(took, now);
        if endpoint.has_failed.swap(false, Ordering::Relaxed) {
            endpoint.outlier().handle_success();
        }
        None
    }

    /// Takes note that the endpoint failed the call. Returns until when it is ejected for it, if it is.
    pub fn failed(&self, now: Moment) -> Option<Moment> {
        let endpoint = &self.endpoint;
        if endpoint.is_ejected(now) {
            // Calls that were in flight say nothing new.
            return None;
        }
        endpoint.latency.penalise(now);
        endpoint.has_failed.store(true, Ordering::Relaxed);
        let policy = OutlierPolicy::default();
        let until = endpoint
            .outlier()
            .handle_failure(endpoint.calls(), now, &policy)?;
        endpoint
            .ejected_until
            .store(nanos(until), Ordering::Relaxed);
        // What it is like when it comes back, its first call then is to tell.
        endpoint.latency.forget();
        self.activity.ejected(until);
        Some(until)
    }

    /// Where it is.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.left();
        self.endpoint.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use model::{AppName, ServiceName};

    use super::*;

    fn endpoint(drained: &Arc<AtomicUsize>) -> Arc<Endpoint> {
        let id = InstanceId {
            app: AppName::new("a").unwrap(),
            service: ServiceName::new("s").unwrap(),
            number: 1,
        };
        let drained = Arc::clone(drained);
        let wake: Wake = Arc::new(move || {
            drained.fetch_add(1, Ordering::SeqCst);
        });
        Arc::new(Endpoint::new(id, Revision::FIRST, wake))
    }

    #[test]
    fn a_closed_endpoint_admits_nothing_and_tells_when_the_last_call_left() {
        let drained = Arc::new(AtomicUsize::new(0));
        let endpoint = endpoint(&drained);
        let activity = Arc::new(Activity::new(Arc::new(|| ())));
        let first = endpoint.enter(&activity).unwrap();
        let second = endpoint.enter(&activity).unwrap();
        endpoint.close();
        assert!(endpoint.enter(&activity).is_none());
        assert_eq!(endpoint.in_flight(), 2);
        drop(first);
        assert_eq!(drained.load(Ordering::SeqCst), 0);
        drop(second);
        assert_eq!(drained.load(Ordering::SeqCst), 1);
        endpoint.open();
        assert!(endpoint.enter(&activity).is_some());
    }

    #[test]
    fn no_call_is_in_flight_unseen_while_an_endpoint_drains() {
        let drained = Arc::new(AtomicUsize::new(0));
        let endpoint = endpoint(&drained);
        let activity = Arc::new(Activity::new(Arc::new(|| ())));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| while endpoint.enter(&activity).is_some() {});
            }
            endpoint.close();
        });
        assert_eq!(endpoint.in_flight(), 0);
        assert_eq!(activity.load().in_flight, 0);
    }
}
