//! What handshakes and links of all channels share: the registrations, and the limits.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bitchat_wire::channel::ChannelId;
use tokio_util::sync::CancellationToken;

use super::{
    LinkId, Registration,
    guards::{Failures, Places},
};
use crate::{
    discovery::Discovery,
    kit::Guard,
    relay::Relays,
    store::Store,
    transport::{ConnectionId, Transport},
};

/// Links of one channel on one connection: one that each side began, and the ones that replace them.
const LINKS_A_CONNECTION: usize = 4;
/// Links of one channel. Each reserves one place in the channel's queue for its last event, so that at most half of the
/// queue is reserved; the other half carries the events in between.
pub(crate) const LINKS_A_CHANNEL: usize = 512;

struct Registered {
    reg: Registration,
    /// Ends the links of this registration.
    stop: CancellationToken,
}

/// Registrations, limits, and handles to other actors.
pub(super) struct Shared {
    channels: Mutex<HashMap<ChannelId, Registered>>,
    /// Links, and handshakes of ours, by channel and connection: one of each is enough.
    active: Mutex<HashSet<(ChannelId, ConnectionId)>>,
    /// Number of links by connection and channel.
    links: Mutex<BTreeMap<(ConnectionId, ChannelId), usize>>,
    next_id: AtomicU64,
    pub(super) answering: Arc<Places<IpAddr>>,
    pub(super) reading: Arc<Places<ConnectionId>>,
    pub(super) beginning: Arc<Places<ConnectionId>>,
    pub(super) failures: Failures,
    pub(super) transport: Transport,
    pub(super) relays: Relays,
    pub(super) discovery: Discovery,
    pub(super) store: Store,
}

impl Shared {
    pub(super) fn new(
        transport: Transport,
        relays: Relays,
        discovery: Discovery,
        store: Store,
    ) -> Self {
        Self {
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
        }
    }

    /// Registers a channel, and ends the links of an earlier registration.
    pub(super) fn register(&self, reg: Registration) {
        let registered = Registered {
            stop: CancellationToken::new(),
            reg,
        };
        let earlier = self.channels().insert(registered.reg.cid, registered);
        if let Some(earlier) = earlier {
            earlier.stop.cancel();
        }
    }

    /// Removes a channel, and ends its links.
    pub(super) fn unregister(&self, cid: ChannelId) {
        let gone = self.channels().remove(&cid);
        if let Some(gone) = gone {
            gone.stop.cancel();
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ChannelId, Registered>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A registration that fits.
    pub(super) fn find(&self, fits: impl Fn(&Registration) -> bool) -> Option<Registration> {
        self.channels()
            .values()
            .map(|registered| &registered.reg)
            .find(|reg| fits(reg))
            .cloned()
    }

    /// The stop signal for links of a channel; `None` if it is not registered.
    pub(super) fn stop_of(&self, cid: ChannelId) -> Option<CancellationToken> {
        self.channels()
            .get(&cid)
            .map(|registered| registered.stop.clone())
    }

    /// A number for a new link.
    pub(super) fn next_id(&self) -> LinkId {
        LinkId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<(ConnectionId, ChannelId), usize>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a link until the guard drops; `None` when there are too many.
    pub(super) fn enter(
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

    /// Whether a link runs on a connection: its peer is then a member of some channel of ours.
    pub(super) fn is_members(&self, connection: ConnectionId) -> bool {
        self.links()
            .range((connection, ChannelId([0; 32]))..)
            .next()
            .is_some_and(|((of, _), _)| *of == connection)
    }

    fn active(&self) -> MutexGuard<'_, HashSet<(ChannelId, ConnectionId)>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channels that are linked on a connection, or are about to be.
    pub(super) fn channels_on(&self, connection: ConnectionId) -> HashSet<ChannelId> {
        let mut channels: HashSet<ChannelId> = self
            .links()
            .keys()
            .filter(|(on, _)| *on == connection)
            .map(|(_, cid)| *cid)
            .collect();
        let active = self.active();
        let here = active.iter().filter(|(_, on)| *on == connection);
        channels.extend(here.map(|(cid, _)| *cid));
        channels
    }

    /// Marks a channel's link on a connection as active until the guard drops; `None` when it already is.
    pub(super) fn activate(
        self: &Arc<Self>,
        cid: ChannelId,
        connection: ConnectionId,
    ) -> Option<Guard<impl FnOnce() + use<>>> {
        let key = (cid, connection);
        let added = self.active().insert(key);
        added.then(|| {
            let shared = Arc::clone(self);
            Guard::new(move || {
                shared.active().remove(&key);
            })
        })
    }
}
