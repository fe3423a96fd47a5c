//! Chance from a seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low + 1)
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.between(0, 999) < per_mille
    }

    /// One of these.
    pub(crate) fn one_of<'t, T>(&mut self, items: &'t [T]) -> Option<&'t T> {
        let last = (items.len() as u64).checked_sub(1)?;
        items.get(self.between(0, last) as usize)
    }

    /// A time from `low` to `high`.
    pub(crate) fn time(&mut self, low: Duration, high: Duration) -> Duration {
        Duration::from_micros(self.between(low.as_micros() as u64, high.as_micros() as u64))
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        self.time(Duration::from_millis(low), Duration::from_millis(high))
    }
}
