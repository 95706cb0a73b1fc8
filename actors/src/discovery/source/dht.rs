//! The DHT as a source of addresses.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bitchat_wire::channel::ChannelId;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use super::{
    FOUND, Farewell, Report, Source, SourceKind, SourceState, SourceStatus, hashes::Hashes,
};
use crate::{
    dht::{Dht, DhtPeers, DhtState, DhtStatus, Family, Id, WatchStatus},
    discovery::{DiscoveryStatus, Provenance, Sighting, Wanted, book::Tallies},
    kit::clock::{now, unix},
    transport::Target,
};

/// The longest time between two looks at the wall clock for a change of the hashes, beside the moments at which they
/// change: the monotonic clock stands still while a machine sleeps, and the wall clock may be set, so that a timer alone
/// would fire late.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(600);

/// The state of the DHT for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtChannelStatus {
    /// Whether lookups of the channel's infohash are answered.
    pub state: DhtState,
    /// Nodes that accepted our last announce.
    pub announced_to: usize,
    /// Peers that the last lookup found; usually we are among them.
    pub peers: usize,
    /// When nodes last answered.
    pub last_success: Option<Instant>,
    /// When the next lookup or announce is due; `None` while one is under way.
    pub next_try: Option<Instant>,
    /// Nodes that answer, over IPv4 and IPv6; `None` without a socket.
    pub nodes: [Option<usize>; 2],
    /// Whether any node has answered in this run.
    pub ever_answered: bool,
}

impl DhtChannelStatus {
    /// The state for one infohash.
    pub fn new(status: &DhtStatus, watch: &WatchStatus) -> Self {
        Self {
            state: status.state_of(watch),
            announced_to: watch.taken,
            peers: watch.found,
            last_success: watch.answered,
            next_try: if watch.looking {
                None
            } else {
                status.retry.or(watch.next)
            },
            nodes: [&status.v4, &status.v6]
                .map(|family| family.as_ref().map(|family| family.table.good)),
            ever_answered: status.answered.is_some(),
        }
    }

    /// The number of nodes of a family that answer; `None` without a socket.
    fn nodes(&self, family: Family) -> Option<usize> {
        match family {
            Family::V4 => self.nodes[0],
            Family::V6 => self.nodes[1],
        }
    }
}

/// The DHT, and what it has found.
pub(super) struct DhtSource {
    hashes: Hashes,
    /// When the wall clock is looked at next.
    look: Instant,
    found: mpsc::Receiver<DhtPeers>,
}

impl DhtSource {
    pub(super) fn new(dht: Option<Dht>, port: u16) -> Self {
        let (sender, found) = mpsc::channel(FOUND);
        Self {
            hashes: Hashes::new(dht.map(|dht| (dht, sender)), port),
            look: now(),
            found,
        }
    }
}

impl Source for DhtSource {
    fn want<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, ()> {
        // Its hash may be the next to change.
        self.look = now();
        let (cid, keys) = (wanted.cid, wanted.keys.clone());
        self.hashes.want(cid, keys, &wanted.nodes, unix()).boxed()
    }

