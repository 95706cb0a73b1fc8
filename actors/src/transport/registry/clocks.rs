//! Notices that the machine slept.

use std::time::{Duration, Instant, SystemTime};

/// A jump of the wall clock that means that the machine slept: what was connected then may not be so now.
const JUMP: Duration = Duration::from_secs(10);

/// The wall clock beside the monotonic one, which stands still while a machine sleeps.
pub(super) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// Both clocks as they are now.
    pub(super) fn new() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// How far the wall clock has run ahead of the monotonic one since the last call; `None` if by less than [`JUMP`].
    pub(super) fn jumped(&mut self) -> Option<Duration> {
        let now = Self::new();
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        let jump = wall.saturating_sub(now.steady.saturating_duration_since(self.steady));
        *self = now;
        (jump >= JUMP).then_some(jump)
    }
}
