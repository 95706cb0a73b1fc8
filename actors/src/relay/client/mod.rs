//! The asking half: reservations, circuits to others, and circuits of others to us (`docs/PROTOCOL.md`, relays).
//!
//! [`state`] decides; each reservation is a task with its stream here, and so is each circuit until TLS runs on it.

mod state;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
    time::Duration,
};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    link::TlsSide,
    proto::{self, refused::Reason, relay::Kind},
    relay::MAX_KEYS,
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use self::state::{Effect, Event, Origin, State};
use super::{Found, framing, metrics::Metrics, server::Server};
use crate::{
    kit::{
        Actor, Addr, Guard, Inbox, Scope,
        clock::{now, unix},
    },
    transport::{
        Adoption, Connection, DialError, NatKind, NatView, PathKind, Relay, Stream, Transport,
        network::is_local,
    },
};

/// How often the wall clock is looked at for a change of the day: a timer alone would come late after a sleep.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(600);
/// A lookout for the first seconds of a run, or on another network: whoever can be reached is, mostly, by then.
const REACHABLE_SOON: Duration = Duration::from_secs(5);
/// Circuits of others to us whose TLS handshake is under way.
const INCOMING: usize = 16;
/// Sets of keys that wait for a reservation's stream: the newest is told.
const WORDS: usize = 4;
/// Something that a relay finds for us, and nobody takes, is found again.
const FINDS: usize = 64;

/// What the asking half is told.
pub(in crate::relay) enum Msg {
    /// A peer opened a stream of a relay's kind.
    Stream(Connection, StreamKind, Stream),
    /// Something for the state.
    Event(Box<Event>),
    /// Somebody connected to us directly: we are within reach.
    Reached,
    /// There is news of where we are.
    Placed,
    /// We are on another network.
    Moved,
}

/// What both halves share, and what outlives a restart.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) transport: Transport,
    pub(super) server: Arc<Server>,
    pub(super) found: mpsc::Sender<Found>,
    pub(super) reachable: watch::Sender<Vec<Relay>>,
    /// Whether those that we know do not suffice.
    pub(super) wanting: watch::Sender<bool>,
    pub(super) metrics: Metrics,
    /// Whether we want to be reached through relays, whatever else works.
    pub(super) always: bool,
    pub(super) own: Addr<Msg>,
    pub(super) incoming: Arc<Semaphore>,
    /// What is wanted, to be asked for again after a restart.
    pub(super) wanted: Arc<Mutex<Wanted>>,
}

/// See [`Parts::wanted`].
#[derive(Default)]
pub(super) struct Wanted {
    channels: HashMap<ChannelId, (Box<EpochKeys>, Vec<Relay>)>,
    reached: bool,
}

/// One life of the actor.
pub(super) struct Client {
    parts: Parts,
    state: State,
    /// What the streams of reservations are told.
    words: HashMap<PeerId, mpsc::Sender<BTreeSet<[u8; 32]>>>,
    reservations: tokio::task::JoinSet<()>,
    handles: HashMap<PeerId, tokio::task::AbortHandle>,
}

pub(super) fn incoming() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(INCOMING))
}

impl Actor for Client {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let wanted = Arc::clone(&self.parts.wanted);
        let mut wanted = wanted.lock().await;
        let mut alone = std::pin::pin!(tokio::time::sleep(REACHABLE_SOON));
        let mut waiting = true;
        if self.parts.always {
            self.apply(Event::Needed(true));
            waiting = false;
        }
        for (cid, (keys, relays)) in &wanted.channels {
            self.apply(Event::Watch(*cid, keys.clone(), relays.clone()));
        }
        let mut clock = tokio::time::interval(LOOK_AT_CLOCK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.state.next(now());
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                message = inbox.recv() => message,
                Some(_) = self.reservations.join_next() => continue,
                () = &mut alone, if waiting => {
                    waiting = false;
                    self.apply(Event::Needed(!wanted.reached));
                    continue;
                }
                _ = clock.tick() => {
                    self.apply(Event::Tick);
                    continue;
                }
                () = sleep => {
                    self.apply(Event::Tick);
                    continue;
                }
            };
            match message {
                None => return Ok(()),
                Some(Msg::Stream(connection, StreamKind::RelayHop, stream)) => {
                    let server = Arc::clone(&self.parts.server);
                    let span = tracing::debug_span!("hop");
                    scope.transient(span, server.serve(connection, stream));
                }
                Some(Msg::Stream(connection, _, stream)) => {
                    let held = self.state.held(&connection.peer());
                    let places = Arc::clone(&self.parts.incoming);
                    if let (Some(relay), Ok(place)) = (held, places.try_acquire_owned()) {
                        let transport = self.parts.transport.clone();
                        scope.transient(tracing::debug_span!("circuit"), async move {
                            if let Err(error) = accept(&transport, relay, stream).await {
                                tracing::debug!(%error, "no circuit came of it");
                            }
                            drop(place);
                        });
                    }
                }
                Some(Msg::Event(event)) => {
                    match &*event {
                        Event::Watch(cid, keys, relays) => {
                            let kept = (keys.clone(), relays.clone());
                            wanted.channels.insert(*cid, kept);
                        }
                        Event::Unwatch(cid) => drop(wanted.channels.remove(cid)),
                        _ => {}
                    }
                    let named = wanted.channels.values().flat_map(|(_, relays)| relays);
                    self.parts.transport.only_relays(named.copied().collect());
                    self.apply(*event);
                }
                Some(Msg::Placed) => {
                    // No need to look out for whom nobody gets to.
                    if waiting && !wanted.reached && self.is_behind() {
                        waiting = false;
                        self.apply(Event::Needed(true));
                    }
                }
                Some(Msg::Moved) => {
                    if !self.parts.always {
                        wanted.reached = false;
                        waiting = true;
                        alone
                            .as_mut()
                            .reset(tokio::time::Instant::now() + REACHABLE_SOON);
                    }
                }
                Some(Msg::Reached) => {
                    if !std::mem::replace(&mut wanted.reached, true) && !self.parts.always {
                        self.apply(Event::Needed(false));
                    }
                }
            }
        }
    }
}

