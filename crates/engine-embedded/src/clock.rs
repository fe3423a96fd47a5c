//! The machine's clock as a value.

use std::time::Duration;

use model::Moment;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now, on the clock that goes on over a suspend and means the same to every process.
#[must_use]
pub fn now() -> Moment {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    Moment::from_zero(Duration::new(
        seconds,
        u32::try_from(tv_nsec).unwrap_or_default(),
    ))
}
