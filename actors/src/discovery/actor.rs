//! The shell around the state: clock, dials, and the questions to trackers and store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Guarded, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::channel::ChannelId;
use libp2p_identity::PeerId;
use tokio::{
    sync::{Mutex, mpsc},
    task::{AbortHandle, JoinSet},
};

use super::{
    DhtSource, DiscoveryStatus, Hint, Outcome, Provenance, Reached, Wanted,
    hashes::Hashes,
    probes::Probes,
    sources::{self, FileRelays, Known},
    state::{Effect, Event, State},
};
use crate::{
    dht::{Dht, DhtPeers, Id},
    kit::{Actor, Inbox, Outbox, Reply, Scope, clock::now},
    lan::{self, Lan, LanPeer},
    relay::{self, Relays},
    store::{KnownPeer, Store},
    tracker::{self, TrackerPeers, TrackerStatus, Trackers},
    transport::{self, Class, Connection, DialError, Relay, Target, Transport, network},
};

/// Connections queued for their receiver; beyond it the oldest is dropped, and dialled again later.
const OUTBOX: usize = 64;
/// Questions to store and trackers under way. Beyond it an address is not remembered this time.
const ERRANDS: usize = 64;
/// Peers of whom we know who told us of them; beyond, all are forgotten, and told of again when a link comes up.
const MOST_HELPERS: usize = 1_024;
/// How often at least the wall clock is looked at for a change of the hashes, beside the moments at which they change: the
/// monotonic clock stands still while a machine sleeps, and the other one may be set, so that a timer alone would come late.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(600);

/// A command.
pub(super) enum Msg {
    /// Look for members.
    Want(Box<Wanted>),
    /// No longer; answered when the trackers know.
    Forget(ChannelId, Reply<()>),
    /// Addresses.
    Hint(ChannelId, Hint),
    /// What became of a connection.
    Outcome(ChannelId, Outcome),
    /// The network has changed.
    Moved,
    /// Ask trackers.
    AnnounceNow(ChannelId),
    /// Ask trackers, or one, for a user.
    AnnounceByHand(ChannelId, Option<String>, Reply<usize>),
    /// Tell the state.
    Status(ChannelId, Reply<Option<DiscoveryStatus>>),
}

/// What the actor is made of at each start.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) transport: Transport,
    pub(super) trackers: (Trackers, mpsc::Sender<TrackerPeers>),
    pub(super) dht: Option<(Dht, mpsc::Sender<DhtPeers>)>,
    pub(super) relays: Relays,
    pub(super) lan: Option<(Lan, mpsc::Sender<LanPeer>)>,
    pub(super) incoming: Arc<Mutex<Incoming>>,
    pub(super) store: Store,
    pub(super) reached: mpsc::Sender<Reached>,
    /// What outlives a restart.
    pub(super) wanted: Arc<Guarded<HashMap<ChannelId, Wanted>>>,
}

