//! The hub: which channels may be linked, and the handshakes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bitchat_wire::{channel::ChannelId, link::Established};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    LinkId, Registration,
    guards::{Failures, Place, Places},
    handshake::{self, DEADLINE, Failure},
    session::{self, Start},
};
use crate::{
    discovery::{Discovery, Outcome, Reached, Way},
    kit::{Actor, Addr, Guard, Inbox, Scope},
    relay::Relays,
    store::Store,
    transport::{Connection, ConnectionId, Stream, Target, Transport, network::subscriber},
};

/// Handshakes that wait to be started. Beyond, senders wait: the peer that floods us with streams first of all.
const HUB_MAILBOX: usize = 256;
/// How long a peer that failed too many handshakes stays barred.
const BAR: Duration = Duration::from_secs(60);
/// Links of one channel on one connection: one that each side began, and the ones that replace them.
const LINKS_A_CONNECTION: usize = 4;
/// How often to try to move a link, while the place on the other connection is taken.
const MOVE_PAUSE: Duration = Duration::from_millis(250);
/// Links of one channel. Each keeps a place for its last word in the channel's mailbox, of which this is a
/// half at most: the other half carries what links say.
pub(crate) const LINKS_A_CHANNEL: usize = 512;

enum Msg {
    Initiate(Reached),
    Incoming(Connection, Stream),
    Moved(ConnectionId, Connection),
}

/// A handle to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    hub: Addr<Msg>,
    shared: Arc<Shared>,
}

struct Registered {
    reg: Registration,
    /// Ends the links of this registration.
    stop: CancellationToken,
}

struct Shared {
    channels: Mutex<HashMap<ChannelId, Registered>>,
    /// Links and handshakes of ours, by channel and connection: one of each is enough.
    active: Mutex<HashSet<(ChannelId, ConnectionId)>>,
    /// How many links run, by channel and connection.
    links: Mutex<BTreeMap<(ConnectionId, ChannelId), usize>>,
    next_id: AtomicU64,
    answering: Arc<Places<IpAddr>>,
    reading: Arc<Places<ConnectionId>>,
    beginning: Arc<Places<ConnectionId>>,
    failures: Failures,
    transport: Transport,
    relays: Relays,
    discovery: Discovery,
    store: Store,
}

impl Links {
    /// Starts the hub in `scope`.
    pub fn start(
        transport: Transport,
        relays: Relays,
        discovery: Discovery,
        store: Store,
        scope: &Scope,
    ) -> Self {
        let shared = Arc::new(Shared {
            channels: Mutex::default(),
            active: Mutex::default(),
            links: Mutex::default(),
            next_id: AtomicU64::new(0),
            answering: Places::answering(),
            reading: Places::reading(),
            beginning: Places::beginning(),
            failures: Failures::default(),
            transport,
            relays,
            discovery,
            store,
        });
        let kept = Arc::clone(&shared);
        let span = tracing::info_span!("links");
        let hub = scope.permanent("links", HUB_MAILBOX, span, move || Hub {
            shared: Arc::clone(&kept),
        });
        Self { hub, shared }
    }

    /// Lets a channel be linked. An earlier registration of it ends, with its links.
    pub fn register(&self, reg: Registration) {
        let registered = Registered {
            stop: CancellationToken::new(),
            reg,
        };
        let earlier = self
            .shared
            .channels()
            .insert(registered.reg.cid, registered);
        if let Some(earlier) = earlier {
            earlier.stop.cancel();
        }
    }

    /// No longer; its links end at once.
    pub fn unregister(&self, cid: ChannelId) {
        let gone = self.shared.channels().remove(&cid);
        if let Some(gone) = gone {
            gone.stop.cancel();
        }
    }

    /// Tries to link over a connection that discovery made.
    pub async fn initiate(&self, reached: Reached) {
        // The hub is gone only when the node stops.
        let _ = self.hub.send(Msg::Initiate(reached)).await;
    }

    /// A peer opened a link stream.
    pub async fn incoming(&self, connection: Connection, stream: Stream) {
        let _ = self.hub.send(Msg::Incoming(connection, stream)).await;
    }

    /// Another connection takes over from the one of that number: every channel that is linked there is linked on
    /// it too, by a fresh handshake, and the channel then closes the older link.
    pub async fn moved(&self, from: ConnectionId, to: Connection) {
        let _ = self.hub.send(Msg::Moved(from, to)).await;
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Registered>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, fits: impl Fn(&Registration) -> bool) -> Option<Registration> {
        self.channels()
            .values()
            .map(|registered| &registered.reg)
            .find(|reg| fits(reg))
            .cloned()
    }

