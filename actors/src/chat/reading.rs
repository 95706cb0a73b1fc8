//! The pace of our own read marks. Pure.

use std::time::{Duration, Instant};

use bitchat_wire::event::ReadMark;

/// The shortest time between two read marks of ours: each stays in our log for ever.
const READ_PAUSE: Duration = Duration::from_secs(10);

/// How far we have read, and how far we have published it.
#[derive(Default)]
pub(super) struct Reading {
    published: Option<ReadMark>,
    /// What was published before the mark taken last.
    before: Option<ReadMark>,
    wanted: Option<ReadMark>,
    next: Option<Instant>,
}

impl Reading {
    /// Takes over a mark of ours that is in the log.
    pub(super) fn published(&mut self, mark: Option<ReadMark>) {
        self.published = self.published.max(mark);
    }

    /// Notes that we have read up to `mark`. False if that, or more, was published or is about to be.
    pub(super) fn up_to(&mut self, mark: ReadMark, now: Instant) -> bool {
        if self.published.max(self.wanted) >= Some(mark) {
            return false;
        }
        self.wanted = Some(mark);
        self.next.get_or_insert(now);
        true
    }

    /// When the next mark is to be published; `None` if there is none.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.and(self.next)
    }

    /// The mark to publish now; `None` if none is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<ReadMark> {
        if self.due()? > now {
            return None;
        }
        let mark = self.wanted.take();
        self.before = self.published;
        self.published = self.published.max(mark);
        self.next = Some(now + READ_PAUSE);
        mark
    }

    /// Forgets that `mark` was published: nobody knows whether it was, so it may be asked for again.
    pub(super) fn lost(&mut self, mark: ReadMark) {
        if self.published == Some(mark) {
            self.published = self.before;
        }
    }

    /// Publishes `mark`, which was refused, at `at` instead, unless we have read further by then.
    pub(super) fn postpone(&mut self, mark: ReadMark, at: Instant) {
        self.wanted = self.wanted.max(Some(mark));
        self.next = Some(at);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mark(lamport: u64) -> ReadMark {
        ReadMark {
            lamport,
            device: [0; 32],
            seq: 0,
        }
    }

    #[test]
    fn read_marks_rise_and_are_published_seldom() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut reading = Reading::default();
        reading.published(Some(mark(5)));
        assert!(!reading.up_to(mark(5), at(0)) && reading.due().is_none());
        assert!(reading.up_to(mark(6), at(0)));
        assert_eq!(reading.take(at(0)), Some(mark(6)));
        assert_eq!((reading.take(at(0)), reading.due()), (None, None));
        assert!(reading.up_to(mark(7), at(1)) && reading.up_to(mark(9), at(2)));
        assert!(!reading.up_to(mark(8), at(3)), "it never falls");
        assert_eq!(reading.due(), Some(at(10)));
        assert_eq!(reading.take(at(9)), None);
        assert_eq!(reading.take(at(10)), Some(mark(9)));
        reading.lost(mark(9));
        assert!(reading.up_to(mark(9), at(20)), "it was lost");
        assert_eq!(reading.take(at(20)), Some(mark(9)));
        assert!(reading.up_to(mark(10), at(60)));
        assert_eq!(
            reading.take(at(60)),
            Some(mark(10)),
            "after a long time at once"
        );
    }

    #[test]
    fn a_refused_mark_is_published_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut reading = Reading::default();
        assert!(reading.up_to(mark(1), at(0)));
        assert_eq!(reading.take(at(0)), Some(mark(1)));
        reading.postpone(mark(1), at(2));
        assert_eq!((reading.take(at(1)), reading.due()), (None, Some(at(2))));
        assert!(reading.up_to(mark(2), at(1)));
        assert_eq!(reading.take(at(2)), Some(mark(2)));
    }
}
