//! A circuit: copies bytes between two streams in both directions, within its limits, without interpreting them.
//!
//! Nothing is read from one side while the other side's writes are blocked, so a circuit holds two small buffers,
//! whatever its ends do.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::{relay::RelayLimits, transport::Stream};

/// Bytes read at a time.
const BUFFER: usize = 32 << 10;
/// An end that reads nothing for this long is considered gone. Keep-alives of the connection inside come every 25 s.
const WRITE_STALL: Duration = Duration::from_secs(20);
/// So is an end that sends nothing for this long.
const SILENCE: Duration = Duration::from_secs(90);
/// How long an unused allowance is kept.
const BURST: Duration = Duration::from_secs(1);

/// A circuit's rate limit. Pure.
pub(super) struct Pace {
    bytes_a_second: u64,
    /// The allowance is used up until then.
    used_until: Instant,
}

impl Pace {
    pub(super) fn new(bytes_a_second: u64, now: Instant) -> Self {
        Self {
            bytes_a_second,
            used_until: now,
        }
    }

    /// Charges `bytes` that were read; returns how long to wait before writing them.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        if self.bytes_a_second == 0 {
            return Duration::ZERO;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_a_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        self.used_until = self.used_until.max(oldest) + cost;
        self.used_until.saturating_duration_since(now)
    }
}

struct Shared<'a> {
    left: AtomicU64,
    pace: Mutex<Pace>,
    carried: &'a Counter,
}

/// Runs a circuit to its end. Returns the reason, as a label of the metric.
pub(super) async fn splice(
    one: Stream,
    other: Stream,
    limits: &RelayLimits,
    carried: &Counter,
) -> &'static str {
    let shared = Shared {
        left: AtomicU64::new(match limits.circuit_bytes {
            0 => u64::MAX,
            bytes => bytes,
        }),
        pace: Mutex::new(Pace::new(limits.bytes_a_second, Instant::now())),
        carried,
    };
    let both = async {
        let there = copy(one.recv, other.send, &shared);
        let back = copy(other.recv, one.send, &shared);
        match tokio::try_join!(there, back) {
            Ok(_) => "closed",
            Err(reason) => reason,
        }
    };
    if limits.circuit_time.is_zero() {
        return both.await;
    }
    timeout(limits.circuit_time, both)
        .await
        .unwrap_or("time is up")
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared<'_>,
) -> Result<(), &'static str> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = timeout(SILENCE, from.read(&mut buffer))
            .await
            .map_err(|_| "silence")?
            .map_err(|_| "broken")?;
        if read == 0 {
            // The other direction may still carry data.
            return to.shutdown().await.map_err(|_| "broken");
        }
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        let enough = |left: u64| left.checked_sub(bytes);
        shared
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough)
            .map_err(|_| "its bytes are used up")?;
        let wait = {
            let mut pace = shared.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(read, Instant::now())
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let write = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        timeout(WRITE_STALL, write)
            .await
            .map_err(|_| "an end that does not read")?
            .map_err(|_| "broken")?;
        shared.carried.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_over_time_and_what_was_saved_is_little() {
        let now = Instant::now();
        let mut pace = Pace::new(1_000, now);
        let later = now + Duration::from_secs(100);
        // One second's worth at once, after however long a pause.
        assert_eq!(pace.take(1_000, later), Duration::ZERO);
        assert_eq!(pace.take(500, later), Duration::from_millis(500));
        assert_eq!(pace.take(500, later), Duration::from_secs(1));
        let half = later + Duration::from_millis(500);
        assert_eq!(pace.take(1, half), Duration::from_millis(501));
        assert_eq!(Pace::new(0, now).take(usize::MAX, now), Duration::ZERO);
        // What no clock can hold does not panic.
        let mut slowest = Pace::new(1, now);
        assert!(slowest.take(usize::MAX >> 34, now) > Duration::from_secs(1));
    }
}
