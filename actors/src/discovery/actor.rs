//! The actor around the state machine: it has the clock, the dials and the sockets, and asks the sources and the store.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex as Guarded, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::{channel::ChannelId, identity::IdentityId};
use futures_util::FutureExt;
use libp2p_identity::PeerId;
use tokio::{
    sync::{Mutex, OwnedMutexGuard, mpsc},
    task::{AbortHandle, JoinError, JoinSet},
};

use super::{
    DiscoveryStatus, Outcome, Reached, Sighting, Wanted,
    probes::Probes,
    source::SourceSet,
    state::{Effect, Input, State},
};
use crate::{
    kit::{Actor, Inbox, Outbox, Reply, Scope, clock::now},
    relay::Relays,
    store::{KnownPeer, Store},
    transport::{self, Class, Connection, DialError, Target, Transport, network},
};

/// Connections queued for their receiver; beyond it the oldest is dropped, and dialled again later.
const OUTBOX: usize = 64;
/// Requests to store and sources under way. Beyond it an address is not remembered this time.
const TASKS: usize = 64;
/// Peers for which the member that named them is kept. Beyond it all are dropped; members name them again with the next
/// link.
const MOST_HELPERS: usize = 1_024;

/// A command.
pub(super) enum Msg {
    /// Looks for members.
    Want(Box<Wanted>),
    /// Stops looking; answered when the trackers have been notified.
    Forget(ChannelId, Reply<()>),
    /// Adds addresses that a member or the user named.
    Sighted(ChannelId, Sighting),
    /// Reports what became of a connection.
    Outcome(ChannelId, Outcome),
    /// Reports that the network has changed.
    Moved,
    /// Asks the sources.
    AnnounceNow(ChannelId),
    /// Asks the sources, or one tracker, for a user; answered with the number of trackers asked.
    AnnounceByHand(ChannelId, Option<String>, Reply<usize>),
    /// Asks for the status.
    Status(ChannelId, Reply<Option<DiscoveryStatus>>),
}

/// What each life of the actor is given.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) transport: Transport,
    pub(super) relays: Relays,
    pub(super) store: Store,
    pub(super) reached: mpsc::Sender<Reached>,
    pub(super) sources: Arc<Mutex<SourceSet>>,
    /// The channels that are wanted, which a restart looks for again.
    pub(super) wanted: Arc<Guarded<HashMap<ChannelId, Wanted>>>,
}