impl Client {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            state: State::new(parts.transport.peer_id()),
            parts,
            words: HashMap::new(),
            reservations: tokio::task::JoinSet::new(),
            handles: HashMap::new(),
        }
    }

    /// Whether something stands before us through which strangers do not come, as far as is known.
    fn is_behind(&self) -> bool {
        let behind = |view: &NatView| match view.kind {
            NatKind::Open | NatKind::FullCone => false,
            NatKind::Unknown => view.external.is_some() && view.mapped.is_none(),
            _ => view.mapped.is_none(),
        };
        let views = self.parts.transport.nat();
        let open = |view: &NatView| matches!(view.kind, NatKind::Open | NatKind::FullCone);
        views.iter().any(behind) && !views.iter().any(open)
    }

    fn apply(&mut self, event: Event) {
        if !self.parts.transport.paths().relay {
            // Then none is asked for anything.
            return;
        }
        let effects = self.state.handle(event, now(), unix(), &mut rand::rng());
        let wants = self.state.wants();
        self.parts.wanting.send_if_modified(|wanted| {
            let news = *wanted != wants;
            *wanted = wants;
            news
        });
        for effect in effects {
            match effect {
                Effect::Reserve(relay) => self.reserve(relay),
                Effect::Release(peer) => {
                    self.words.remove(&peer);
                    if let Some(handle) = self.handles.remove(&peer) {
                        handle.abort();
                    }
                }
                Effect::Register(peer, keys) => {
                    if let Some(words) = self.words.get(&peer) {
                        // One that takes no words is slow to the point of being gone, and ends by itself.
                        let _ = words.try_send(keys);
                    }
                }
                Effect::Found(cid, targets) => {
                    let found = Found { cid, targets };
                    if self.parts.found.try_send(found).is_err() {
                        tracing::debug!("nobody takes what a relay has found");
                    }
                }
                Effect::Reachable(relays) => {
                    self.parts
                        .metrics
                        .held
                        .set(i64::try_from(self.state.count()).unwrap_or(i64::MAX));
                    self.parts.reachable.send_replace(relays);
                }
            }
        }
    }

    fn reserve(&mut self, relay: Relay) {
        let (words, keys) = mpsc::channel(WORDS);
        let (transport, own) = (self.parts.transport.clone(), self.parts.own.clone());
        let task = async move {
            let (reason, pause) = hold(&transport, relay, keys, &own).await;
            let ended = Event::Ended(relay.peer, reason, pause);
            // Not said when it was released, which drops this task.
            let _ = own.send(Msg::Event(Box::new(ended))).await;
        };
        let handle = self.reservations.spawn(task);
        self.words.insert(relay.peer, words);
        if let Some(earlier) = self.handles.insert(relay.peer, handle) {
            earlier.abort();
        }
    }
}