impl Parts {
    fn wanted(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What trackers find, what the DHT finds, who is heard in the local network, and who is met at relays.
pub(super) type Incoming = (
    mpsc::Receiver<TrackerPeers>,
    mpsc::Receiver<DhtPeers>,
    mpsc::Receiver<LanPeer>,
    mpsc::Receiver<relay::Found>,
);

type Dialled = (Target, Result<Connection, DialError>);

/// The actor.
pub(super) struct DiscoveryActor {
    parts: Parts,
    state: State,
    hashes: Hashes,
    dials: JoinSet<Dialled>,
    handles: HashMap<Target, AbortHandle>,
    /// Each ends with news for the state, or without.
    errands: JoinSet<Option<Event>>,
    outbox: Outbox<Reached>,
    /// When the wall clock is looked at next.
    look: Instant,
    /// Who told us of a peer, and may be linked to it.
    helpers: HashMap<PeerId, PeerId>,
    probes: Probes,
}

impl Actor for DiscoveryActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let incoming = Arc::clone(&self.parts.incoming);
        // The former life's guard is gone with it.
        let (found, dht_found, lan_found, met) = &mut *incoming.lock().await;
        let known: Vec<Wanted> = self.parts.wanted().values().cloned().collect();
        for wanted in known {
            self.want(wanted, scope).await;
        }
        let udp = self.parts.transport.udp();
        let mut punches = udp.subscribe(Class::Punch);
        loop {
            for address in self.probes.due(now()) {
                if self.state.is_sought(address) {
                    // The next one may get through.
                    let _ = udp.try_send_to(address, &transport::punch());
                } else {
                    self.probes.forget(&address);
                }
            }
            let next = [self.state.next(now()), self.probes.next()];
            let next = next.into_iter().flatten().min();
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                sent = self.outbox.send_next() => if sent.is_err() {
                    // The receiver was dropped, so there is nothing left to do.
                    return Ok(());
                },
                Some(end) = self.dials.join_next() => self.dialled(end, scope).await?,
                Some(news) = self.errands.join_next() => {
                    if let Some(event) = news.map_err(|error| format!("an errand failed: {error}"))? {
                        self.apply(event, None, scope).await;
                    }
                }
                message = inbox.recv() => match message {
                    Some(message) => self.handle(message, scope).await,
                    None => return Ok(()),
                },
                Some(TrackerPeers { cid, tracker, local, peers, external }) = found.recv() => {
                    if let Some(ip) = external.filter(|_| !local) {
                        self.parts.transport.tracker_sees(ip);
                    }
                    peers.iter().for_each(|at| self.probes.named(*at, now()));
                    let source = Provenance::Tracker(tracker);
                    self.apply(Event::Found { cid, source, local, peers }, None, scope).await;
                }
                Some(DhtPeers { hash, peers }) = dht_found.recv() => {
                    if let Some(cid) = self.hashes.channel_of(&hash) {
                        peers.iter().for_each(|at| self.probes.named(*at, now()));
                        // It drops what nobody but a local node may name.
                        let event = Event::Found { cid, source: Provenance::Dht, local: true, peers };
                        self.apply(event, None, scope).await;
                    }
                }
                Some(LanPeer { cid, address }) = lan_found.recv() => {
                    let event = Event::Found { cid, source: Provenance::Lan, local: true, peers: vec![address] };
                    self.apply(event, None, scope).await;
                }
                Some(relay::Found { cid, targets }) = met.recv() => {
                    for target in targets {
                        self.apply(Event::Hint(cid, met_at(target)), None, scope).await;
                    }
                }
                Some((from, _)) = punches.recv() => {
                    if self.probes.heard(&from, now()) {
                        self.apply(Event::Knocked(from), None, scope).await;
                    }
                }
                () = tokio::time::sleep_until(self.look.into()) => {
                    let unix = unix_ms() / 1_000;
                    self.hashes.rotate(unix).await;
                    self.look = now() + self.hashes.next_change(unix).min(LOOK_AT_CLOCK);
                }
                () = sleep => self.apply(Event::Tick, None, scope).await,
            }
        }
    }
}

