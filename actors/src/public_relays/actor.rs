//! The search: asks trackers and the DHT, tries what they name, and hands relays to the relays' actor.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use super::{
    places::{self, MAX_TRACKERS, Places, keys},
    state::{Effect, Input, State},
};
use crate::{
    dht::Dht,
    kit::{
        Actor, Inbox, Scope,
        clock::{now, unix},
    },
    relay::{MOST_OFFERED, Relays},
    tracker::{TrackerPeers, Trackers},
    transport::{Relay, Transport, network::is_believable},
};

/// How long trackers may take to answer. Then they are notified that this node stops: a node that looks for relays is
/// not one, and others that look must not try it.
const ASKING: Duration = Duration::from_secs(20);
/// How long to wait for further responses after the first, so that members who ask different trackers see the same relays.
const GATHER: Duration = Duration::from_millis(500);

/// What each life of the actor is built from.
#[derive(Clone)]
pub(super) struct Parts {
    /// How long relays may be missing before the first look.
    pub(super) delay: Duration,
    /// Whether this node announces itself, so that its trackers are watched anyway.
    pub(super) offers: bool,
    pub(super) places: Places,
    pub(super) transport: Transport,
    pub(super) relays: Relays,
    pub(super) trackers: Trackers,
    pub(super) dht: Option<Dht>,
    /// The sender of the actor's own mailbox.
    pub(super) found: mpsc::Sender<TrackerPeers>,
}

/// One life of the actor.
pub(super) struct Seeker {
    parts: Parts,
    state: State,
    wanting: watch::Receiver<bool>,
    tries: JoinSet<(SocketAddr, Option<Relay>)>,
    lookups: JoinSet<Vec<SocketAddr>>,
    /// Until when trackers are asked; `None` if they are not.
    asking: Option<Instant>,
    /// Whether one of them has answered.
    answered: bool,
    /// The addresses found since the last input of them.
    gathered: Vec<SocketAddr>,
    /// When they become an input; `None` if nothing was found.
    gather: Option<Instant>,
}

impl Actor for Seeker {
    type Msg = TrackerPeers;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<TrackerPeers>, scope: &Scope) -> Result<(), String> {
        // An earlier life may have left trackers asked.
        self.unwatch().await;
        let mut input = Input::Wanting(*self.wanting.borrow_and_update());
        loop {
            self.apply(input).await;
            let timers = [self.state.next(), self.asking, self.gather];
            let next = timers.into_iter().flatten().min();
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            input = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                Some(tried) = self.tries.join_next() => self.tried(tried),
                changed = self.wanting.changed() => match changed {
                    Ok(()) => Input::Wanting(*self.wanting.borrow_and_update()),
                    // The relays' actor has stopped for good.
                    Err(_) => return Ok(()),
                },
                Some(peers) = self.lookups.join_next() => self.looked_up(peers.unwrap_or_default()),
                answer = inbox.recv() => match answer {
                    Some(answer) => self.named(answer),
                    None => return Ok(()),
                },
                () = sleep => Input::Tick,
            };
        }
    }
}

impl Seeker {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            state: State::new(parts.delay),
            wanting: parts.relays.wanting(),
            parts,
            tries: JoinSet::new(),
            lookups: JoinSet::new(),
            asking: None,
            answered: false,
            gathered: Vec::new(),
            gather: None,
        }
    }

    /// Feeds the state, and what was gathered long enough; carries out the effects.
    async fn apply(&mut self, input: Input) {
        let met = self.parts.places.met();
        let mut effects = self.state.handle(input, &met, now(), unix());
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now());
        let is_gathered = passed(self.gather);
        if is_gathered {
            self.gather = None;
            let found = Input::Found(std::mem::take(&mut self.gathered));
            effects.extend(self.state.handle(found, &met, now(), unix()));
        }
        if passed(self.asking) || (is_gathered && self.answered) {
            (self.asking, self.answered) = (None, false);
            self.unwatch().await;
        }
        for effect in effects {
            match effect {
                Effect::Look => self.look().await,
                Effect::Try(address) => self.dial(address),
            }
        }
    }

    /// Asks trackers and the DHT.
    async fn look(&mut self) {
        tracing::debug!("looking for public relays");
        let trackers = &self.parts.trackers;
        if self.parts.offers {
            trackers.announce_now(keys().cid).await;
        } else {
            let tiers = self.parts.places.tiers();
            let watch = places::watch(tiers, self.parts.found.clone());
            trackers.watch(watch).await;
            self.asking = Some(now() + ASKING);
        }
        if let Some(dht) = self.parts.dht.clone() {
            self.lookups.spawn(async move {
                let mut all = Vec::new();
                for hash in places::hashes() {
                    all.extend(dht.lookup(hash).await.peers);
                }
                all
            });
        }
    }

    /// Has trackers notified that this node stops, unless it announces itself. Does not wait for them.
    async fn unwatch(&self) {
        if !self.parts.offers {
            drop(self.parts.trackers.begin_unwatch(keys().cid).await);
        }
    }

    fn dial(&mut self, address: SocketAddr) {
        let transport = self.parts.transport.clone();
        self.tries.spawn(async move {
            let connection = transport.dial(address, None).await.ok();
            let relay = connection.map(|connection| Relay {
                address,
                peer: connection.peer(),
            });
            (address, relay)
        });
    }

    /// Hands a peer that answered to the relays' actor.
    fn tried(&self, tried: Result<(SocketAddr, Option<Relay>), JoinError>) -> Input {
        let Ok((address, relay)) = tried else {
            return Input::Tick;
        };
        if let Some(relay) = relay {
            tracing::debug!(%address, "a peer that may be a public relay");
            self.parts.relays.offered(relay);
        }
        Input::Tried(address, relay.is_some())
    }

    /// Gathers what the DHT has found. The DHT itself drops addresses that only a node in the local network may name.
    fn looked_up(&mut self, peers: Vec<SocketAddr>) -> Input {
        let believable = peers.into_iter().filter(|at| is_believable(*at, true));
        self.gathered.extend(believable);
        self.gather.get_or_insert(now() + GATHER);
        Input::Tick
    }

    /// Gathers what a tracker has named.
    fn named(&mut self, answer: TrackerPeers) -> Input {
        let local = answer.local;
        let believable = answer
            .peers
            .into_iter()
            .filter(|at| is_believable(*at, local));
        self.gathered.extend(believable.take(MOST_OFFERED));
        self.gathered.truncate(MAX_TRACKERS * MOST_OFFERED);
        self.gather.get_or_insert(now() + GATHER);
        self.answered = self.asking.is_some();
        Input::Tick
    }
}
