//! Deadlines of a connection that move with everything that happens on it.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A deadline that moves with every call. The timer behind it only moves when it fires too early,
/// so a busy connection costs the runtime's timers nothing.
pub(crate) struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Watchdog {
    pub(crate) fn new(after: Duration) -> Self {
        let sleep = Box::pin(sleep(after));
        Self {
            deadline: sleep.deadline(),
            sleep,
        }
    }

    /// Moves the deadline.
    pub(crate) fn set(&mut self, after: Duration) {
        self.deadline = Instant::now() + after;
        if self.sleep.deadline() > self.deadline {
            self.sleep.as_mut().reset(self.deadline);
        }
    }

    /// Done at the deadline.
    pub(crate) async fn bark(&mut self) {
        loop {
            self.sleep.as_mut().await;
            if self.sleep.deadline() >= self.deadline {
                return;
            }
            self.sleep.as_mut().reset(self.deadline);
        }
    }
}