impl DiscoveryActor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            state: State::new(parts.transport.peer_id()),
            hashes: Hashes::new(parts.dht.clone(), parts.transport.port()),
            parts,
            dials: JoinSet::new(),
            handles: HashMap::new(),
            errands: JoinSet::new(),
            outbox: Outbox::new("reached", OUTBOX),
            look: now(),
            helpers: HashMap::new(),
            probes: Probes::default(),
        }
    }

    async fn handle(&mut self, message: Msg, scope: &Scope) {
        match message {
            Msg::Want(wanted) => {
                self.parts.wanted().insert(wanted.cid, (*wanted).clone());
                self.want(*wanted, scope).await;
            }
            Msg::Forget(cid, done) => {
                self.parts.wanted().remove(&cid);
                self.apply(Event::Forget(cid), None, scope).await;
                self.outbox.retain(|reached| reached.cid != cid);
                self.hashes.forget(cid).await;
                self.parts.relays.unwatch(cid).await;
                if let Some((lan, _)) = &self.parts.lan {
                    lan.unwatch(cid).await;
                }
                // The command goes out here, so that a channel wanted again at once is not forgotten after.
                let told = self.parts.trackers.0.begin_unwatch(cid).await;
                self.errands.spawn(async move {
                    // Dropped when the trackers have stopped; and whoever asked may have gone.
                    let _ = told.await;
                    let _ = done.send(());
                    None
                });
            }
            Msg::Hint(cid, hint) => {
                // Nobody carries its own words to itself.
                if let (Some(peer), Some(via)) = (hint.peer, hint.via)
                    && peer != via
                {
                    if self.helpers.len() >= MOST_HELPERS {
                        self.helpers.clear();
                    }
                    self.helpers.insert(peer, via);
                }
                self.apply(Event::Hint(cid, hint), None, scope).await;
            }
            Msg::Outcome(cid, outcome) => {
                self.apply(Event::Outcome(cid, outcome), None, scope).await
            }
            Msg::Moved => {
                self.apply(Event::Moved, None, scope).await;
                let all: Vec<ChannelId> = self.parts.wanted().keys().copied().collect();
                for cid in all {
                    self.announce(cid).await;
                }
            }
            Msg::AnnounceNow(cid) => self.announce(cid).await,
            Msg::AnnounceByHand(cid, url, answer) => {
                if url.is_none() {
                    self.hashes.find(cid).await;
                }
                let trackers = self.parts.trackers.0.clone();
                self.errands.spawn(async move {
                    // Whoever asked may have gone.
                    let _ = answer.send(trackers.announce_by_hand(cid, url).await);
                    None
                });
            }
            Msg::Status(cid, answer) => {
                let counts = self.state.counts(cid);
                let trackers = self.parts.trackers.0.clone();
                let dht = self.hashes.dht().cloned();
                let hash = self.hashes.present(cid);
                let lan = self.parts.lan.clone().map(|(lan, _)| lan);
                let sightings = self.state.sightings(cid);
                let unasked = self.unasked(cid);
                let relays = self.file_relays(cid);
                self.errands.spawn(async move {
                    let (Some((candidates, dialling)), Some(sightings)) = (counts, sightings)
                    else {
                        let _ = answer.send(None);
                        return None;
                    };
                    let mut trackers = trackers.status(cid).await;
                    trackers.extend(unasked);
                    let dht = dht_source(dht, hash).await;
                    let lan = match lan {
                        Some(lan) => lan.status(cid).await,
                        None => None,
                    };
                    let sources = sources::judge(&Known {
                        trackers: &trackers,
                        dht: dht.as_ref(),
                        lan: lan.as_ref(),
                        relays,
                        sightings: &sightings,
                    });
                    let _ = answer.send(Some(DiscoveryStatus {
                        trackers,
                        dht,
                        sources,
                        candidates,
                        dialling,
                    }));
                    None
                });
            }
        }
    }

    /// Whether our address is not to be found anywhere. Behind a proxy it is the proxy's that is.
    fn hides(&self) -> bool {
        let transport = &self.parts.transport;
        transport.paths().is_hidden() && transport.proxy().is_none()
    }

    /// A channel's trackers that are not asked, since we hide.
    fn unasked(&self, cid: ChannelId) -> Vec<TrackerStatus> {
        let wanted = self.parts.wanted();
        let tiers = wanted.get(&cid).filter(|_| self.hides());
        let tiers = tiers.into_iter().flat_map(|wanted| &wanted.tiers);
        let unasked = tiers.enumerate().flat_map(|(tier, urls)| {
            let unasked = move |url| {
                TrackerStatus::unasked(
                    url,
                    tier,
                    "is not asked: it would tell everybody where we are",
                )
            };
            urls.iter().cloned().map(unasked)
        });
        unasked.collect()
    }

    fn file_relays(&self, cid: ChannelId) -> FileRelays {
        let reachable = self.parts.relays.reachable();
        let held = reachable.borrow();
        let wanted = self.parts.wanted();
        let named = wanted
            .get(&cid)
            .map_or(&[][..], |wanted| wanted.relays.as_slice());
        let is_held = |named: &&Relay| held.iter().any(|held| held.peer == named.peer);
        FileRelays {
            named: named.len(),
            held: named.iter().filter(is_held).count(),
        }
    }

    async fn want(&mut self, wanted: Wanted, scope: &Scope) {
        let Wanted {
            cid,
            keys,
            tiers,
            nodes,
            relays,
            not_before,
        } = wanted;
        self.apply(Event::Want(cid), None, scope).await;
        let store = self.parts.store.clone();
        self.errands.spawn(async move {
            match store.known_peers(cid).await {
                Ok(peers) => {
                    let addresses = peers.into_iter().map(|peer| peer.address).collect();
                    Some(Event::Cached(cid, addresses))
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read the peer cache");
                    None
                }
            }
        });
        let unix = unix_ms() / 1_000;
        self.hashes.want(cid, keys.clone(), &nodes, unix).await;
        self.parts.relays.watch(cid, keys.clone(), relays).await;
        // Its hash may be the next to change.
        self.look = now();
        if let Some((lan, found)) = &self.parts.lan {
            let watch = lan::Watch {
                cid,
                keys: keys.clone(),
                found: found.clone(),
            };
            lan.watch(watch).await;
        }
        // An announce lists our address for all who ask, members first of all.
        let tiers = if self.hides() { Vec::new() } else { tiers };
        let (trackers, found) = &self.parts.trackers;
        let watch = tracker::Watch {
            cid,
            tiers,
            keys,
            not_before,
            found: found.clone(),
        };
        trackers.watch(watch).await;
    }

    async fn dialled(
        &mut self,
        end: Result<Dialled, tokio::task::JoinError>,
        scope: &Scope,
    ) -> Result<(), String> {
        let (address, result) = match end {
            Ok(end) => end,
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => return Err(format!("a dial failed: {error}")),
        };
        self.handles.remove(&address);
        let (connection, result) = match result {
            Ok(connection) => {
                let peer = connection.peer();
                (Some(connection), Ok(peer))
            }
            Err(error) => {
                tracing::debug!(%address, %error, "dial failed");
                if let (DialError::TimedOut | DialError::NeedsRelay, Target::Direct(at)) =
                    (&error, address)
                    && !network::is_local(at.ip())
                {
                    self.probes.want(at, now());
                }
                (None, Err(error))
            }
        };
        self.apply(Event::Dialled(address, result), connection, scope)
            .await;
        Ok(())
    }

    /// Tells the state what happened, and does what it says.
    async fn apply(&mut self, event: Event, connection: Option<Connection>, scope: &Scope) {
        let effects = self.state.handle(event, now(), &mut rand::rng());
        for effect in effects {
            match effect {
                Effect::Dial(address, expected) => self.dial(address, expected),
                Effect::GiveUp(address) => {
                    if let Some(handle) = self.handles.remove(&address) {
                        handle.abort();
                    }
                }
                Effect::Reached {
                    cid,
                    address,
                    source,
                    took,
                } => {
                    let Some(connection) = connection.clone() else {
                        continue;
                    };
                    tracing::debug!(%address, ?source, ?took, "reached");
                    let reached = Reached {
                        cid,
                        connection,
                        address,
                        source,
                        took,
                    };
                    let kit = &scope.metrics().kit;
                    self.outbox.push(self.parts.reached.clone(), reached, kit);
                }
                Effect::Announce(cid) => self.announce(cid).await,
                Effect::Remember(cid, identity, address) => {
                    if self.errands.len() >= ERRANDS {
                        scope.metrics().kit.dropped("peer cache");
                        continue;
                    }
                    let store = self.parts.store.clone();
                    let last_ok_ms = unix_ms();
                    self.errands.spawn(async move {
                        let peer = KnownPeer {
                            identity,
                            address,
                            last_ok_ms,
                        };
                        if let Err(error) = store.remember_peer(cid, peer).await {
                            tracing::warn!(%error, "cannot remember a peer");
                        }
                        None
                    });
                }
            }
        }
    }

    /// Asks trackers, DHT and local network, which keep to limits of their own.
    async fn announce(&self, cid: ChannelId) {
        self.parts.trackers.0.announce_now(cid).await;
        self.hashes.find(cid).await;
        if let Some((lan, _)) = &self.parts.lan {
            lan.ask().await;
        }
    }

    fn dial(&mut self, address: Target, expected: Option<PeerId>) {
        tracing::debug!(%address, "dialling");
        let (transport, relays) = (self.parts.transport.clone(), self.parts.relays.clone());
        let via = expected.and_then(|peer| self.helpers.get(&peer).copied());
        let handle = self.dials.spawn(async move {
            let result = match address {
                Target::Direct(address) => transport.dial_by(address, expected, via).await,
                Target::Circuit { relay, peer } => relays.dial(relay, peer).await,
            };
            (address, result)
        });
        self.handles.insert(address, handle);
    }
}

/// A member that a relay has brought us together with.
fn met_at(target: Target) -> Hint {
    let peer = match target {
        Target::Circuit { peer, .. } => Some(peer),
        Target::Direct(_) => None,
    };
    Hint {
        peer,
        addresses: vec![target],
        source: Provenance::Relay,
        // We are connected to that relay, wherever it is.
        local: true,
        via: None,
    }
}

/// How the DHT does for a channel whose present hash is that.
async fn dht_source(dht: Option<Dht>, hash: Option<Id>) -> Option<DhtSource> {
    let (dht, hash) = (dht?, hash?);
    let status = dht.status().await?;
    let watch = status.watches.iter().find(|watch| watch.hash == hash)?;
    Some(DhtSource::new(&status, watch))
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
