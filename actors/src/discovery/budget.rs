//! The dials under way, and whether another may begin. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bitchat_wire::channel::ChannelId;
use libp2p_identity::PeerId;

use super::book::Candidate;
use crate::transport::Target;

/// Dials under way, of all channels. Those that nobody answers take the whole time-out; fewer of them would let
/// stale addresses hold up the good ones.
pub(super) const MAX_DIALS: usize = 32;
/// Attempts that have just begun, of all channels: dials, and connections whose links are being made. Most answers
/// come soon, and more handshakes at once starve each other: on a busy machine a large mesh would never form.
pub(super) const MAX_FRESH: usize = 4;
/// For how long at least each of the two stages of an attempt counts as just begun. What takes longer is most likely
/// nobody's answer, unless those that were answered of late took long as well.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// For how long at most: the time-out of each.
const LONGEST_FRESH: Duration = Duration::from_secs(10);

/// A dial under way.
pub(super) struct Dial {
    expected: Option<PeerId>,
    /// For whom.
    pub(super) channels: Vec<ChannelId>,
    pub(super) since: Instant,
}

/// Whether a dial may begin.
pub(super) enum Room {
    /// So many may.
    For(usize),
    /// When an attempt is not fresh any more, at the latest then.
    At(Instant),
    /// When a dial has ended.
    None,
}

/// All dials.
pub(super) struct Budget {
    pub(super) dials: HashMap<Target, Dial>,
    /// For how long attempts count as just begun, as machine and network are now.
    pub(super) fresh: Duration,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            dials: HashMap::new(),
            fresh: FRESH,
        }
    }

    /// A stage of an attempt ended well, so long after its beginning.
    pub(super) fn took(&mut self, time: Duration) {
        let fresh = (time * 4).clamp(FRESH, LONGEST_FRESH);
        self.fresh = (self.fresh * 3 + fresh) / 4;
    }

    /// `reached`: since when connections wait for their links.
    pub(super) fn room(&self, reached: impl Iterator<Item = Instant>, now: Instant) -> Room {
        if self.dials.len() >= MAX_DIALS {
            return Room::None;
        }
        let begun = self.dials.values().map(|dial| dial.since).chain(reached);
        let mut fresh: Vec<Instant> = begun
            .map(|since| since + self.fresh)
            .filter(|until| *until > now)
            .collect();
        fresh.sort_unstable();
        match fresh.len().checked_sub(MAX_FRESH) {
            Some(over) => Room::At(fresh[over]),
            None => {
                let free = MAX_FRESH - fresh.len();
                Room::For(free.min(MAX_DIALS - self.dials.len()))
            }
        }
    }

    pub(super) fn begin(
        &mut self,
        address: Target,
        cid: ChannelId,
        expected: Option<PeerId>,
        now: Instant,
    ) {
        let dial = Dial {
            expected,
            channels: vec![cid],
            since: now,
        };
        self.dials.insert(address, dial);
    }

    /// Joins a dial of the same address for another channel, if there is one; false if that must wait.
    pub(super) fn join(
        &mut self,
        cid: ChannelId,
        address: Target,
        candidate: &Candidate,
    ) -> Option<bool> {
        let dial = self.dials.get_mut(&address)?;
        // A dial that accepts only one peer serves those who want that one or do not mind.
        let fits = dial.expected.is_none()
            || candidate
                .expected
                .is_none_or(|expected| dial.expected == Some(expected));
        if fits {
            dial.channels.push(cid);
        }
        Some(fits)
    }

    /// A channel wants none of them any more; returns those that nobody else wants, which are gone.
    pub(super) fn forget(&mut self, cid: ChannelId) -> Vec<Target> {
        let mut gone = Vec::new();
        self.dials.retain(|address, dial| {
            dial.channels.retain(|other| *other != cid);
            if dial.channels.is_empty() {
                gone.push(*address);
            }
            !dial.channels.is_empty()
        });
        gone
    }
}
