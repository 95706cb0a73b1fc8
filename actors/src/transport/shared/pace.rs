//! How long handshakes may take, and how long QUIC is tried alone before TCP is tried beside it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A handshake that takes longer is given up, whoever began it.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same through a proxy, behind which may be Tor.
pub(crate) const PROXIED_TIMEOUT: Duration = Duration::from_secs(40);

/// How long QUIC is tried alone: where UDP gets through, most answers come sooner.
const HEAD_START: Duration = Duration::from_millis(250);
/// How long at most, where machine or network are slow.
const LONGEST_HEAD_START: Duration = Duration::from_secs(1);

/// How long handshakes by QUIC take here and now. A machine that is busy would otherwise begin one by TCP beside most of
/// them, and be busier.
#[derive(Default)]
pub(crate) struct Pace {
    /// In microseconds, the last ones weighing most.
    usual: AtomicU64,
}

impl Pace {
    pub(crate) fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let usual = self.usual.load(Ordering::Relaxed);
        self.usual
            .store(usual / 4 * 3 + time / 4, Ordering::Relaxed);
    }

    pub(crate) fn head_start(&self) -> Duration {
        let usual = Duration::from_micros(self.usual.load(Ordering::Relaxed));
        (usual * 4).clamp(HEAD_START, LONGEST_HEAD_START)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_start_follows_the_machine_within_bounds() {
        let pace = Pace::default();
        assert_eq!(pace.head_start(), HEAD_START);
        pace.took(Duration::from_millis(2));
        assert_eq!(pace.head_start(), HEAD_START);
        for _ in 0..20 {
            pace.took(Duration::from_millis(150));
        }
        let busy = pace.head_start();
        assert!(busy > HEAD_START * 2 && busy <= Duration::from_millis(600));
        pace.took(Duration::MAX);
        assert_eq!(pace.head_start(), LONGEST_HEAD_START);
        for _ in 0..200 {
            pace.took(Duration::from_millis(2));
        }
        assert_eq!(pace.head_start(), HEAD_START);
    }
}
