//! The actor around the state machine: it has the clock, the datagrams and the name lookups, and keeps nodes between
//! runs.

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

/// Datagrams handled before anything else gets its turn.
const BATCH: usize = 64;
/// Results of lookups queued for their receivers; beyond it the oldest is dropped, and found again later.
const OUTBOX: usize = 64;
/// One-off lookups at a time.
const MOST_TICKETS: usize = 16;
/// Names from channel files that are remembered.
const MOST_NAMES: usize = 64;
/// How long storing nodes may delay the end.
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

/// What each life of the actor is given.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: DhtConfig,
    pub(super) incoming: Arc<Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>>,
    pub(super) outgoing: Outgoing,
    pub(super) keeper: Arc<dyn Keeper>,
    /// What survives a restart: the infohashes that are watched,
    pub(super) wanted: Arc<Guarded<BTreeMap<Id, Watch>>>,
    /// and the nodes that files named.
    pub(super) named: Arc<Guarded<Vec<String>>>,
    pub(super) gauges: Gauges,
}

fn locked<T>(guarded: &Guarded<T>) -> std::sync::MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a background task.
enum Task {
    Resolved(Vec<SocketAddr>),
    Saved,
}

/// The actor.
pub(super) struct DhtActor {
    context: Context,
    tasks: JoinSet<Task>,
    outbox: Outbox<DhtPeers>,
    tickets: BTreeMap<u64, Reply<LookupResult>>,
    next_ticket: u64,
}

impl Actor for DhtActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let incoming = Arc::clone(&self.context.incoming);
        // The guard of the former life was dropped with it.
        let mut incoming = incoming.lock().await;
        let saved = self.context.keeper.load().await;
        let setup = Setup {
            families: self.context.config.families.clone(),
            profile: self.context.config.profile,
            saved,
            bootstrap: self.context.config.bootstrap.clone(),
            routers: self.context.config.routers.clone(),
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
                // A receiver that was dropped needs no peers.
                _ = self.outbox.send_next() => {}
                Some(end) = self.tasks.join_next() => {
                    let end = end.map_err(|error| format!("a task failed: {error}"))?;
                    if let Task::Resolved(addresses) = end {
                        self.apply(&mut state, Input::Resolved(addresses), scope);
                    }
                }
                message = inbox.recv() => match message {
                    Some(message) => self.message(&mut state, message, scope),
                    None => break,
                },
                // Timers come before datagrams, or a flood could stop the clock.
                () = tokio::time::sleep_until(next.into()) => {
                    self.apply(&mut state, Input::Tick, scope);
                    if Gauges::are_due(shown, now()) {
                        self.context.gauges.show(&state.status(now()));
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
        // The store stops after this actor.
        let saved = state.saved();
        if !saved.nodes.is_empty() {
            let save = self.context.keeper.save(saved);
            if tokio::time::timeout(LAST_SAVE, save).await.is_err() {
                tracing::warn!("the DHT nodes could not be saved in time");
            }
        }
        Ok(())
    }
}

impl DhtActor {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            tasks: JoinSet::new(),
            outbox: Outbox::new("dht found", OUTBOX),
            tickets: BTreeMap::new(),
            next_ticket: 0,
        }
    }

    /// Restores what a former life was given.
    fn remember(&mut self, state: &mut State, scope: &Scope) {
        let named = locked(&self.context.named).clone();
        if !named.is_empty() {
            self.apply(state, Input::Command(Command::Nodes(named)), scope);
        }
        let wanted = locked(&self.context.wanted).clone();
        for Watch { hash, port, .. } in wanted.into_values() {
            self.apply(state, Input::Command(Command::Watch(hash, port)), scope);
        }
        self.apply(state, Input::Tick, scope);
    }

    fn message(&mut self, state: &mut State, message: Msg, scope: &Scope) {
        let command = match message {
            Msg::Watch(watch) => {
                let Watch { hash, port, .. } = watch;
                locked(&self.context.wanted).insert(hash, watch);
                Command::Watch(hash, port)
            }
            Msg::Unwatch(hash) => {
                locked(&self.context.wanted).remove(&hash);
                Command::Unwatch(hash)
            }
            Msg::Find(hash) => Command::Find(hash),
            Msg::Lookup(hash, reply) => {
                self.tickets.retain(|_, reply| !reply.is_closed());
                if self.tickets.len() >= MOST_TICKETS {
                    // The reply is dropped, which tells the asker that there is no answer.
                    return;
                }
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket, reply);
                Command::Lookup(hash, self.next_ticket)
            }
            Msg::Nodes(nodes) => {
                let mut named = locked(&self.context.named);
                for node in &nodes {
                    if named.len() < MOST_NAMES && !named.contains(node) {
                        named.push(node.clone());
                    }
                }
                Command::Nodes(nodes)
            }
            Msg::SetPort(port) => {
                for known in locked(&self.context.wanted).values_mut() {
                    known.port = port;
                }
                Command::SetPort(port)
            }
            Msg::Status(reply) => {
                // The asker may be gone.
                let _ = reply.send(state.status(now()));
                return;
            }
        };
        self.apply(state, Input::Command(command), scope);
    }

    /// Hands an input to the state and carries out its effects.
    fn apply(&mut self, state: &mut State, input: Input<'_>, scope: &Scope) {
        for effect in state.handle(input, now(), &mut rand::rng()) {
            match effect {
                Effect::Send(to, bytes) => (self.context.outgoing)(to, &bytes),
                Effect::Found(peers) => {
                    let wanted = locked(&self.context.wanted);
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
                    self.tasks
                        .spawn(async move { Task::Resolved(resolve(names).await) });
                }
                Effect::Save(saved) => {
                    let keeper = Arc::clone(&self.context.keeper);
                    self.tasks.spawn(async move {
                        keeper.save(saved).await;
                        Task::Saved
                    });
                }
            }
        }
    }
}

/// The addresses of all names that resolve, looked up concurrently.
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
