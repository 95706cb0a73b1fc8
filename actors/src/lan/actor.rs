//! The actor around the state machine: it has the clocks, the sockets and the datagrams.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bitchat_wire::channel::ChannelId;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::{
    LanConfig, LanPeer, LanStatus, Watch,
    message::MAX_MESSAGE,
    sockets::{GROUP, Network, networks, open},
    state::{Effect, Input, PORT, State},
};
use crate::kit::{
    Actor, Inbox, Outbox, Reply, Scope,
    clock::{now, unix},
};

/// Datagrams queued to be read: a burst of answers to one question.
const DATAGRAMS: usize = 64;
/// Peers queued for their receivers; beyond it the oldest is dropped, and found again later.
const OUTBOX: usize = 64;
/// How often the addresses of this machine are listed, and the wall clock is read, which may jump.
const LOOK: Duration = Duration::from_secs(30);
/// The destination of all datagrams.
const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(GROUP, PORT);

/// A command.
pub(super) enum Msg {
    Watch(Box<Watch>),
    Unwatch(ChannelId),
    Ask,
    Status(ChannelId, Reply<Option<LanStatus>>),
}

/// What each life of the actor is given.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) config: LanConfig,
    /// What survives a restart.
    pub(super) wanted: Arc<Mutex<BTreeMap<ChannelId, Watch>>>,
}

impl Context {
    fn wanted(&self) -> std::sync::MutexGuard<'_, BTreeMap<ChannelId, Watch>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Open {
    socket: UdpSocket,
    reader: AbortHandle,
}

/// The actor.
pub(super) struct LanActor {
    context: Context,
    state: State,
    sockets: BTreeMap<Network, Open>,
    readers: JoinSet<()>,
    datagrams: mpsc::Sender<(SocketAddrV4, Bytes)>,
    received: Option<mpsc::Receiver<(SocketAddrV4, Bytes)>>,
    outbox: Outbox<LanPeer>,
    error: Option<String>,
    looked: Option<Instant>,
}

impl Actor for LanActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let Some(mut received) = self.received.take() else {
            return Err("a life begins once".to_owned());
        };
        let known = self.context.wanted().clone();
        for Watch { cid, keys, .. } in known.into_values() {
            self.apply(Input::Watch(cid, Box::new(keys)), scope);
        }
        self.look(scope);
        loop {
            let look = (!self.state.is_idle()).then_some(self.looked).flatten();
            let look = look.map(|looked| looked + LOOK);
            let next = self.state.next(now(), unix()).into_iter().chain(look).min();
            let sleep = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break,
                // A receiver that was dropped needs no peers.
                _ = self.outbox.send_next() => {}
                // Readers end with their sockets.
                Some(_) = self.readers.join_next() => {}
                message = inbox.recv() => match message {
                    Some(message) => self.message(message, scope),
                    None => break,
                },
                // Timers come before datagrams, or a flood could stop the clock.
                () = sleep => {
                    if self.looked.is_some_and(|looked| looked + LOOK <= now()) {
                        self.look(scope);
                    }
                    self.apply(Input::Tick, scope);
                }
                Some((from, bytes)) = received.recv() => self.apply(Input::Datagram(from, &bytes), scope),
            }
        }
        for goodbye in self.state.goodbye(unix()) {
            self.send(&goodbye);
        }
        Ok(())
    }
}

impl LanActor {
    pub(super) fn new(context: Context) -> Self {
        let (datagrams, received) = mpsc::channel(DATAGRAMS);
        Self {
            state: State::new(context.config.port, now(), &mut rand::rng()),
            context,
            sockets: BTreeMap::new(),
            readers: JoinSet::new(),
            datagrams,
            received: Some(received),
            outbox: Outbox::new("lan found", OUTBOX),
            error: None,
            looked: None,
        }
    }

