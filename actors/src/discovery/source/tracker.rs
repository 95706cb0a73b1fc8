//! Trackers as a source of addresses.

use std::{
    collections::HashMap,
    task::{Context, Poll},
};

use bitchat_wire::channel::ChannelId;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use super::{FOUND, Farewell, Report, Source, SourceKind, SourceState, SourceStatus};
use crate::{
    discovery::{DiscoveryStatus, Provenance, Sighting, Wanted, book::Tallies},
    tracker::{TrackerPeers, TrackerState, TrackerStatus, Trackers, Watch},
    transport::{Target, Transport},
};

/// Trackers, and what they have found.
pub(super) struct TrackerSource {
    trackers: Trackers,
    transport: Transport,
    /// Whether nobody may learn our address. Behind a proxy it is the proxy's that trackers learn.
    hides: bool,
    /// Trackers that are not asked while we hide.
    unasked: HashMap<ChannelId, Vec<Vec<String>>>,
    sender: mpsc::Sender<TrackerPeers>,
    found: mpsc::Receiver<TrackerPeers>,
}

impl TrackerSource {
    pub(super) fn new(transport: &Transport, trackers: Trackers) -> Self {
        let (sender, found) = mpsc::channel(FOUND);
        Self {
            trackers,
            transport: transport.clone(),
            hides: transport.paths().is_hidden() && transport.proxy().is_none(),
            unasked: HashMap::new(),
            sender,
            found,
        }
    }
}

impl Source for TrackerSource {
    fn want<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, ()> {
        // An announce lists our address for everybody who asks, not only for members.
        let tiers = if self.hides {
            self.unasked.insert(wanted.cid, wanted.tiers.clone());
            Vec::new()
        } else {
            wanted.tiers.clone()
        };
        let watch = Watch {
            cid: wanted.cid,
            tiers,
            keys: wanted.keys.clone(),
            not_before: wanted.not_before,
            found: self.sender.clone(),
        };
        self.trackers.watch(watch).boxed()
    }

    fn forget(&mut self, cid: ChannelId) -> BoxFuture<'_, Farewell> {
        self.unasked.remove(&cid);
        async move {
            // The command is sent here, so that a channel wanted again at once is not forgotten afterwards.
            Farewell(Some(self.trackers.begin_unwatch(cid).await))
        }
        .boxed()
    }

    fn announce(&mut self, cid: ChannelId) -> BoxFuture<'_, ()> {
        self.trackers.announce_now(cid).boxed()
    }

    fn announce_by_hand(&self, cid: ChannelId, url: Option<&str>) -> BoxFuture<'static, usize> {
        let (trackers, url) = (self.trackers.clone(), url.map(str::to_owned));
        async move { trackers.announce_by_hand(cid, url).await }.boxed()
    }

    fn status(&self, cid: ChannelId) -> BoxFuture<'static, Box<dyn Report>> {
        let trackers = self.trackers.clone();
        let unasked = self.unasked.get(&cid).into_iter().flatten().enumerate();
        let unasked: Vec<TrackerStatus> = unasked
            .flat_map(|(tier, urls)| {
                let why = "is not asked: it would show our address to everybody";
                let unasked = move |url| TrackerStatus::unasked(url, tier, why);
                urls.iter().cloned().map(unasked)
            })
            .collect();
        async move {
            let mut all = trackers.status(cid).await;
            all.extend(unasked);
            Box::new(TrackerReport(all)) as Box<dyn Report>
        }
        .boxed()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ChannelId, Sighting)> {
        let Poll::Ready(Some(answer)) = self.found.poll_recv(cx) else {
            return Poll::Pending;
        };
        let TrackerPeers {
            cid,
            tracker,
            local,
            peers,
            external,
        } = answer;
        if let Some(ip) = external.filter(|_| !local) {
            self.transport.tracker_sees(ip);
        }
        let sighting = Sighting {
            peer: None,
            addresses: peers.into_iter().map(Target::Direct).collect(),
            source: Provenance::Tracker(tracker),
            local,
            via: None,
        };
        Poll::Ready((cid, sighting))
    }
}

/// The trackers of one channel.
pub(super) struct TrackerReport(pub(super) Vec<TrackerStatus>);

impl Report for TrackerReport {
    fn is_online(&self) -> bool {
        let works = |tracker: &TrackerStatus| tracker.state == TrackerState::Working;
        self.0.iter().any(works)
    }

    fn add_to(self: Box<Self>, status: &mut DiscoveryStatus, tallies: &Tallies, online: bool) {
        let judged = self.0.iter().map(|one| judge(one, tallies, online));
        status.sources.extend(judged);
        status.trackers = self.0;
    }
}

fn judge(status: &TrackerStatus, tallies: &Tallies, online: bool) -> SourceStatus {
    let state = match status.state {
        TrackerState::Waiting => SourceState::Waiting,
        TrackerState::Working => SourceState::Working,
        TrackerState::Failing if status.silent && status.last_success.is_none() && online => {
            SourceState::Blocked
        }
        TrackerState::Failing => SourceState::Failing,
        TrackerState::Unsupported => SourceState::Off,
    };
    let tally = tallies.trackers.get(&status.url);
    let error = status.error.clone().unwrap_or_default();
    let about = match state {
        SourceState::Working if error.is_empty() => format!("{} peers", status.peers),
        SourceState::Blocked => {
            format!("{error}; other ways out work: a firewall or provider may be in the way")
        }
        _ => error,
    };
    SourceStatus {
        kind: SourceKind::Tracker(status.url.clone()),
        state,
        last_success: status.last_success,
        next_try: status.next_announce,
        linked: tally.map_or(0, |tally| tally.linked),
        about,
    }
}