    fn stop_of(&self, cid: ChannelId) -> Option<CancellationToken> {
        self.channels()
            .get(&cid)
            .map(|registered| registered.stop.clone())
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<(ConnectionId, ChannelId), usize>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a link until the guard drops; `None` when there are too many.
    fn enter(
        self: &Arc<Self>,
        cid: ChannelId,
        connection: ConnectionId,
    ) -> Option<Guard<impl FnOnce() + use<>>> {
        let key = (connection, cid);
        let mut links = self.links();
        let all: usize = links
            .iter()
            .filter(|((_, of), _)| *of == cid)
            .map(|(_, count)| count)
            .sum();
        let here = links.get(&key).copied().unwrap_or(0);
        if here >= LINKS_A_CONNECTION || all >= LINKS_A_CHANNEL {
            return None;
        }
        links.insert(key, here + 1);
        drop(links);
        let shared = Arc::clone(self);
        Some(Guard::new(move || {
            let mut links = shared.links();
            if let Some(count) = links.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    links.remove(&key);
                }
            }
        }))
    }

    /// Whether a link runs on a connection: its peer is a member of some channel of ours.
    fn is_members(&self, connection: ConnectionId) -> bool {
        self.links()
            .range((connection, ChannelId([0; 32]))..)
            .next()
            .is_some_and(|((of, _), _)| *of == connection)
    }

    /// The channels that are linked on a connection, or are about to be.
    fn channels_on(&self, connection: ConnectionId) -> HashSet<ChannelId> {
        let mut channels: HashSet<ChannelId> = self
            .links()
            .keys()
            .filter(|(on, _)| *on == connection)
            .map(|(_, cid)| *cid)
            .collect();
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let here = active.iter().filter(|(_, on)| *on == connection);
        channels.extend(here.map(|(cid, _)| *cid));
        channels
    }

    /// Marks a channel's link on a connection as active until the guard drops; `None` when it is already.
    fn activate(
        self: &Arc<Self>,
        cid: ChannelId,
        connection: ConnectionId,
    ) -> Option<Guard<impl FnOnce() + use<>>> {
        let key = (cid, connection);
        let active = |shared: &Self| {
            shared
                .active
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(key)
        };
        active(self).then(|| {
            let shared = Arc::clone(self);
            Guard::new(move || {
                shared
                    .active
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&key);
            })
        })
    }
}

struct Hub {
    shared: Arc<Shared>,
}

impl Actor for Hub {
    type Msg = Msg;
    type Error = Infallible;

    async fn run(self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), Infallible> {
        loop {
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                message = inbox.recv() => message,
            };
            match message {
                None => return Ok(()),
                Some(Msg::Initiate(reached)) => {
                    let span = tracing::info_span!("link", peer = %short(&reached.connection));
                    let attempt = Attempt {
                        cid: reached.cid,
                        address: reached.address,
                        source: Some(Way {
                            source: reached.source,
                            took: reached.took,
                        }),
                        connection: reached.connection,
                    };
                    let shared = Arc::clone(&self.shared);
                    let linking = initiate(shared, attempt, scope.clone()).map(drop);
                    scope.graceful(span, linking);
                }
                Some(Msg::Moved(from, connection)) => {
                    for cid in self.shared.channels_on(from) {
                        relocate(&self.shared, cid, from, &connection, scope);
                    }
                }
                Some(Msg::Incoming(connection, stream)) => {
                    let Some(reading) = self.shared.reading.enter(connection.id()) else {
                        scope.metrics().kit.dropped("link handshakes");
                        continue; // dropping the stream resets it
                    };
                    let span = tracing::info_span!("link", peer = %short(&connection));
                    let (shared, scope_) = (Arc::clone(&self.shared), scope.clone());
                    scope.graceful(span, respond(shared, connection, stream, reading, scope_));
                }
            }
        }
    }
}

/// A link that we begin.
struct Attempt {
    cid: ChannelId,
    connection: Connection,
    address: Target,
    /// `None` for one that moves.
    source: Option<Way>,
}

/// Links a channel on the connection that takes over, if it is linked on the one that is to end. A link that is there
/// already may be one that is just saying goodbye, so this is tried for as long as there is something to move.
fn relocate(
    shared: &Arc<Shared>,
    cid: ChannelId,
    from: ConnectionId,
    to: &Connection,
    scope: &Scope,
) {
    let span = tracing::info_span!("link", peer = %short(to));
    let (shared, to, scope_) = (Arc::clone(shared), to.clone(), scope.clone());
    let moving = async move {
        while shared.channels_on(from).contains(&cid) && !to.is_closed() && !to.is_draining() {
            let attempt = Attempt {
                cid,
                address: address_of(&to),
                // Nobody found it anew.
                source: None,
                connection: to.clone(),
            };
            if initiate(Arc::clone(&shared), attempt, scope_.clone()).await {
                return;
            }
            tokio::select! {
                biased;
                () = scope_.stop_signal().cancelled() => return,
                () = tokio::time::sleep(MOVE_PAUSE) => {}
            }
        }
    };
    // Boxed, since a link that comes up late on a connection that is to end comes here again.
    let moving: BoxFuture<'static, ()> = Box::pin(moving);
    scope.graceful(span, moving);
}

/// Where the peer can be dialled or, if that is not known, from where it came.
fn address_of(connection: &Connection) -> Target {
    connection.dialable().unwrap_or_else(|| connection.target())
}

