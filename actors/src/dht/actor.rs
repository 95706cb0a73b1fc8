//! The shell around the state: clock, datagrams, name lookups, and what is kept.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex as Guarded, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use super::{
    DhtConfig, DhtPeers, DhtStatus, Id, Keeper, LookupResult, Outgoing, Watch,
    metrics::Gauges,
    state::{Command, Effect, Input, Setup, State},
};
use crate::kit::{Actor, Inbox, Outbox, Reply, Scope, clock::now};

/// Datagrams that are handled before anything else gets its turn.
const BATCH: usize = 64;
/// Results of lookups queued for their receivers; beyond it the oldest is dropped, and found again later.
const OUTBOX: usize = 64;
/// Lookups by hand at a time.
const MOST_TICKETS: usize = 16;
/// Names in a channel file that are resolved at a time.
const MOST_NAMES: usize = 64;
/// How long keeping what we know may hold up the end.
const LAST_SAVE: Duration = Duration::from_millis(600);

/// A command.
pub(super) enum Msg {
    Watch(Watch),
    Unwatch(Id),
    Find(Id),
    Lookup(Id, Reply<LookupResult>),
    Nodes(Vec<String>),
    SetPort(u16),
    Status(Reply<DhtStatus>),
}

/// What the actor is made of at each start.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) config: DhtConfig,
    pub(super) incoming: Arc<Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>>,
    pub(super) outgoing: Outgoing,
    pub(super) keeper: Arc<dyn Keeper>,
    /// What outlives a restart: what is watched.
    pub(super) wanted: Arc<Guarded<BTreeMap<Id, Watch>>>,
    /// And the nodes that files named.
    pub(super) named: Arc<Guarded<Vec<String>>>,
    pub(super) gauges: Gauges,
}

fn locked<T>(guarded: &Guarded<T>) -> std::sync::MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of something that takes its time.
enum Errand {
    Resolved(Vec<SocketAddr>),
    Saved,
}

/// The actor.
pub(super) struct DhtActor {
    parts: Parts,
    errands: JoinSet<Errand>,
    outbox: Outbox<DhtPeers>,
    tickets: BTreeMap<u64, Reply<LookupResult>>,
    next_ticket: u64,
}

impl Actor for DhtActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let incoming = Arc::clone(&self.parts.incoming);
        // The former life's guard is gone with it.
        let mut incoming = incoming.lock().await;
        let saved = self.parts.keeper.load().await;
        let setup = Setup {
            families: self.parts.config.families.clone(),
            profile: self.parts.config.profile,
            saved,
            bootstrap: self.parts.config.bootstrap.clone(),
            routers: self.parts.config.routers.clone(),
        };
        let mut state = State::new(setup, now(), &mut rand::rng());
        self.remember(&mut state, scope);
        let mut batch = Vec::with_capacity(BATCH);
        let mut shown = None;
        loop {
            let next = state.next(now());
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break,
                // A receiver that was dropped is not interested in peers.
                _ = self.outbox.send_next() => {}
                Some(end) = self.errands.join_next() => {
                    let end = end.map_err(|error| format!("an errand failed: {error}"))?;
                    if let Errand::Resolved(addresses) = end {
                        self.apply(&mut state, Input::Resolved(addresses), scope);
                    }
                }
                message = inbox.recv() => match message {
                    Some(message) => self.message(&mut state, message, scope),
                    None => break,
                },
                // What is due goes before what comes, or a flood could stop the clock.
                () = tokio::time::sleep_until(next.into()) => {
                    self.apply(&mut state, Input::Tick, scope);
                    if Gauges::are_due(shown, now()) {
                        self.parts.gauges.show(&state.status(now()));
                        shown = Some(now());
                    }
                }
                _ = incoming.recv_many(&mut batch, BATCH), if !incoming.is_closed() || !incoming.is_empty() => {
                    for (from, bytes) in batch.drain(..) {
                        self.apply(&mut state, Input::Packet(from, &bytes), scope);
                    }
                }
            }
        }
        // The store stops after us.
        let saved = state.saved();
        if !saved.nodes.is_empty() {
            let save = self.parts.keeper.save(saved);
            if tokio::time::timeout(LAST_SAVE, save).await.is_err() {
                tracing::warn!("the DHT nodes could not be kept in time");
            }
        }
        Ok(())
    }
}