    fn forget(&mut self, cid: ChannelId) -> BoxFuture<'_, Farewell> {
        async move {
            self.hashes.forget(cid).await;
            Farewell::default()
        }
        .boxed()
    }

    fn announce(&mut self, cid: ChannelId) -> BoxFuture<'_, ()> {
        self.hashes.find(cid).boxed()
    }

    fn announce_by_hand(&self, cid: ChannelId, url: Option<&str>) -> BoxFuture<'static, usize> {
        let find = url.is_none().then(|| self.hashes.find(cid));
        async move {
            if let Some(find) = find {
                find.await;
            }
            0
        }
        .boxed()
    }

    fn status(&self, cid: ChannelId) -> BoxFuture<'static, Box<dyn Report>> {
        let (dht, hash) = (self.hashes.dht().cloned(), self.hashes.present(cid));
        async move {
            let status = fetch(dht, hash).await;
            Box::new(DhtReport(status)) as Box<dyn Report>
        }
        .boxed()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ChannelId, Sighting)> {
        while let Poll::Ready(Some(DhtPeers { hash, peers })) = self.found.poll_recv(cx) {
            let Some(cid) = self.hashes.channel_of(&hash) else {
                continue;
            };
            let sighting = Sighting {
                peer: None,
                addresses: peers.into_iter().map(Target::Direct).collect(),
                source: Provenance::Dht,
                // The DHT drops local addresses that no local node has named.
                local: true,
                via: None,
            };
            return Poll::Ready((cid, sighting));
        }
        Poll::Pending
    }

    fn next_tick(&self) -> Option<Instant> {
        self.hashes.dht().map(|_| self.look)
    }

    fn tick(&mut self) -> BoxFuture<'_, ()> {
        async move {
            let unix = unix();
            self.hashes.rotate(unix).await;
            self.look = now() + self.hashes.next_change(unix).min(LOOK_AT_CLOCK);
        }
        .boxed()
    }
}

/// The state for the channel with this present hash; `None` if the DHT is off or does not answer.
async fn fetch(dht: Option<Dht>, hash: Option<Id>) -> Option<DhtChannelStatus> {
    let (dht, hash) = (dht?, hash?);
    let status = dht.status().await?;
    let watch = status.watches.iter().find(|watch| watch.hash == hash)?;
    Some(DhtChannelStatus::new(&status, watch))
}

/// The DHT for one channel; `None`: it is off.
pub(super) struct DhtReport(pub(super) Option<DhtChannelStatus>);

impl Report for DhtReport {
    fn is_online(&self) -> bool {
        let works = |dht: &DhtChannelStatus| dht.state == DhtState::Working;
        self.0.as_ref().is_some_and(works)
    }

    fn add_to(self: Box<Self>, status: &mut DiscoveryStatus, tallies: &Tallies, online: bool) {
        let of = |family| judge(family, self.0.as_ref(), tallies, online);
        status.sources.extend(Family::ALL.map(of));
        status.dht = self.0;
    }
}

fn judge(
    family: Family,
    dht: Option<&DhtChannelStatus>,
    tallies: &Tallies,
    online: bool,
) -> SourceStatus {
    let kind = match family {
        Family::V4 => SourceKind::DhtV4,
        Family::V6 => SourceKind::DhtV6,
    };
    let off = |about: &str| SourceStatus {
        kind: kind.clone(),
        state: SourceState::Off,
        last_success: None,
        next_try: None,
        linked: 0,
        about: about.to_owned(),
    };
    let Some(dht) = dht else {
        return off("");
    };
    let Some(nodes) = dht.nodes(family) else {
        return off(match family {
            Family::V4 => "no socket for IPv4",
            Family::V6 => "no socket for IPv6",
        });
    };
    let state = match dht.state {
        // One family may work while no node of the other answers.
        DhtState::Working if nodes == 0 => SourceState::Waiting,
        DhtState::Working => SourceState::Working,
        DhtState::Failing if !dht.ever_answered && online => SourceState::Blocked,
        DhtState::Failing => SourceState::Failing,
        DhtState::Waiting => SourceState::Waiting,
    };
    let about = match state {
        SourceState::Working => format!(
            "{nodes} nodes, announced to {}, {} peers",
            dht.announced_to, dht.peers
        ),
        SourceState::Waiting => "no node answers yet".to_owned(),
        SourceState::Blocked => {
            "no node answers; other ways out work: a firewall or provider may be in the way"
                .to_owned()
        }
        _ => "no node answers".to_owned(),
    };
    let works = nodes > 0;
    SourceStatus {
        kind,
        state,
        last_success: dht.last_success.filter(|_| works),
        next_try: dht.next_try,
        linked: if works { tallies.dht.linked } else { 0 },
        about,
    }
}
