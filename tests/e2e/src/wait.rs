//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine; only what would hang gets here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until there is something, and gives it.
///
/// # Panics
/// When nothing comes; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited for {what}, and it did not come"
        );
        thread::sleep(PAUSE);
    }
}

/// Looks until it is so.
///
/// # Panics
/// As [`eventually`].
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}
