//! The configuration, and the start of the announcer and of the search.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{
    actor::{Parts, Seeker},
    announce::Announcer,
    places::{Channels, Places},
};
use crate::{dht::Dht, kit::Scope, relay::Relays, tracker::Trackers, transport::Transport};

/// Tracker responses queued for the search.
const FOUND: usize = 16;

/// Whether this node announces itself as a public relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is not a public relay.
    Never,
    /// As soon as others are known to reach it.
    WhenReached,
    /// At once, because its operator says so.
    Always,
}

/// What to announce, and what to look for.
pub(crate) struct PublicRelaysConfig {
    /// Whether this node announces itself.
    pub(crate) offer: Offer,
    /// How long relays may be missing before public ones are looked for; `None` to look for none.
    pub(crate) look: Option<Duration>,
    /// The channels whose trackers are used.
    pub(crate) channels: Channels,
    /// Further trackers.
    pub(crate) trackers: Vec<String>,
}

/// The actors that are used.
pub(crate) struct Uses {
    /// Dials the addresses that were found.
    pub(crate) transport: Transport,
    /// Reports whether relays are needed, and receives those that answer.
    pub(crate) relays: Relays,
    /// Where relays are announced and looked for.
    pub(crate) trackers: Trackers,
    /// Where they are announced and looked for as well; `None` if the DHT is off.
    pub(crate) dht: Option<Dht>,
}

/// Starts what `config` asks for in `scope`.
pub(crate) fn start(config: PublicRelaysConfig, uses: Uses, scope: &Scope) {
    let places = Places {
        channels: config.channels,
        trackers: config.trackers,
    };
    let (found, inbox) = mpsc::channel(FOUND);
    let offers = config.offer != Offer::Never;
    if offers {
        let announcer = Announcer {
            at_once: config.offer == Offer::Always,
            transport: uses.transport.clone(),
            trackers: uses.trackers.clone(),
            dht: uses.dht.clone(),
            places: places.clone(),
            found: found.clone(),
        };
        scope.transient(tracing::info_span!("offer"), announcer.run());
    }
    if let Some(delay) = config.look {
        let parts = Parts {
            delay,
            offers,
            places,
            transport: uses.transport,
            relays: uses.relays,
            trackers: uses.trackers,
            dht: uses.dht,
            found,
        };
        let span = tracing::info_span!("public relays");
        scope.permanent_with("public relays", inbox, span, move || {
            Seeker::new(parts.clone())
        });
    }
}
