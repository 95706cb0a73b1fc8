//! The clocks whose readings actors pass to their state machines.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Unix time in seconds; 0 if the clock is set before 1970.
pub(crate) fn unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
