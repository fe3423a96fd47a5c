//! What is going on at a service, counted by the data plane and read by control.

use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Hold, Moment};

use crate::{RetryBudget, RetryPolicy};

/// Called to wake the owner of a service's state. It must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The demand for a service, shared by all snapshots that route to it.
pub struct Activity {
    in_flight: AtomicU32,
    held: AtomicU32,
    connections: AtomicU32,
    calls: AtomicU64,
    /// Nanoseconds on the [`Moment`] clock; 0 is never.
    last_demand: AtomicU64,
    /// The port of the newest held call; 0 is none.
    wanted_port: AtomicU16,
    /// Until when the last endpoint that is ejected is; nanoseconds on the [`Moment`] clock.
    ejected_until: AtomicU64,
    retries: Mutex<RetryBudget>,
    wake: Wake,
}

/// A reading of [`Activity`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls and connections inside an endpoint.
    pub in_flight: u32,
    /// Calls and connections that wait for an endpoint.
    pub held: u32,
    /// Connections from callers that hold the service awake while they are open: plain TCP and
    /// upgraded ones. A kept-alive HTTP connection without a call on it is none.
    pub connections: u32,
    /// Calls that began, ever.
    pub calls: u64,
    /// When a call last began or ended.
    pub last_demand: Option<Moment>,
    /// The port that the newest held call wants.
    pub wanted_port: Option<u16>,
}

/// As many calls are held as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{held} calls are already held, and no more may be")]
pub struct HoldFull {
    /// Calls held now.
    pub held: u32,
}

impl Activity {
    /// Nothing yet; `wake` is called when a call is held.
    #[must_use]
    pub fn new(wake: Wake) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            held: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            calls: AtomicU64::new(0),
            last_demand: AtomicU64::new(0),
            wanted_port: AtomicU16::new(0),
            ejected_until: AtomicU64::new(0),
            retries: Mutex::default(),
            wake,
        }
    }

    /// The counters now.
    #[must_use]
    pub fn load(&self) -> Load {
        let last = self.last_demand.load(Ordering::Relaxed);
        let port = self.wanted_port.load(Ordering::Relaxed);
        Load {
            in_flight: self.in_flight.load(Ordering::SeqCst),
            held: self.held.load(Ordering::SeqCst),
            connections: self.connections.load(Ordering::SeqCst),
            calls: self.calls.load(Ordering::Relaxed),
            last_demand: (last != 0).then(|| Moment::from_zero(Duration::from_nanos(last))),
            wanted_port: (port != 0).then_some(port),
        }
    }

    /// Says that there is demand at this moment; called when a call begins and when it ends.
    pub fn touch(&self, now: Moment) {
        self.last_demand
            .fetch_max(nanos(now).max(1), Ordering::Relaxed);
    }

    /// Asks to send a call again that has failed once. Whether the budget has that left.
    #[must_use]
    pub fn may_retry(&self, now: Moment) -> bool {
        let calls = self.calls.load(Ordering::Relaxed);
        let mut budget = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        budget.handle_retry(calls, now, &RetryPolicy::default())
    }

    /// Takes note that an endpoint is ejected.
    pub(crate) fn ejected(&self, until: Moment) {
        self.ejected_until
            .fetch_max(nanos(until), Ordering::Relaxed);
    }

    /// Whether any endpoint may be ejected.
    pub(crate) fn has_ejected(&self, now: Moment) -> bool {
        nanos(now) < self.ejected_until.load(Ordering::Relaxed)
    }

    /// Holds a call that wants `port`, and wakes the owner. Dropping the guard lets it go.
    ///
    /// # Errors
    /// [`HoldFull`] when `hold.requests_max` are held already.
    pub fn hold(self: &Arc<Self>, hold: &Hold, port: u16, now: Moment) -> Result<Held, HoldFull> {
        let held = self.held.fetch_add(1, Ordering::SeqCst);
        if held >= hold.requests_max {
            self.held.fetch_sub(1, Ordering::SeqCst);
            return Err(HoldFull { held });
        }
        self.touch(now);
        self.wanted_port.store(port, Ordering::Relaxed);
        (self.wake)();
        Ok(Held {
            activity: Arc::clone(self),
        })
    }

    /// Counts a connection that keeps the service awake until the guard is dropped.
    #[must_use]
    pub fn connection(self: &Arc<Self>) -> Connection {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Connection {
            activity: Arc::clone(self),
        }
    }

    pub(crate) fn count(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn entered(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn left(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A moment as an atomic holds it.
pub(crate) fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_zero().as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Activity({:?})", self.load())
    }
}

/// A held call.
#[derive(Debug)]
pub struct Held {
    activity: Arc<Activity>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.activity.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An open connection that keeps a service awake.
#[derive(Debug)]
pub struct Connection {
    activity: Arc<Activity>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.activity.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn no_more_calls_are_held_than_may_be_and_each_wakes_the_owner() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wakes);
        let activity = Arc::new(Activity::new(Arc::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })));
        let hold = Hold {
            requests_max: 2,
            ..Hold::default()
        };
        let now = Moment::from_zero(Duration::from_secs(7));
        let first = activity.hold(&hold, 80, now).unwrap();
        let _second = activity.hold(&hold, 80, now).unwrap();
        assert_eq!(
            activity.hold(&hold, 80, now).unwrap_err(),
            HoldFull { held: 2 }
        );
        drop(first);
        assert!(activity.hold(&hold, 80, now).is_ok());
        assert_eq!(wakes.load(Ordering::SeqCst), 3);
        assert_eq!(activity.load().last_demand, Some(now));
    }
}