/// Holds a reservation until it ends. Why it was refused, and how long not to ask again.
async fn hold(
    transport: &Transport,
    relay: Relay,
    keys: mpsc::Receiver<BTreeSet<[u8; 32]>>,
    own: &Addr<Msg>,
) -> (Option<Reason>, Duration) {
    let attempt = async {
        let connection = transport
            .dial(relay.address, Some(relay.peer))
            .await
            .map_err(|error| io::Error::other(error.to_string()))?;
        let mut stream = connection.open(StreamKind::RelayHop).await?;
        framing::write(&mut stream.send, Kind::Reserve(proto::Reserve {})).await?;
        let answer = framing::read_soon(&mut stream.recv).await?;
        io::Result::Ok((stream, answer))
    };
    let stream = match attempt.await {
        Ok((stream, Kind::Reserved(_))) => stream,
        Ok((_, Kind::Refused(refused))) => {
            let reason = refused.reason();
            tracing::debug!(relay = %relay.address, ?reason, "no reservation");
            let pause = Duration::from_secs(refused.retry_seconds.min(3_600));
            return (Some(reason), pause);
        }
        Ok(_) => return (None, Duration::ZERO),
        Err(error) => {
            tracing::debug!(relay = %relay.address, %error, "no reservation");
            return (None, Duration::ZERO);
        }
    };
    tracing::debug!(relay = %relay.address, "reserved");
    let event = |event| own.send(Msg::Event(Box::new(event)));
    if event(Event::Reserved(relay.peer)).await.is_err() {
        return (None, Duration::ZERO);
    }
    let Stream { mut send, mut recv } = stream;
    let reading = async {
        loop {
            let news = match framing::read(&mut recv).await? {
                Kind::Met(met) => {
                    let key = met.key.as_ref().try_into().ok();
                    let peers = met.peers.iter();
                    let peers = peers.filter_map(|peer| PeerId::from_bytes(peer).ok());
                    key.map(|key| Event::Met(relay.peer, key, peers.collect()))
                }
                Kind::Leaving(_) => Some(Event::Leaving(relay.peer)),
                _ => None,
            };
            if let Some(news) = news {
                event(news)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::Other))?;
            }
        }
    };
    let mut keys = keys;
    let writing = async {
        while let Some(keys) = keys.recv().await {
            let keys = keys.iter().take(MAX_KEYS).map(|key| key.to_vec().into());
            let register = Kind::Register(proto::Register {
                keys: keys.collect(),
            });
            framing::write(&mut send, register).await?;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let end: io::Result<()> = tokio::select! {
        end = reading => end,
        end = writing => end,
    };
    tracing::debug!(relay = %relay.address, ?end, "a reservation has ended");
    (None, Duration::ZERO)
}

/// A circuit to a peer, and TLS over it.
pub(super) async fn dial(
    transport: &Transport,
    relay: Relay,
    peer: PeerId,
) -> Result<Connection, DialError> {
    if peer == transport.peer_id() {
        return Err(DialError::Ourselves);
    }
    if !transport.paths().relay {
        return Err(DialError::Forbidden);
    }
    let connection = transport.dial(relay.address, Some(relay.peer)).await?;
    let asked = async {
        let mut stream = connection.open(StreamKind::RelayHop).await?;
        let connect = Kind::Connect(proto::Connect {
            peer: peer.to_bytes().into(),
        });
        framing::write(&mut stream.send, connect).await?;
        let answer = framing::read(&mut stream.recv).await?;
        io::Result::Ok((stream, answer))
    };
    // The relay waits for the other side's answer as long as we would.
    let stream = match tokio::time::timeout(framing::ANSWER, asked).await {
        Ok(Ok((stream, Kind::Accepted(_)))) => stream,
        Ok(Ok((_, Kind::Refused(refused)))) => {
            return Err(DialError::Refused(in_words(refused.reason()).to_owned()));
        }
        Ok(Ok(_)) => return Err(DialError::Refused("that is no relay".to_owned())),
        Ok(Err(_)) => return Err(DialError::Refused("the relay broke off".to_owned())),
        Err(_) => return Err(DialError::TimedOut),
    };
    let adoption = Adoption {
        io: Box::new(tokio::io::join(stream.recv, stream.send)),
        side: TlsSide::Client,
        expected: Some(peer),
        relay,
    };
    transport.adopt(adoption).await
}

fn in_words(reason: Reason) -> &'static str {
    match reason {
        Reason::NotForYou => "the relay does not serve us",
        Reason::Full => "the relay is full",
        Reason::NoReservation => "the peer is not at that relay",
        Reason::NoAnswer => "the peer does not answer at that relay",
        Reason::Stopping => "the relay stops",
        Reason::Unspecified => "the relay refuses",
    }
}

/// A circuit of somebody who wants to reach us.
async fn accept(transport: &Transport, relay: Relay, mut stream: Stream) -> io::Result<()> {
    let Kind::Incoming(incoming) = framing::read_soon(&mut stream.recv).await? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let peer = PeerId::from_bytes(&incoming.peer).map_err(io::Error::other)?;
    framing::write(&mut stream.send, Kind::Accepted(proto::Accepted {})).await?;
    let adoption = Adoption {
        io: Box::new(tokio::io::join(stream.recv, stream.send)),
        side: TlsSide::Server,
        expected: Some(peer),
        relay,
    };
    transport
        .adopt(adoption)
        .await
        .map(drop)
        .map_err(io::Error::other)
}

