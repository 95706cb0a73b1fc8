//! One rendezvous hash at its trackers: announcing it, and leaving it.

use std::time::Duration;

use bitchat_wire::channel::{ChannelId, RendezvousHash};
use futures_util::{StreamExt, stream};
use tokio::{sync::mpsc, time::timeout};

use super::{
    TrackerPeers,
    announce::Announce,
    ask::{Answered, Clients},
    reply::Answer,
    tiers::{Failure, Request, Tiers},
};
use crate::disguise::{Disguise, Persona};

/// Farewells under way at a time.
const FAREWELLS: usize = 32;
/// The time limit for all farewells together.
pub(super) const FAREWELL_TIME: Duration = Duration::from_secs(2);

/// What a request needs besides what the tiers decide.
#[derive(Clone, Copy)]
pub(super) struct Swarm {
    pub(super) cid: ChannelId,
    pub(super) hash: RendezvousHash,
    pub(super) disguise: Disguise,
    pub(super) persona: Persona,
    /// Distinguishes a swarm from an earlier one of the same hash.
    pub(super) number: u64,
}

pub(super) struct Announced {
    pub(super) swarm: Swarm,
    pub(super) tiers: Tiers,
}

pub(super) fn goodbyes(announced: &mut Announced) -> Vec<(Swarm, Request)> {
    let swarm = announced.swarm;
    let requests = announced.tiers.stop();
    requests
        .into_iter()
        .map(|request| (swarm, request))
        .collect()
}

pub(super) async fn send_farewells(clients: &Clients, farewells: Vec<(Swarm, Request)>, port: u16) {
    let all =
        stream::iter(farewells).for_each_concurrent(FAREWELLS, |(swarm, request)| async move {
            let announce = announce(&swarm, &request, port);
            // Nothing depends on the answer.
            let _ = clients.ask(&request, announce, FAREWELL_TIME).await;
        });
    let _ = timeout(FAREWELL_TIME, all).await;
}

/// Sends one announce. Peers are passed on from here, so that a slow receiver holds up this request's slot and nothing
/// else.
pub(super) async fn ask(
    clients: &Clients,
    swarm: Swarm,
    request: &Request,
    port: u16,
    limit: Duration,
    found: &mpsc::Sender<TrackerPeers>,
) -> Result<Answer, Failure> {
    let Answered { answer, local } = clients
        .ask(request, announce(&swarm, request, port), limit)
        .await?;
    if !answer.peers.is_empty() || answer.external.is_some() {
        let peers = TrackerPeers {
            cid: swarm.cid,
            tracker: request.name.clone(),
            local,
            peers: answer.peers.clone(),
            external: answer.external,
        };
        // The receiver may be gone, if the channel was forgotten or the node stops.
        let _ = found.send(peers).await;
    }
    Ok(answer)
}

fn announce<'a>(swarm: &'a Swarm, request: &'a Request, port: u16) -> Announce<'a> {
    Announce {
        disguise: swarm.disguise,
        hash: &swarm.hash.0,
        persona: &swarm.persona,
        port,
        event: request.event,
        tracker_id: request.tracker_id.as_deref(),
    }
}