impl DhtActor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            errands: JoinSet::new(),
            outbox: Outbox::new("dht found", OUTBOX),
            tickets: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    /// What a former life was told.
    fn remember(&mut self, state: &mut State, scope: &Scope) {
        let named = locked(&self.parts.named).clone();
        if !named.is_empty() {
            self.apply(state, Input::Command(Command::Nodes(named)), scope);
        }
        let wanted = locked(&self.parts.wanted).clone();
        for Watch { hash, port, .. } in wanted.into_values() {
            self.apply(state, Input::Command(Command::Watch(hash, port)), scope);
        }
        self.apply(state, Input::Tick, scope);
    }

    fn message(&mut self, state: &mut State, message: Msg, scope: &Scope) {
        let command = match message {
            Msg::Watch(watch) => {
                let Watch { hash, port, .. } = watch;
                locked(&self.parts.wanted).insert(hash, watch);
                Command::Watch(hash, port)
            }
            Msg::Unwatch(hash) => {
                locked(&self.parts.wanted).remove(&hash);
                Command::Unwatch(hash)
            }
            Msg::Find(hash) => Command::Find(hash),
            Msg::Lookup(hash, reply) => {
                self.tickets.retain(|_, reply| !reply.is_closed());
                if self.tickets.len() >= MOST_TICKETS {
                    // Dropped: whoever asks sees that there is no answer.
                    return;
                }
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket, reply);
                Command::Lookup(hash, self.next_ticket)
            }
            Msg::Nodes(nodes) => {
                let mut named = locked(&self.parts.named);
                for node in &nodes {
                    if named.len() < MOST_NAMES && !named.contains(node) {
                        named.push(node.clone());
                    }
                }
                Command::Nodes(nodes)
            }
            Msg::SetPort(port) => {
                for known in locked(&self.parts.wanted).values_mut() {
                    known.port = port;
                }
                Command::SetPort(port)
            }
            Msg::Status(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(state.status(now()));
                return;
            }
        };
        self.apply(state, Input::Command(command), scope);
    }

    /// Tells the state what happened, and does what it says.
    fn apply(&mut self, state: &mut State, input: Input<'_>, scope: &Scope) {
        for effect in state.handle(input, now(), &mut rand::rng()) {
            match effect {
                Effect::Send(to, bytes) => (self.parts.outgoing)(to, &bytes),
                Effect::Found(peers) => {
                    let wanted = locked(&self.parts.wanted);
                    if let Some(watch) = wanted.get(&peers.hash) {
                        let kit = &scope.metrics().kit;
                        self.outbox.push(watch.found.clone(), peers, kit);
                    }
                }
                Effect::Answer(ticket, result) => {
                    if let Some(reply) = self.tickets.remove(&ticket) {
                        let _ = reply.send(result);
                    }
                }
                Effect::Resolve(names) => {
                    self.errands
                        .spawn(async move { Errand::Resolved(resolve(names).await) });
                }
                Effect::Save(saved) => {
                    let keeper = Arc::clone(&self.parts.keeper);
                    self.errands.spawn(async move {
                        keeper.save(saved).await;
                        Errand::Saved
                    });
                }
            }
        }
    }
}

/// The addresses of all names that resolve, asked for at once.
async fn resolve(names: Vec<String>) -> Vec<SocketAddr> {
    let lookups = names.into_iter().map(|name| async move {
        match tokio::net::lookup_host(name.as_str()).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                tracing::debug!(name, %error, "a DHT node's name does not resolve");
                Vec::new()
            }
        }
    });
    futures_util::future::join_all(lookups).await.concat()
}
