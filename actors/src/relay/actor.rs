//! The actor that serves both halves: it hands streams to the server or to circuits, and carries out the effects of the
//! client's state.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    stream::StreamKind,
};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{
    client::{Effect, Input, Reservations, State, circuit},
    metrics::Metrics,
    msg::{Found, Msg},
    server::Server,
};
use crate::{
    kit::{
        Actor, Addr, Inbox, Scope,
        clock::{now, unix},
    },
    transport::{Connection, NatKind, NatView, Relay, Stream, Transport},
};

/// How often the wall clock is checked for a change of the day: a timer alone would fire late after a sleep.
const CHECK_CLOCK: Duration = Duration::from_secs(600);
/// How long to wait, at the start of a run or on another network, for a sign that others reach this node: most of those
/// that can be reached are, by then.
const REACHABLE_SOON: Duration = Duration::from_secs(5);

/// What both halves share, and what outlives a restart.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) transport: Transport,
    pub(super) server: Arc<Server>,
    pub(super) found: mpsc::Sender<Found>,
    pub(super) reachable: watch::Sender<Vec<Relay>>,
    /// Whether the known relays do not suffice.
    pub(super) wanting: watch::Sender<bool>,
    pub(super) metrics: Metrics,
    /// Whether the node is to be reached through relays, whatever else works.
    pub(super) always: bool,
    pub(super) own: Addr<Msg>,
    pub(super) incoming: Arc<Semaphore>,
    /// What is wanted, to be requested again after a restart.
    pub(super) wanted: Arc<Mutex<Wanted>>,
}

/// See [`Parts::wanted`].
#[derive(Default)]
pub(super) struct Wanted {
    channels: HashMap<ChannelId, (Box<EpochKeys>, Vec<Relay>)>,
    reached: bool,
}

/// One life of the actor.
pub(super) struct RelayActor {
    parts: Parts,
    state: State,
    reservations: Reservations,
}

impl Actor for RelayActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let wanted = Arc::clone(&self.parts.wanted);
        let mut wanted = wanted.lock().await;
        let mut alone = std::pin::pin!(tokio::time::sleep(REACHABLE_SOON));
        let mut waiting = true;
        if self.parts.always {
            self.apply(Input::Needed(true));
            waiting = false;
        }
        for (cid, (keys, relays)) in &wanted.channels {
            self.apply(Input::Watch(*cid, keys.clone(), relays.clone()));
        }
        let mut clock = tokio::time::interval(CHECK_CLOCK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                () = self.reservations.ended() => continue,
                () = &mut alone, if waiting => {
                    waiting = false;
                    self.apply(Input::Needed(!wanted.reached));
                    continue;
                }
                _ = clock.tick() => {
                    self.apply(Input::Tick);
                    continue;
                }
                () = sleep => {
                    self.apply(Input::Tick);
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
                    self.accept(&connection, stream, scope);
                }
                Some(Msg::Input(input)) => {
                    match &*input {
                        Input::Watch(cid, keys, relays) => {
                            let kept = (keys.clone(), relays.clone());
                            wanted.channels.insert(*cid, kept);
                        }
                        Input::Unwatch(cid) => drop(wanted.channels.remove(cid)),
                        _ => {}
                    }
                    let named = wanted.channels.values().flat_map(|(_, relays)| relays);
                    self.parts.transport.only_relays(named.copied().collect());
                    self.apply(*input);
                }
                Some(Msg::Placed) => {
                    // A node behind a NAT that lets nobody in needs no waiting.
                    if waiting && !wanted.reached && self.is_behind() {
                        waiting = false;
                        self.apply(Input::Needed(true));
                    }
                }
                Some(Msg::Moved) => {
                    if !self.parts.always {
                        wanted.reached = false;
                        waiting = true;
                        alone.as_mut().reset(Instant::now() + REACHABLE_SOON);
                    }
                }
                Some(Msg::Reached) => {
                    if !std::mem::replace(&mut wanted.reached, true) && !self.parts.always {
                        self.apply(Input::Needed(false));
                    }
                }
            }
        }
    }
}

impl RelayActor {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            state: State::new(parts.transport.peer_id()),
            reservations: Reservations::new(parts.transport.clone(), parts.own.clone()),
            parts,
        }
    }

    /// Accepts a circuit from a relay at which the node holds a reservation, unless too many are in their handshake.
    fn accept(&self, connection: &Connection, stream: Stream, scope: &Scope) {
        let held = self.state.held(&connection.peer());
        let places = Arc::clone(&self.parts.incoming);
        if let (Some(relay), Ok(place)) = (held, places.try_acquire_owned()) {
            let transport = self.parts.transport.clone();
            scope.transient(tracing::debug_span!("circuit"), async move {
                if let Err(error) = circuit::accept(&transport, relay, stream).await {
                    tracing::debug!(%error, "a circuit failed before it was up");
                }
                drop(place);
            });
        }
    }

    /// Whether a NAT or firewall keeps strangers out, as far as is known.
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

    fn apply(&mut self, input: Input) {
        if !self.parts.transport.paths().relay {
            // Relays may not be used, so none is asked for anything.
            return;
        }
        let effects = self.state.handle(input, now(), unix(), &mut rand::rng());
        let wants = self.state.wants();
        self.parts.wanting.send_if_modified(|wanted| {
            let changed = *wanted != wants;
            *wanted = wants;
            changed
        });
        for effect in effects {
            match effect {
                Effect::Reserve(relay) => self.reservations.reserve(relay),
                Effect::Release(peer) => self.reservations.release(&peer),
                Effect::Register(peer, keys) => self.reservations.register(&peer, keys),
                Effect::Found(cid, targets) => {
                    let found = Found { cid, targets };
                    if self.parts.found.try_send(found).is_err() {
                        tracing::debug!("met members were dropped: their reader is behind or gone");
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
}