/// A handle to both halves. Cheap to clone.
#[derive(Clone)]
pub struct Relays {
    parts: Parts,
}

impl Relays {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// A peer opened a stream of one of the two relay kinds.
    pub async fn incoming(&self, connection: Connection, kind: StreamKind, stream: Stream) {
        // When the actor has stopped, the stream is reset: here and below nothing is lost.
        let _ = self
            .parts
            .own
            .send(Msg::Stream(connection, kind, stream))
            .await;
    }

    /// A peer has connected, or we to it: if it came to us directly, and we had not let it in, others can.
    pub async fn connected(&self, connection: &Connection) {
        let ip = connection.remote().ip();
        let reached = match connection.path() {
            PathKind::Tcp => is_local(ip) || connection.is_unasked(),
            PathKind::Quic => {
                is_local(ip) || self.parts.transport.nat()[usize::from(ip.is_ipv6())].reached
            }
            PathKind::Proxied | PathKind::Relayed => false,
        };
        if reached && connection.side() == TlsSide::Server {
            let _ = self.parts.own.send(Msg::Reached).await;
        }
    }

    /// Others have said where they see us.
    pub async fn placed(&self) {
        let _ = self.parts.own.send(Msg::Placed).await;
    }

    /// We are on another network than before.
    pub async fn moved(&self) {
        let _ = self.parts.own.send(Msg::Moved).await;
    }

    /// A member is linked on that connection, for as long as the guard lives: it may use us, and we it if we have
    /// reached it.
    pub fn member(&self, connection: &Connection) -> Guard<impl FnOnce() + use<>> {
        let peer = connection.peer();
        let serving = self.parts.server.member(peer);
        let ours = connection.side() == TlsSide::Client;
        let known = connection
            .direct()
            .filter(|_| ours)
            .map(|address| Relay { address, peer });
        if let Some(relay) = known {
            self.tell(Event::Known(relay, Origin::Member));
            // Where only TCP gets through, nobody says more.
            let _ = self.parts.own.try_send(Msg::Placed);
        }
        let relays = self.clone();
        Guard::new(move || {
            drop(serving);
            if known.is_some() {
                relays.tell(Event::Unknown(peer, Origin::Member));
            }
        })
    }

    /// A relay that somebody offers to everybody.
    pub fn offered(&self, relay: Relay) {
        self.tell(Event::Known(relay, Origin::Public));
    }

    /// Has the members of a channel find us at relays, and us them; `relays` are those of its file.
    pub async fn watch(&self, cid: ChannelId, keys: EpochKeys, relays: Vec<Relay>) {
        let event = Event::Watch(cid, Box::new(keys), relays);
        let _ = self.parts.own.send(Msg::Event(Box::new(event))).await;
    }

    /// No longer.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self
            .parts
            .own
            .send(Msg::Event(Box::new(Event::Unwatch(cid))))
            .await;
    }

    /// Connects to a peer through a relay. Waits at most as long as three handshakes take. Cancel-safe.
    pub async fn dial(&self, relay: Relay, peer: PeerId) -> Result<Connection, DialError> {
        dial(&self.parts.transport, relay, peer).await
    }

    /// The relays through which others can reach us, whenever that changes.
    pub fn reachable(&self) -> watch::Receiver<Vec<Relay>> {
        self.parts.reachable.subscribe()
    }

    /// Whether we need relays and know too few, of members, of files and of those offered to everybody.
    pub fn wanting(&self) -> watch::Receiver<bool> {
        self.parts.wanting.subscribe()
    }

    /// How many reservations and circuits of others there are here.
    pub fn serves(&self) -> (usize, usize) {
        self.parts.server.counts()
    }

    /// Takes on nothing new, tells those who hold reservations, and waits so long at most for circuits to end.
    pub async fn drain(&self, patience: Duration) {
        self.parts.server.drain(patience).await;
    }

    /// From where nothing may wait: what finds no room is lost, and comes again with the next link.
    fn tell(&self, event: Event) {
        if self
            .parts
            .own
            .try_send(Msg::Event(Box::new(event)))
            .is_err()
        {
            tracing::debug!("a word about relays found no room");
        }
    }
}

/// Where finds of relays go, and how many wait.
pub(super) fn finds() -> (mpsc::Sender<Found>, mpsc::Receiver<Found>) {
    mpsc::channel(FINDS)
}
