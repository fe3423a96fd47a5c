//! Docker's times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Moment, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A time as Docker writes it, as a time stamp.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let since_epoch = model::parse_rfc3339(text)?;
    Some(Timestamp(u64::try_from(since_epoch.as_micros()).ok()?))
}

/// When something happened, on the clock that events of this machine are ordered by.
pub(crate) fn moment(since_epoch: Duration) -> Moment {
    let age = now().saturating_sub(since_epoch);
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    let since_boot = Duration::new(seconds, u32::try_from(tv_nsec).unwrap_or_default());
    Moment::from_zero(since_boot.saturating_sub(age))
}

/// The wall clock, as a duration since 1970.
pub(crate) fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}