/// Links, and lives the link. False when it did not try, because another link or handshake has that place.
async fn initiate(shared: Arc<Shared>, attempt: Attempt, scope: Scope) -> bool {
    let Attempt {
        cid,
        connection,
        address,
        source,
    } = attempt;
    let Some(reg) = shared.find(|reg| reg.cid == cid) else {
        return true;
    };
    let Some(_active) = shared.activate(cid, connection.id()) else {
        return false;
    };
    let attempt = async {
        let _place = shared.beginning.enter_soon(connection.id()).await;
        let mut stream = connection
            .open(bitchat_wire::stream::StreamKind::Link)
            .await?;
        let established = handshake::initiate(&connection, &mut stream, &reg).await?;
        Ok::<_, Failure>((stream, established))
    };
    let result = tokio::select! {
        biased;
        () = scope.stop_signal().cancelled() => return true,
        // Boxed, as the link's life is: a link's task would otherwise keep room for its handshake for ever.
        result = timeout(DEADLINE, Box::pin(attempt)) => result.unwrap_or(Err(Failure::Late)),
    };
    match result {
        Ok((stream, established)) => {
            Box::pin(run(
                &shared,
                &connection,
                reg,
                stream,
                established,
                Origin {
                    initiator: true,
                    source,
                    address,
                },
                &scope,
            ))
            .await;
        }
        Err(failure) => {
            tracing::debug!(%address, %failure, "no member there");
            // A link that does not move stays where it is until its connection ends, and is looked for then.
            if source.is_some() {
                shared
                    .discovery
                    .outcome(cid, Outcome::Stranger { address })
                    .await;
            }
        }
    }
    true
}

async fn respond(
    shared: Arc<Shared>,
    connection: Connection,
    mut stream: Stream,
    reading: Place<ConnectionId>,
    scope: Scope,
) {
    let admit = async {
        let place = shared
            .answering
            .enter_soon(subscriber(connection.remote().ip()))
            .await;
        drop(reading);
        place
    };
    // Boxed: see `initiate`.
    let attempt = Box::pin(handshake::respond(
        &connection,
        &mut stream,
        |fits| shared.find(fits),
        admit,
    ));
    let result = tokio::select! {
        biased;
        () = scope.stop_signal().cancelled() => return,
        result = timeout(DEADLINE, attempt) => result.unwrap_or(Err(Failure::Late)),
    };
    match result {
        Ok((reg, established)) => {
            let address = address_of(&connection);
            // A handshake of ours on the same connection may be under way: the channel decides which survives.
            let _active = shared.activate(reg.cid, connection.id());
            Box::pin(run(
                &shared,
                &connection,
                reg,
                stream,
                established,
                Origin {
                    initiator: false,
                    source: None,
                    address,
                },
                &scope,
            ))
            .await;
        }
        Err(failure) => {
            stream.send.reset();
            drop(stream);
            tracing::debug!(%failure, "refused a link");
            // A member may try channels that we left, or never had: whoever names addresses to it (a tracker,
            // say) must not be able to break the links that are.
            if !shared.is_members(connection.id()) && shared.failures.count(connection.id()) {
                connection.close();
                shared
                    .transport
                    .bar(connection.peer(), connection.direct(), BAR)
                    .await;
            }
        }
    }
}

struct Origin {
    initiator: bool,
    source: Option<Way>,
    address: Target,
}

async fn run(
    shared: &Arc<Shared>,
    connection: &Connection,
    reg: Registration,
    stream: Stream,
    established: Established,
    origin: Origin,
    scope: &Scope,
) {
    let (identity, peer, address) = (established.peer.identity, connection.peer(), origin.address);
    let (cid, dialled) = (reg.cid, origin.source.is_some());
    let Some(stop) = shared.stop_of(cid) else {
        return;
    };
    let _linked = connection.begin_link();
    let Some(_counted) = shared.enter(cid, connection.id()) else {
        scope.metrics().kit.dropped("links");
        return;
    };
    // It may use us as a relay from now on, and the other way round.
    let _member = shared.relays.member(connection);
    // The handshake was under way when another connection took over.
    if let Some(to) = connection.moves_to() {
        relocate(shared, cid, connection.id(), &to, scope);
    }
    let id = LinkId(shared.next_id.fetch_add(1, Ordering::Relaxed));
    let start = Start {
        id,
        reg,
        connection: connection.clone(),
        stream,
        established,
        initiator: origin.initiator,
        source: origin.source,
        store: shared.store.clone(),
        listen_port: shared.transport.port(),
        stop,
        shutdown: scope.stop_signal().clone(),
    };
    let linked = || {
        shared.discovery.outcome(
            cid,
            Outcome::Linked {
                identity,
                peer,
                address,
                dialled,
            },
        )
    };
    let up = session::run(start, linked).await;
    if up && !scope.stop_signal().is_cancelled() {
        shared
            .discovery
            .outcome(
                cid,
                Outcome::Lost {
                    identity,
                    peer,
                    address,
                },
            )
            .await;
    }
}

fn short(connection: &Connection) -> String {
    let text = connection.peer().to_base58();
    // The first characters of all ephemeral PeerIds are the same multihash prefix.
    text.chars().rev().take(6).collect()
}
