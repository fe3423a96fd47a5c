//! What tells the time.

use model::{Moment, Timestamp};

/// Tells the time, of both kinds.
pub trait Clock: Send + Sync {
    /// The monotonic clock (CLOCK_BOOTTIME), which deadlines are made of.
    fn now(&self) -> Moment;

    /// The wall clock, which people read.
    fn wall(&self) -> Timestamp;
}
