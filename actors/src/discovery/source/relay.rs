//! Relays as a source of addresses: members of a channel register at the same ones and meet there.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
};

use bitchat_wire::channel::ChannelId;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use super::{Farewell, Report, Source, SourceKind, SourceState, SourceStatus};
use crate::{
    discovery::{DiscoveryStatus, Provenance, Sighting, Wanted, book::Tallies},
    relay::{self, Relays},
    transport::{Relay, Target},
};

/// Relays, and the members met there.
pub(super) struct RelaySource {
    relays: Relays,
    /// Relays that channels' files name.
    named: HashMap<ChannelId, Vec<Relay>>,
    met: mpsc::Receiver<relay::Found>,
    /// What is left of the last of these: as many members as one message of a relay names.
    targets: VecDeque<(ChannelId, Target)>,
}

impl RelaySource {
    pub(super) fn new(relays: Relays, met: mpsc::Receiver<relay::Found>) -> Self {
        Self {
            relays,
            named: HashMap::new(),
            met,
            targets: VecDeque::new(),
        }
    }
}

impl Source for RelaySource {
    fn want<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, ()> {
        let (cid, keys, relays) = (wanted.cid, wanted.keys.clone(), wanted.relays.clone());
        self.named.insert(cid, relays.clone());
        self.relays.watch(cid, keys, relays).boxed()
    }

    fn forget(&mut self, cid: ChannelId) -> BoxFuture<'_, Farewell> {
        self.named.remove(&cid);
        async move {
            self.relays.unwatch(cid).await;
            Farewell::default()
        }
        .boxed()
    }

    /// Relays report members by themselves.
    fn announce(&mut self, _: ChannelId) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn status(&self, cid: ChannelId) -> BoxFuture<'static, Box<dyn Report>> {
        let named = self.named.get(&cid).map_or(&[][..], Vec::as_slice);
        let reachable = self.relays.reachable();
        let held = reachable.borrow();
        let is_held = |named: &&Relay| held.iter().any(|held| held.peer == named.peer);
        let report = RelayReport {
            named: named.len(),
            held: named.iter().filter(is_held).count(),
        };
        async move { Box::new(report) as Box<dyn Report> }.boxed()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ChannelId, Sighting)> {
        while self.targets.is_empty() {
            let Poll::Ready(Some(relay::Found { cid, targets })) = self.met.poll_recv(cx) else {
                return Poll::Pending;
            };
            self.targets
                .extend(targets.into_iter().map(|one| (cid, one)));
        }
        let Some((cid, target)) = self.targets.pop_front() else {
            return Poll::Pending;
        };
        let peer = match target {
            Target::Circuit { peer, .. } => Some(peer),
            Target::Direct(_) => None,
        };
        let sighting = Sighting {
            peer,
            addresses: vec![target],
            source: Provenance::Relay,
            // We are connected to that relay, wherever it is.
            local: true,
            via: None,
        };
        Poll::Ready((cid, sighting))
    }
}

/// The relays that a channel's file names.
#[derive(Clone, Copy, Default)]
pub(super) struct RelayReport {
    pub(super) named: usize,
    /// Relays of those at which we have a reservation.
    pub(super) held: usize,
}

impl Report for RelayReport {
    fn add_to(self: Box<Self>, status: &mut DiscoveryStatus, tallies: &Tallies, _: bool) {
        let tally = &tallies.relay;
        let (state, about) = match *self {
            _ if tally.last.is_some() => (SourceState::Working, String::new()),
            Self { named: 0, .. } => (SourceState::Off, String::new()),
            // At most two are used.
            Self { held: 0, named } => (
                SourceState::Waiting,
                format!(
                    "none of the {named} relays that the channel's file names has a place for us yet"
                ),
            ),
            Self { held, .. } => (
                SourceState::Working,
                format!("registered at {held}; no member was met there"),
            ),
        };
        status.sources.push(SourceStatus {
            kind: SourceKind::Relay,
            state,
            last_success: tally.last,
            next_try: None,
            linked: tally.linked,
            about,
        });
    }
}
