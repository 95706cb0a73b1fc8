//! The tracker and discovery actors against a real opentracker.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitchat_actors::{
    internals::{
        kit::Scope,
        tracker::{TrackerConfig, TrackerPeers, Trackers, Watch},
    },
    status::{Metrics, TrackerState},
};
use bitchat_tests::opentracker::OpenTracker;
use bitchat_wire::channel::{ChannelId, EpochKeys, RendezvousHash};
use tokio::sync::mpsc;

/// Time limit of each wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn keys(n: u8) -> EpochKeys {
    EpochKeys::derive(ChannelId([n; 32]), 0, &[n; 32])
}

/// The hashes of today and the days around it.
fn hashes(keys: &EpochKeys) -> Vec<String> {
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let period = keys.period(unix);
    (period - 1..=period + 1)
        .map(|period| keys.rendezvous_hash(period).to_string())
        .collect()
}

struct Announcer {
    trackers: Trackers,
    sender: mpsc::Sender<TrackerPeers>,
    found: mpsc::Receiver<TrackerPeers>,
    scope: Scope,
}

impl Announcer {
    fn start(port: u16) -> Self {
        let (scope, _deaths) = Scope::new(Metrics::default());
        let (sender, found) = mpsc::channel(8);
        let trackers = Trackers::start_with(TrackerConfig::new(port), &scope);
        Self {
            trackers,
            sender,
            found,
            scope,
        }
    }

    async fn watch(&self, tracker: &OpenTracker, keys: EpochKeys) {
        let tiers = vec![vec![tracker.url()]];
        let cid = keys.cid;
        self.trackers
            .watch(Watch {
                cid,
                tiers,
                keys,
                not_before: std::time::Instant::now(),
                found: self.sender.clone(),
            })
            .await;
    }

    /// Waits until the tracker names a port other than ours.
    async fn finds(&mut self, own: u16) -> Vec<u16> {
        let search = async {
            loop {
                let found = self.found.recv().await.unwrap();
                assert!(found.local, "it answers from loopback");
                let mut ports: Vec<u16> = found.peers.iter().map(SocketAddr::port).collect();
                assert!(
                    found
                        .peers
                        .iter()
                        .all(|peer| peer.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST))
                );
                ports.retain(|&port| port != own);
                if !ports.is_empty() {
                    ports.sort_unstable();
                    return ports;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap()
    }

    /// Waits until the tracker has answered, with or without peers.
    async fn answered(&self, cid: ChannelId) -> TrackerState {
        let answered = async {
            loop {
                let status = self.trackers.status(cid).await.swap_remove(0);
                if status.state != TrackerState::Waiting {
                    return status.state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap()
    }

    async fn stop(self) {
        assert!(self.scope.stop(PATIENCE).await);
    }
}

/// The tracker serves the one hash, and refuses all hashes of a rotating channel.
#[tokio::test]
async fn a_channel_that_never_rotates_is_announced_under_its_one_hash() {
    let hash = RendezvousHash([7; 20]);
    let keys = keys(7).with_fixed_hash(hash);
    let tracker = OpenTracker::start(&[hash.to_string()]).unwrap();
    let first = Announcer::start(1031);
    first.watch(&tracker, keys.clone()).await;
    assert_eq!(first.answered(keys.cid).await, TrackerState::Working);
    let mut second = Announcer::start(1032);
    second.watch(&tracker, keys).await;
    assert_eq!(second.finds(1032).await, [1031]);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn two_find_each_other_and_whoever_stops_is_not_found() {
    let keys = keys(1);
    let tracker = OpenTracker::start(&hashes(&keys)).unwrap();
    let mut first = Announcer::start(1001);
    first.watch(&tracker, keys.clone()).await;
    assert_eq!(first.answered(keys.cid).await, TrackerState::Working);

    let mut second = Announcer::start(1002);
    second.watch(&tracker, keys.clone()).await;
    assert_eq!(second.finds(1002).await, [1001]);

    // Leaving and joining again is a new start, which is not bound to the interval.
    first.trackers.unwatch(keys.cid).await;
    first.watch(&tracker, keys.clone()).await;
    assert_eq!(first.finds(1001).await, [1002]);

    // The second announces `stopped` when it stops.
    second.stop().await;
    let mut third = Announcer::start(1003);
    third.watch(&tracker, keys.clone()).await;
    assert_eq!(third.finds(1003).await, [1001]);
    first.stop().await;
    third.stop().await;
}

#[tokio::test]
async fn a_tracker_that_refuses_a_hash_is_shown_and_may_change_its_mind() {
    let keys = keys(2);
    let tracker = OpenTracker::start(&[]).unwrap();
    let announcer = Announcer::start(1001);
    announcer.watch(&tracker, keys.clone()).await;
    assert_eq!(announcer.answered(keys.cid).await, TrackerState::Failing);
    let status = announcer.trackers.status(keys.cid).await.swap_remove(0);
    assert!(status.error.unwrap().starts_with("refused: "));

    tracker.serve(&hashes(&keys)).unwrap();
    let changed = async {
        loop {
            announcer.trackers.unwatch(keys.cid).await;
            announcer.watch(&tracker, keys.clone()).await;
            if announcer.answered(keys.cid).await == TrackerState::Working {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.unwrap();
    announcer.stop().await;
}
