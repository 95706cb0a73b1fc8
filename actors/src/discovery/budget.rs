//! The dials under way, and whether another one may begin. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bitchat_wire::channel::ChannelId;
use libp2p_identity::PeerId;

use super::book::Candidate;
use crate::transport::Target;

/// Dials under way, for all channels. A dial without an answer takes the whole time-out; with a lower limit stale
/// addresses would hold up good ones.
pub(super) const MAX_DIALS: usize = 32;
/// Attempts that have just begun, for all channels: dials, and connections whose links are being set up. Most answers
/// come soon, and more handshakes at once starve each other: on a busy machine a large mesh would never form.
pub(super) const MAX_FRESH: usize = 4;
/// The shortest time for which each of the two stages of an attempt counts as just begun. An attempt that takes longer
/// will most likely never be answered, unless recent ones took long as well.
pub(super) const FRESH: Duration = Duration::from_secs(1);
/// The longest such time: the time-out of each stage.
const LONGEST_FRESH: Duration = Duration::from_secs(10);

/// A dial under way.
pub(super) struct Dial {
    expected: Option<PeerId>,
    /// The channels that want it.
    pub(super) channels: Vec<ChannelId>,
    pub(super) since: Instant,
}

/// Whether another dial may begin.
pub(super) enum Room {
    /// This many dials may begin.
    For(usize),
    /// A dial may begin at this time, when an attempt is no longer fresh.
    At(Instant),
    /// No dial may begin before another one has ended.
    None,
}

/// All dials under way.
pub(super) struct Budget {
    pub(super) dials: HashMap<Target, Dial>,
    /// How long attempts count as just begun, as measured on this machine and network.
    pub(super) fresh: Duration,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            dials: HashMap::new(),
            fresh: FRESH,
        }
    }

    /// Records that a stage of an attempt succeeded after `time`.
    pub(super) fn took(&mut self, time: Duration) {
        let fresh = (time * 4).clamp(FRESH, LONGEST_FRESH);
        self.fresh = (self.fresh * 3 + fresh) / 4;
    }

    /// Whether another dial may begin. `reached`: the times since which connections have been waiting for their links.
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

    /// Joins a dial of the same address for another channel. `None` if there is none; false if the channel must wait
    /// for its end.
    pub(super) fn join(
        &mut self,
        cid: ChannelId,
        address: Target,
        candidate: &Candidate,
    ) -> Option<bool> {
        let dial = self.dials.get_mut(&address)?;
        // A dial that accepts only one peer serves channels that want that peer or accept any.
        let fits = dial.expected.is_none()
            || candidate
                .expected
                .is_none_or(|expected| dial.expected == Some(expected));
        if fits {
            dial.channels.push(cid);
        }
        Some(fits)
    }

    /// Withdraws a channel from all dials; returns those that no other channel wants, which are dropped.
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