    fn message(&mut self, message: Msg, scope: &Scope) {
        match message {
            Msg::Watch(watch) => {
                let (cid, keys) = (watch.cid, Box::new(watch.keys.clone()));
                self.context.wanted().insert(cid, *watch);
                let begins = self.state.is_idle();
                self.apply(Input::Watch(cid, keys), scope);
                if begins {
                    self.look(scope);
                }
            }
            Msg::Unwatch(cid) => {
                self.context.wanted().remove(&cid);
                self.apply(Input::Unwatch(cid), scope);
                if self.state.is_idle() {
                    self.look(scope);
                }
            }
            Msg::Ask => self.apply(Input::Ask, scope),
            Msg::Status(cid, answer) => {
                let status = self
                    .state
                    .last_announced(cid)
                    .map(|last_announce| LanStatus {
                        networks: self.sockets.len(),
                        last_announce,
                        next_try: self.looked.map(|looked| looked + LOOK),
                        error: self.error.clone(),
                    });
                // The asker may be gone.
                let _ = answer.send(status);
            }
        }
    }

    fn apply(&mut self, input: Input<'_>, scope: &Scope) {
        let effects = self.state.handle(input, now(), unix(), &mut rand::rng());
        for effect in effects {
            match effect {
                Effect::Send(bytes) => self.send(&bytes),
                Effect::Found(cid, address) => {
                    if let Some(watch) = self.context.wanted().get(&cid) {
                        let peer = LanPeer {
                            cid,
                            address: address.into(),
                        };
                        let kit = &scope.metrics().kit;
                        self.outbox.push(watch.found.clone(), peer, kit);
                    }
                }
            }
        }
    }

    /// Sends a datagram to all networks. What cannot be sent now is lost, like any datagram.
    fn send(&self, bytes: &[u8]) {
        for (network, open) in &self.sockets {
            if let Err(error) = open.socket.send_to(bytes, EVERYBODY) {
                tracing::debug!(ip = %network.ip, %error, "cannot send in a local network");
            }
        }
    }

    /// Opens and closes sockets as the networks of this machine come and go.
    fn look(&mut self, scope: &Scope) {
        self.looked = Some(now());
        let wanted = if self.state.is_idle() {
            Ok(Vec::new())
        } else {
            networks(&self.context.config.bind)
        };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(error) => {
                self.error = Some(format!("cannot list the networks: {error}"));
                return;
            }
        };
        self.error = wanted
            .is_empty()
            .then(|| "there is no local network with IPv4 on which this node listens".to_owned());
        self.sockets.retain(|network, open| {
            let stays = wanted.contains(network);
            if !stays {
                open.reader.abort();
            }
            stays
        });
        let mut is_new = false;
        for network in wanted {
            if self.sockets.contains_key(&network) {
                continue;
            }
            match self.open(network, scope) {
                Ok(()) => is_new = true,
                Err(error) => {
                    self.error = Some(format!("cannot listen at {}: {error}", network.ip));
                }
            }
        }
        if is_new {
            self.apply(Input::Moved, scope);
        }
    }

    fn open(&mut self, network: Network, scope: &Scope) -> std::io::Result<()> {
        let socket = open(&network)?;
        let receiver = tokio::net::UdpSocket::from_std(socket.try_clone()?)?;
        let (datagrams, metrics) = (self.datagrams.clone(), scope.metrics().clone());
        let reader = self.readers.spawn(async move {
            // One byte more than is read, so that a longer datagram is recognised.
            let mut buffer = [0; MAX_MESSAGE + 1];
            loop {
                match receiver.recv_from(&mut buffer).await {
                    // An address outside the network is forged, or the datagram is not for us.
                    Ok((length, SocketAddr::V4(from)))
                        if length <= MAX_MESSAGE && network.has(*from.ip()) =>
                    {
                        let bytes = Bytes::copy_from_slice(&buffer[..length]);
                        if datagrams.try_send((from, bytes)).is_err() {
                            metrics.kit.dropped("lan");
                        }
                    }
                    Ok(_) => {}
                    // The network is gone; the next look opens a socket if it is back.
                    Err(error) => {
                        tracing::debug!(ip = %network.ip, %error, "cannot receive from a local network");
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        });
        self.sockets.insert(network, Open { socket, reader });
        Ok(())
    }
}
