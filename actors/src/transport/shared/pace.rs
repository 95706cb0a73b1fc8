//! Time limits of handshakes, and the head start of QUIC before TCP.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Time limit of a handshake, in either direction.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same through a proxy, which may lead into Tor.
pub(crate) const PROXIED_TIMEOUT: Duration = Duration::from_secs(40);

/// How long QUIC is tried alone: where UDP gets through, most answers arrive sooner.
const HEAD_START: Duration = Duration::from_millis(250);
/// The same at most, on a slow machine or network.
const LONGEST_HEAD_START: Duration = Duration::from_secs(1);

/// The usual duration of QUIC handshakes on this machine and network. A busy machine would otherwise start a TCP
/// handshake beside most of them, and become busier.
#[derive(Default)]
pub(crate) struct Pace {
    /// A moving average in microseconds, weighted towards the latest.
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
