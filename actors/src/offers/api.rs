//! The shell around the state: questions to trackers and DHT, tries, and our own announces.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::channel::EpochKeys;
use tokio::{sync::mpsc, task::JoinSet};

use super::state::{Effect, Event, State};
use crate::{
    dht::{self, Dht, Id},
    kit::{
        Scope,
        clock::{now, unix},
    },
    relay::{self, Relays},
    tracker::{TrackerPeers, Trackers, Watch},
    transport::{Relay, Transport, network::is_believable},
};

/// Answers of trackers that are queued.
const FOUND: usize = 16;
/// Trackers that are asked.
const MAX_TRACKERS: usize = 16;
/// How long trackers may take to answer. Then they hear that we stop: who looks for relays is none itself, and others
/// that look are not to try it.
const ASKING: Duration = Duration::from_secs(20);
/// How long what has answered is waited for others, so that members who ask at different trackers see the same ones.
const GATHER: Duration = Duration::from_millis(500);
/// How often it is looked whether others can reach us, by now, and what is to be announced where.
const REVIEW: Duration = Duration::from_secs(30);

/// The channels whose members are to be met, and the trackers that they name.
pub type Channels = Arc<dyn Fn() -> Vec<(EpochKeys, Vec<Vec<String>>)> + Send + Sync>;

/// Whether we offer ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// We are no public relay.
    Never,
    /// As soon as others reach us.
    WhenReached,
    /// At once: whoever runs us says so.
    Always,
}

/// What it takes.
pub struct OffersConfig {
    /// Whether we offer ourselves.
    pub offer: Offer,
    /// How long to be in need of relays before looking for public ones; `None`: never look.
    pub look: Option<Duration>,
    /// Where to ask and to announce.
    pub channels: Channels,
    /// Trackers besides those.
    pub trackers: Vec<String>,
}

/// The actors that it uses.
pub struct Uses {
    /// Dials.
    pub transport: Transport,
    /// Takes what is offered.
    pub relays: Relays,
    /// Asked, and announced to.
    pub trackers: Trackers,
    /// Asked, and announced to, where there is one.
    pub dht: Option<Dht>,
}

/// The keys that everybody knows, of which the hashes come.
pub fn keys() -> EpochKeys {
    bitchat_wire::relay::public_keys()
}

/// Starts it in `scope`.
pub fn start(config: OffersConfig, uses: Uses, scope: &Scope) {
    let offers = config.offer != Offer::Never;
    let (found, answers) = mpsc::channel(FOUND);
    if offers {
        let span = tracing::info_span!("offer");
        let task = announce(
            config.offer,
            uses.transport.clone(),
            uses.trackers.clone(),
            uses.dht.clone(),
            Arc::clone(&config.channels),
            config.trackers.clone(),
            found.clone(),
        );
        scope.transient(span, task);
    }
    if let Some(delay) = config.look {
        let found = (found, answers);
        let task = look(delay, offers, config.channels, config.trackers, uses, found);
        scope.transient(tracing::info_span!("offers"), task);
    }
}

/// Each URL in a tier of its own, so that all are asked.
fn tiers(channels: &Channels, more: &[String]) -> Vec<Vec<String>> {
    let mut urls: Vec<String> = more.to_vec();
    for (_, tiers) in channels() {
        urls.extend(tiers.into_iter().flatten());
    }
    let mut seen = std::collections::BTreeSet::new();
    urls.retain(|url| seen.insert(url.clone()));
    urls.truncate(MAX_TRACKERS);
    urls.into_iter().map(|url| vec![url]).collect()
}

fn watching(tiers: Vec<Vec<String>>, found: mpsc::Sender<TrackerPeers>) -> Watch {
    let keys = keys();
    Watch {
        cid: keys.cid,
        tiers,
        keys,
        not_before: now(),
        found,
    }
}

/// Says in public that we are a relay. Never ends.
async fn announce(
    offer: Offer,
    transport: Transport,
    trackers: Trackers,
    dht: Option<Dht>,
    channels: Channels,
    more: Vec<String>,
    found: mpsc::Sender<TrackerPeers>,
) {
    // Only lookups ask for the peers that the DHT names.
    let (ignored, _) = mpsc::channel(1);
    let reached = || {
        let views = transport.nat();
        let at = |view: &crate::transport::NatView| {
            view.reached || view.mapped.is_some() || view.kind == crate::transport::NatKind::Open
        };
        views.iter().any(at)
    };
    let keys = keys();
    let mut announced: Vec<Vec<String>> = Vec::new();
    let mut hashes: Vec<Id> = Vec::new();
    loop {
        if offer == Offer::Always || !announced.is_empty() || !hashes.is_empty() || reached() {
            let tiers = tiers(&channels, &more);
            if tiers != announced {
                tracing::info!(
                    trackers = tiers.len(),
                    "this relay is announced to everybody"
                );
                trackers.watch(watching(tiers.clone(), found.clone())).await;
                announced = tiers;
            }
            if let Some(dht) = &dht {
                let due: Vec<Id> = keys
                    .announced(unix())
                    .into_iter()
                    .map(|hash| Id(hash.0))
                    .collect();
                let port = transport.outer_port().borrow().unwrap_or(transport.port());
                for hash in due.iter().filter(|hash| !hashes.contains(hash)) {
                    let watch = dht::Watch {
                        hash: *hash,
                        port,
                        found: ignored.clone(),
                    };
                    dht.watch(watch).await;
                }
                for hash in hashes.iter().filter(|hash| !due.contains(hash)) {
                    dht.unwatch(*hash).await;
                }
                hashes = due;
            }
        }
        tokio::time::sleep(REVIEW).await;
    }
}

