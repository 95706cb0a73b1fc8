//! Discovery with real transports, stores and a real opentracker: peers that a tracker names are reached, lost ones are
//! reached again, and the addresses of an earlier run are tried without any tracker.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitchat_actors::{
    internals::{
        INDEXES,
        discovery::{Discovery, Outcome, Provenance, Reached, Sources, Wanted},
        kit::Scope,
        relay::{RelayConfig, Relays},
        store::{ChannelRecord, Store},
        tracker::Trackers,
        transport::{Transport, TransportConfig, TransportEvent},
    },
    settings::RelayMode,
    status::Metrics,
};
use bitchat_tests::opentracker::OpenTracker;
use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::IdentityKey,
};
use tokio::sync::mpsc;

/// Time limit of each wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    transport: Transport,
    discovery: Discovery,
    reached: mpsc::Receiver<Reached>,
    scopes: [Scope; 4],
    _events: mpsc::Receiver<TransportEvent>,
}

impl Node {
    async fn start(home: &Path, port: u16, cid: ChannelId) -> Self {
        let (scope, _deaths) = Scope::new(Metrics::default());
        let scopes = [scope.layer(), scope.layer(), scope.layer(), scope];
        let store = Store::open(&home.join("store.db"), &scopes[3], INDEXES)
            .await
            .unwrap();
        if store.channels().await.unwrap().is_empty() {
            let record = ChannelRecord {
                cid,
                file: Vec::new(),
                joined_ms: 1,
            };
            store.put_channel(record).await.unwrap();
        }
        let (events, receiver) = mpsc::channel(64);
        let config =
            TransportConfig::new(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], port, [3; 64].into());
        let transport = Transport::start(config, &scopes[2], events).await.unwrap();
        let trackers = Trackers::start(transport.port(), transport.udp(), &scopes[1]);
        let config = RelayConfig::new(RelayMode::Off);
        let (relays, met) = Relays::start(config, transport.clone(), &scopes[2]);
        let (sender, reached) = mpsc::channel(8);
        let discovery = Discovery::start(
            transport.clone(),
            Sources {
                trackers,
                dht: None,
                relays,
                met,
                lan: None,
            },
            store,
            &scopes[0],
            sender,
        );
        Self {
            transport,
            discovery,
            reached,
            scopes,
            _events: receiver,
        }
    }

    async fn want(&self, keys: &EpochKeys, tiers: Vec<Vec<String>>) {
        let (cid, keys) = (keys.cid, keys.clone());
        self.discovery
            .want(Wanted {
                cid,
                keys,
                tiers,
                nodes: Vec::new(),
                relays: Vec::new(),
                not_before: std::time::Instant::now(),
            })
            .await;
    }

    async fn reaches(&mut self) -> Reached {
        let next = self.reached.recv();
        tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap()
    }

    async fn stop(self) {
        for scope in &self.scopes {
            assert!(scope.stop(PATIENCE).await);
        }
    }
}

#[tokio::test]
async fn members_are_reached_through_a_tracker_after_a_loss_and_from_memory() {
    let cid = ChannelId([8; 32]);
    let keys = EpochKeys::derive(cid, 0, &[8; 32]);
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let period = keys.period(unix);
    let hashes: Vec<String> = (period - 1..=period + 1)
        .map(|period| keys.rendezvous_hash(period).to_string())
        .collect();
    let tracker = OpenTracker::start(&hashes).unwrap();
    let tiers = vec![vec![tracker.url()]];
    let (home_a, home_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let identity_a = IdentityKey::from_seed(&[1; 32]).id();

    let a = Node::start(home_a.path(), 0, cid).await;
    let port = a.transport.port();
    a.want(&keys, tiers.clone()).await;
    let answered = async {
        while a.discovery.status(cid).await.unwrap().trackers[0]
            .next_announce
            .is_none()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap();

    let mut b = Node::start(home_b.path(), 0, cid).await;
    b.want(&keys, tiers).await;
    let reached = b.reaches().await;
    assert_eq!(reached.connection.peer(), a.transport.peer_id());
    assert_eq!(reached.address.first().port(), port);
    assert_eq!(reached.source, Provenance::Tracker(tracker.url()));
    let peer = reached.connection.peer();
    let address = reached.address;
    let linked = Outcome::Linked {
        identity: identity_a,
        peer,
        address,
        dialled: true,
    };
    b.discovery.outcome(cid, linked).await;

    // A dies and returns on the same port with another PeerId, without announcing itself.
    a.stop().await;
    let lost = Outcome::Lost {
        identity: identity_a,
        peer,
        address,
    };
    b.discovery.outcome(cid, lost).await;
    let a = Node::start(home_a.path(), port, cid).await;
    assert_ne!(a.transport.peer_id(), peer);
    // The old connection may still count as open for a moment.
    loop {
        let reached = b.reaches().await;
        if reached.connection.peer() == a.transport.peer_id() {
            break;
        }
        let stale = Outcome::Lost {
            identity: identity_a,
            peer,
            address,
        };
        b.discovery.outcome(cid, stale).await;
    }
    b.stop().await;

    // B's next run has no tracker, but remembers A's address.
    let mut b = Node::start(home_b.path(), 0, cid).await;
    b.want(&keys, Vec::new()).await;
    let reached = b.reaches().await;
    assert_eq!(reached.source, Provenance::Cache);
    assert_eq!(reached.connection.peer(), a.transport.peer_id());
    b.discovery.forget(cid).await;
    assert!(b.discovery.status(cid).await.is_none());
    b.stop().await;
    a.stop().await;
}
