//! Time as a value. Nothing in this crate reads a clock.

use std::fmt;
use std::time::Duration;

/// A point on the machine's monotonic clock (CLOCK_BOOTTIME on Linux, so it goes on over a
/// suspend and means the same to a daemon that was started later).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The clock's zero.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment this long after the clock's zero.
    #[must_use]
    pub const fn from_zero(since_zero: Duration) -> Self {
        Self(since_zero)
    }

    /// How long after the clock's zero this is.
    #[must_use]
    pub const fn since_zero(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}

/// A point on the wall clock, for people: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);