/// Looks for others while we are in need. Ends with those who wait for it.
async fn look(
    delay: Duration,
    offers: bool,
    channels: Channels,
    more: Vec<String>,
    uses: Uses,
    (found, mut answers): (mpsc::Sender<TrackerPeers>, mpsc::Receiver<TrackerPeers>),
) {
    let Uses {
        transport,
        relays,
        trackers,
        dht,
    } = uses;
    let mut wanting = relays.wanting();
    let mut state = State::new(delay);
    let mut tries: JoinSet<(SocketAddr, Option<Relay>)> = JoinSet::new();
    let mut lookups: JoinSet<Vec<SocketAddr>> = JoinSet::new();
    // While trackers are asked: until when, and what they have said.
    let mut asking: Option<Instant> = None;
    let mut gathered: Vec<SocketAddr> = Vec::new();
    let mut gather: Option<Instant> = None;
    let mut answered = false;
    let mut event = Event::Wanting(*wanting.borrow_and_update());
    loop {
        let met: Vec<EpochKeys> = channels().into_iter().map(|(keys, _)| keys).collect();
        let mut effects = state.handle(event, &met, now(), unix());
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now());
        let is_gathered = passed(gather);
        if is_gathered {
            gather = None;
            let named = Event::Found(std::mem::take(&mut gathered));
            effects.extend(state.handle(named, &met, now(), unix()));
        }
        if passed(asking) || (is_gathered && answered) {
            (asking, answered) = (None, false);
            // Returns when the trackers know, which nobody here needs to wait for.
            drop(trackers.begin_unwatch(keys().cid).await);
        }
        for effect in effects {
            match effect {
                Effect::Look => {
                    tracing::debug!("looking for public relays");
                    if !offers {
                        let tiers = tiers(&channels, &more);
                        trackers.watch(watching(tiers, found.clone())).await;
                        asking = Some(now() + ASKING);
                    } else {
                        trackers.announce_now(keys().cid).await;
                    }
                    if let Some(dht) = dht.clone() {
                        let hashes = keys().announced(unix());
                        lookups.spawn(async move {
                            let mut all = Vec::new();
                            for hash in hashes {
                                all.extend(dht.lookup(Id(hash.0)).await.peers);
                            }
                            all
                        });
                    }
                }
                Effect::Try(address) => {
                    let transport = transport.clone();
                    tries.spawn(async move {
                        let peer = transport.dial(address, None).await.map(|one| one.peer());
                        let relay = peer.ok().map(|peer| Relay { address, peer });
                        (address, relay)
                    });
                }
            }
        }
        let timers = [state.next(), asking, gather];
        let next = timers.into_iter().flatten().min();
        let sleep = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        event = tokio::select! {
            biased;
            Some(done) = tries.join_next() => match done {
                Ok((address, relay)) => {
                    if let Some(relay) = relay {
                        tracing::debug!(%address, "somebody who may be a public relay");
                        relays.offered(relay);
                    }
                    Event::Tried(address, relay.is_some())
                }
                Err(_) => Event::Tick,
            },
            changed = wanting.changed() => match changed {
                Ok(()) => Event::Wanting(*wanting.borrow_and_update()),
                Err(_) => return,
            },
            Some(peers) = lookups.join_next() => {
                // The DHT itself drops what nobody but a local node may name.
                gathered.extend(peers.unwrap_or_default().into_iter().filter(|at| is_believable(*at, true)));
                gather.get_or_insert(now() + GATHER);
                Event::Tick
            }
            answer = answers.recv() => match answer {
                Some(answer) => {
                    let named = answer.peers.into_iter().filter(|at| is_believable(*at, answer.local));
                    gathered.extend(named.take(relay::MOST_OFFERED));
                    gathered.truncate(MAX_TRACKERS * relay::MOST_OFFERED);
                    gather.get_or_insert(now() + GATHER);
                    answered = asking.is_some();
                    Event::Tick
                }
                None => return,
            },
            () = sleep => Event::Tick,
        };
    }
}
