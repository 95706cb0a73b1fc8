//! The sources that are asked for a channel's members, one file each, behind one face.
//!
//! A further source is a file beside these that implements [`Source`] and [`Report`], with a line in
//! [`SourceSet::new`], a [`Provenance`] and a [`SourceKind`].
//!
//! [`Provenance`]: super::Provenance

mod dht;
mod hashes;
mod lan;
mod relay;
mod status;
#[cfg(test)]
mod tests;
mod tracker;

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Instant,
};

use bitchat_wire::channel::ChannelId;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use tokio::sync::{mpsc, oneshot};

pub use self::{
    dht::DhtChannelStatus,
    status::{SourceKind, SourceState, SourceStatus},
};
use super::{DiscoveryStatus, Sighting, Wanted, book::Tallies};
use crate::{
    dht::Dht, kit::clock::now, lan::Lan, relay::Relays, tracker::Trackers, transport::Transport,
};

/// Results of one source that wait for discovery: an answer of a tracker or of a node of the DHT each, or a peer in the
/// local network. Beyond it the source waits, or drops the oldest.
const FOUND: usize = 64;

/// Handles to the actors that find addresses.
pub struct Sources {
    /// Trackers.
    pub trackers: Trackers,
    /// The DHT; `None` if it is off.
    pub dht: Option<Dht>,
    /// Relays.
    pub relays: Relays,
    /// Members that register at the same relays.
    pub met: mpsc::Receiver<crate::relay::Found>,
    /// The local network; `None` if it is off.
    pub lan: Option<Lan>,
}

/// One source of addresses.
pub(super) trait Source: Send {
    /// Starts to look for a channel's members; replaces what an earlier call set.
    fn want<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, ()>;

    /// Stops looking. Returns once the commands are sent; the farewell is done when those who know us have been
    /// notified.
    fn forget(&mut self, cid: ChannelId) -> BoxFuture<'_, Farewell>;

    /// Asks again, since members are missing. Each source keeps to limits of its own.
    fn announce(&mut self, cid: ChannelId) -> BoxFuture<'_, ()>;

    /// Asks again for a user, or asks only the tracker at `url`. Returns the number of trackers that are asked.
    fn announce_by_hand(&self, _cid: ChannelId, _url: Option<&str>) -> BoxFuture<'static, usize> {
        async { 0 }.boxed()
    }

    /// Fetches the source's state for a channel.
    fn status(&self, cid: ChannelId) -> BoxFuture<'static, Box<dyn Report>>;

    /// Polls for the next addresses that the source has found.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ChannelId, Sighting)>;

    /// When to call [`Source::tick`]; `None` for a source without timers.
    fn next_tick(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn tick(&mut self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// Completes when those who know us at a source have been notified that we left; `None`: at once.
#[derive(Default)]
pub(super) struct Farewell(Option<oneshot::Receiver<()>>);

impl Farewell {
    async fn done(self) {
        if let Some(notified) = self.0 {
            // An error means that the source has stopped.
            let _ = notified.await;
        }
    }
}

/// The state of a source for one channel. It is judged beside those of the other sources.
pub(super) trait Report: Send {
    /// Whether something on the Internet answers, so that this machine is online.
    fn is_online(&self) -> bool {
        false
    }

    /// Adds the source to the channel's status. `online`: this machine is known to be.
    fn add_to(self: Box<Self>, status: &mut DiscoveryStatus, tallies: &Tallies, online: bool);
}

/// All sources. Survives restarts of the actor, with the results that are not taken yet.
pub(super) struct SourceSet {
    all: Vec<Box<dyn Source>>,
}

impl SourceSet {
    pub(super) fn new(transport: &Transport, sources: Sources) -> Self {
        Self {
            // Their order decides whose results are taken first, and how users see them.
            all: vec![
                Box::new(tracker::TrackerSource::new(transport, sources.trackers)),
                Box::new(dht::DhtSource::new(sources.dht, transport.port())),
                Box::new(lan::LanSource::new(sources.lan)),
                Box::new(relay::RelaySource::new(sources.relays, sources.met)),
            ],
        }
    }

    pub(super) async fn want(&mut self, wanted: &Wanted) {
        for source in &mut self.all {
            source.want(wanted).await;
        }
    }

    /// See [`Source::forget`].
    pub(super) async fn forget(&mut self, cid: ChannelId) -> BoxFuture<'static, ()> {
        let mut farewells = Vec::new();
        for source in &mut self.all {
            farewells.push(source.forget(cid).await);
        }
        join_all(farewells.into_iter().map(Farewell::done))
            .map(drop)
            .boxed()
    }

    pub(super) async fn announce(&mut self, cid: ChannelId) {
        for source in &mut self.all {
            source.announce(cid).await;
        }
    }

    /// See [`Source::announce_by_hand`].
    pub(super) fn announce_by_hand(
        &self,
        cid: ChannelId,
        url: Option<&str>,
    ) -> impl Future<Output = usize> + Send + use<> {
        let asked = self.all.iter().map(|one| one.announce_by_hand(cid, url));
        join_all(asked).map(|asked| asked.into_iter().sum())
    }

    /// Fetches a channel's status from all sources. `candidates` and `dialling`: see [`DiscoveryStatus`].
    pub(super) fn status(
        &self,
        cid: ChannelId,
        tallies: Tallies,
        (candidates, dialling): (usize, usize),
    ) -> impl Future<Output = DiscoveryStatus> + Send + use<> {
        let reports = join_all(self.all.iter().map(|source| source.status(cid)));
        reports.map(move |reports| DiscoveryStatus {
            candidates,
            dialling,
            ..judge(reports, &tallies)
        })
    }

    /// The next addresses that a source has found. Cancel-safe.
    pub(super) async fn next(&mut self) -> (ChannelId, Sighting) {
        poll_fn(|cx| {
            let mut polls = self.all.iter_mut().map(|source| source.poll_next(cx));
            polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }

    /// When to call [`SourceSet::tick`]; `None` while no timer runs.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.all
            .iter()
            .filter_map(|source| source.next_tick())
            .min()
    }

    /// Does what is due in all sources.
    pub(super) async fn tick(&mut self) {
        for source in &mut self.all {
            if source.next_tick().is_some_and(|at| at <= now()) {
                source.tick().await;
            }
        }
    }
}

/// The status of a channel by the reports of its sources and by what their addresses led to. The counts of addresses
/// are left at 0.
fn judge(reports: Vec<Box<dyn Report>>, tallies: &Tallies) -> DiscoveryStatus {
    let online = tallies.links > 0 || reports.iter().any(|report| report.is_online());
    let mut status = DiscoveryStatus {
        trackers: Vec::new(),
        dht: None,
        sources: vec![status::cache(&tallies.cache)],
        candidates: 0,
        dialling: 0,
    };
    for report in reports {
        report.add_to(&mut status, tallies, online);
    }
    status.sources.push(status::hand(&tallies.hand));
    status
        .sources
        .push(status::pex(&tallies.pex, tallies.links));
    status
}