impl Context {
    fn wanted(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actor, before its life begins.
pub(super) struct DiscoveryActor {
    context: Context,
}

impl DiscoveryActor {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Actor for DiscoveryActor {
    type Msg = Msg;
    type Error = String;

    async fn run(self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        // The guard of the former life was dropped with it.
        let sources = Arc::clone(&self.context.sources).lock_owned().await;
        Life::new(self.context, sources, scope).run(inbox).await
    }
}

type Dialled = (Target, Result<Connection, DialError>);

/// One life of the actor.
struct Life<'a> {
    context: Context,
    scope: &'a Scope,
    sources: OwnedMutexGuard<SourceSet>,
    state: State,
    dials: JoinSet<Dialled>,
    handles: HashMap<Target, AbortHandle>,
    /// Requests under way; each ends with an input for the state, or with none.
    tasks: JoinSet<Option<Input>>,
    outbox: Outbox<Reached>,
    /// The member that named a peer, and may be linked to it.
    helpers: HashMap<PeerId, PeerId>,
    probes: Probes,
}

impl<'a> Life<'a> {
    fn new(context: Context, sources: OwnedMutexGuard<SourceSet>, scope: &'a Scope) -> Self {
        Self {
            state: State::new(context.transport.peer_id()),
            context,
            scope,
            sources,
            dials: JoinSet::new(),
            handles: HashMap::new(),
            tasks: JoinSet::new(),
            outbox: Outbox::new("reached", OUTBOX),
            helpers: HashMap::new(),
            probes: Probes::default(),
        }
    }

    async fn run(mut self, inbox: &mut Inbox<Msg>) -> Result<(), String> {
        let known: Vec<Wanted> = self.context.wanted().values().cloned().collect();
        for wanted in known {
            self.want(wanted).await;
        }
        let mut punches = self.context.transport.udp().subscribe(Class::Punch);
        loop {
            self.probe();
            let next = [self.state.next(now()), self.probes.next()];
            let next = sleep_until(next.into_iter().flatten().min());
            let tick = sleep_until(self.sources.next_tick());
            tokio::select! {
                biased;
                () = self.scope.stop_signal().cancelled() => return Ok(()),
                sent = self.outbox.send_next() => if sent.is_err() {
                    // The receiver was dropped, so there is nothing left to do.
                    return Ok(());
                },
                Some(end) = self.dials.join_next() => self.dialled(end).await?,
                Some(end) = self.tasks.join_next() => {
                    if let Some(input) = end.map_err(|error| format!("a task failed: {error}"))? {
                        self.apply(input, None).await;
                    }
                }
                message = inbox.recv() => match message {
                    Some(message) => self.handle(message).await,
                    None => return Ok(()),
                },
                (cid, sighting) = self.sources.next() => self.sighted(cid, sighting).await,
                Some((from, _)) = punches.recv() => {
                    if self.probes.received(&from, now()) {
                        self.apply(Input::Knocked(from), None).await;
                    }
                }
                () = tick => self.sources.tick().await,
                () = next => self.apply(Input::Tick, None).await,
            }
        }
    }

    async fn handle(&mut self, message: Msg) {
        match message {
            Msg::Want(wanted) => {
                self.context.wanted().insert(wanted.cid, (*wanted).clone());
                self.want(*wanted).await;
            }
            Msg::Forget(cid, done) => self.forget(cid, done).await,
            Msg::Sighted(cid, sighting) => {
                self.remember_helper(&sighting);
                self.apply(Input::Sighted(cid, sighting), None).await;
            }
            Msg::Outcome(cid, outcome) => self.apply(Input::Outcome(cid, outcome), None).await,
            Msg::Moved => {
                self.apply(Input::Moved, None).await;
                let all: Vec<ChannelId> = self.context.wanted().keys().copied().collect();
                for cid in all {
                    self.sources.announce(cid).await;
                }
            }
            Msg::AnnounceNow(cid) => self.sources.announce(cid).await,
            Msg::AnnounceByHand(cid, url, answer) => {
                let asked = self.sources.announce_by_hand(cid, url.as_deref());
                self.reply(asked, answer);
            }
            Msg::Status(cid, answer) => {
                let known = self.state.tallies(cid).zip(self.state.counts(cid));
                let status = known.map(|(tallies, counts)| {
                    let status = self.sources.status(cid, tallies, counts);
                    status.map(Some)
                });
                match status {
                    Some(status) => self.reply(status, answer),
                    None => drop(answer.send(None)),
                }
            }
        }
    }

    /// Answers a request once its answer is there, while the actor goes on.
    fn reply<T: Send + 'static>(
        &mut self,
        answer: impl Future<Output = T> + Send + 'static,
        reply: Reply<T>,
    ) {
        self.tasks.spawn(async move {
            // The asker may be gone.
            let _ = reply.send(answer.await);
            None
        });
    }

    async fn want(&mut self, wanted: Wanted) {
        let cid = wanted.cid;
        self.apply(Input::Want(cid), None).await;
        let store = self.context.store.clone();
        self.tasks.spawn(async move {
            match store.known_peers(cid).await {
                Ok(peers) => {
                    let addresses = peers.into_iter().map(|peer| peer.address).collect();
                    Some(Input::Cached(cid, addresses))
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read the peer cache");
                    None
                }
            }
        });
        self.sources.want(&wanted).await;
    }

    async fn forget(&mut self, cid: ChannelId, done: Reply<()>) {
        self.context.wanted().remove(&cid);
        self.apply(Input::Forget(cid), None).await;
        self.outbox.retain(|reached| reached.cid != cid);
        let notified = self.sources.forget(cid).await;
        self.reply(notified, done);
    }

    async fn sighted(&mut self, cid: ChannelId, sighting: Sighting) {
        if sighting.source.is_public() {
            for address in &sighting.addresses {
                if let Target::Direct(at) = address {
                    self.probes.named(*at, now());
                }
            }
        }
        self.apply(Input::Sighted(cid, sighting), None).await;
    }

    /// Keeps which member may help us to reach a peer.
    fn remember_helper(&mut self, sighting: &Sighting) {
        // A member that names itself cannot.
        if let (Some(peer), Some(via)) = (sighting.peer, sighting.via)
            && peer != via
        {
            if self.helpers.len() >= MOST_HELPERS {
                self.helpers.clear();
            }
            self.helpers.insert(peer, via);
        }
    }

    /// Sends the probes that are due.
    fn probe(&mut self) {
        for address in self.probes.due(now()) {
            if self.state.is_sought(address) {
                // A datagram that is not sent is as good as lost; the next one may get through.
                let udp = self.context.transport.udp();
                let _ = udp.try_send_to(address, &transport::punch());
            } else {
                self.probes.forget(&address);
            }
        }
    }

    async fn dialled(&mut self, end: Result<Dialled, JoinError>) -> Result<(), String> {
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
        self.apply(Input::Dialled(address, result), connection)
            .await;
        Ok(())
    }

    /// Hands an input to the state and carries out its effects.
    async fn apply(&mut self, input: Input, connection: Option<Connection>) {
        let effects = self.state.handle(input, now(), &mut rand::rng());
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
                    let (to, kit) = (self.context.reached.clone(), &self.scope.metrics().kit);
                    self.outbox.push(to, reached, kit);
                }
                Effect::Announce(cid) => self.sources.announce(cid).await,
                Effect::Remember(cid, identity, address) => self.remember(cid, identity, address),
            }
        }
    }

    fn dial(&mut self, address: Target, expected: Option<PeerId>) {
        tracing::debug!(%address, "dialling");
        let (transport, relays) = (self.context.transport.clone(), self.context.relays.clone());
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

    /// Stores a member's address for the next run.
    fn remember(&mut self, cid: ChannelId, identity: IdentityId, address: SocketAddr) {
        if self.tasks.len() >= TASKS {
            self.scope.metrics().kit.dropped("peer cache");
            return;
        }
        let store = self.context.store.clone();
        let peer = KnownPeer {
            identity,
            address,
            last_ok_ms: unix_ms(),
        };
        self.tasks.spawn(async move {
            if let Err(error) = store.remember_peer(cid, peer).await {
                tracing::warn!(%error, "cannot write to the peer cache");
            }
            None
        });
    }
}

/// Pends forever if there is nothing to wait for.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
