//! Reservations at other relays: a task and a stream each.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    time::Duration,
};

use bitchat_wire::{
    proto::{self, refused::Reason, relay::Kind},
    relay::MAX_KEYS,
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::state::Input;
use crate::{
    kit::Addr,
    relay::{framing, msg::Msg},
    transport::{Relay, Stream, Transport},
};

/// Sets of keys queued for a reservation's stream. Each replaces the one before.
const KEY_SETS: usize = 4;
/// The longest pause that a relay may ask for with a refusal, in seconds.
const LONGEST_RETRY: u64 = 3_600;

type Keys = BTreeSet<[u8; 32]>;

/// The reservations that are held or requested. Dropping it ends them all.
pub(in crate::relay) struct Reservations {
    transport: Transport,
    own: Addr<Msg>,
    tasks: JoinSet<()>,
    held: HashMap<PeerId, Reservation>,
}

struct Reservation {
    keys: mpsc::Sender<Keys>,
    task: AbortHandle,
}

impl Reservations {
    /// `own` receives what happens to them.
    pub(in crate::relay) fn new(transport: Transport, own: Addr<Msg>) -> Self {
        Self {
            transport,
            own,
            tasks: JoinSet::new(),
            held: HashMap::new(),
        }
    }

    /// Requests a reservation, in place of an earlier one there.
    pub(in crate::relay) fn reserve(&mut self, relay: Relay) {
        let (sender, keys) = mpsc::channel(KEY_SETS);
        let (transport, own) = (self.transport.clone(), self.own.clone());
        let task = self.tasks.spawn(async move {
            let (reason, pause) = hold(&transport, relay, keys, &own).await;
            let ended = Input::Ended(relay.peer, reason, pause);
            // A release aborts this task, and so is not reported.
            let _ = own.send(Msg::Input(Box::new(ended))).await;
        });
        let reservation = Reservation { keys: sender, task };
        if let Some(earlier) = self.held.insert(relay.peer, reservation) {
            earlier.task.abort();
        }
    }

    /// Ends a reservation or the request for it.
    pub(in crate::relay) fn release(&mut self, peer: &PeerId) {
        if let Some(reservation) = self.held.remove(peer) {
            reservation.task.abort();
        }
    }

    /// Replaces the keys under which this node is found there.
    pub(in crate::relay) fn register(&self, peer: &PeerId, keys: Keys) {
        if let Some(reservation) = self.held.get(peer) {
            // A full queue means that the reservation is stuck; it will end on its own.
            let _ = reservation.keys.try_send(keys);
        }
    }

    /// Waits until a task has ended, and frees it. Pends while there is none. Cancel-safe.
    pub(in crate::relay) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Holds a reservation until it ends. Returns why it was refused, if it was, and how long not to request it again.
async fn hold(
    transport: &Transport,
    relay: Relay,
    keys: mpsc::Receiver<Keys>,
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
            let pause = Duration::from_secs(refused.retry_seconds.min(LONGEST_RETRY));
            return (Some(reason), pause);
        }
        Ok(_) => return (None, Duration::ZERO),
        Err(error) => {
            tracing::debug!(relay = %relay.address, %error, "no reservation");
            return (None, Duration::ZERO);
        }
    };
    tracing::debug!(relay = %relay.address, "reserved");
    let input = |input| own.send(Msg::Input(Box::new(input)));
    if input(Input::Reserved(relay.peer)).await.is_err() {
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
                    key.map(|key| Input::Met(relay.peer, key, peers.collect()))
                }
                Kind::Leaving(_) => Some(Input::Leaving(relay.peer)),
                _ => None,
            };
            if let Some(news) = news {
                input(news)
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
    // The task that this runs in is aborted to stop it.
    let end: io::Result<()> = tokio::select! {
        end = reading => end,
        end = writing => end,
    };
    tracing::debug!(relay = %relay.address, ?end, "a reservation has ended");
    (None, Duration::ZERO)
}
