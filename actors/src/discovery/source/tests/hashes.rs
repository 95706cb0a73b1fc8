#![allow(clippy::unwrap_used)]
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bitchat_wire::channel::{ChannelId, EpochKeys, PERIOD, RendezvousHash};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{
    dht::{Dht, DhtConfig, Id, Keeper, Saved},
    discovery::source::hashes::{Hashes, host_port},
    kit::{Metrics, Scope},
};

struct Nothing;

impl Keeper for Nothing {
    fn load(&self) -> BoxFuture<'_, Saved> {
        Box::pin(async { Saved::default() })
    }

    fn save(&self, _: Saved) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

#[tokio::test]
async fn the_dht_watches_the_hashes_of_the_day_and_no_others() {
    let (scope, _deaths) = Scope::new(Metrics::default());
    let (_packets, incoming) = mpsc::channel(1);
    let (sender, _found) = mpsc::channel(1);
    let outgoing = Arc::new(|_, _: &[u8]| ());
    let keeper = Arc::new(Nothing);
    let dht = Dht::start(DhtConfig::new(), incoming, outgoing, keeper, &scope);
    let mut hashes = Hashes::new(Some((dht.clone(), sender)), 7);
    let (a, b) = (ChannelId([1; 32]), ChannelId([2; 32]));
    let keys = EpochKeys::derive(a, 0, &[3; 32]);
    let other = EpochKeys::derive(b, 0, &[4; 32]);
    let begin = keys.period_start(20_000);
    // From one noon of the channel to that of the day after, with clocks that jump by half an hour.
    for minute in (720..2_160).step_by(30) {
        let unix = begin + 60 * minute;
        if minute == 720 {
            hashes.want(a, keys.clone(), &[], unix).await;
            hashes
                .want(b, other.clone(), &[("::1".to_owned(), 5)], unix)
                .await;
        }
        hashes.rotate(unix).await;
        let due = |keys: &EpochKeys| keys.announced(unix).into_iter().map(|hash| Id(hash.0));
        let all: BTreeSet<Id> = due(&keys).chain(due(&other)).collect();
        let status = dht.status().await.unwrap();
        let watched: BTreeSet<Id> = status.watches.iter().map(|watch| watch.hash).collect();
        assert_eq!(watched, all, "minute {minute}");
        assert!(status.watches.iter().all(|watch| watch.port == 7));
        assert!(due(&keys).all(|hash| hashes.channel_of(&hash) == Some(a)));
        assert_eq!(hashes.present(b), due(&other).next());
    }
    // Hashes change at the predicted times only.
    let mut unix = begin;
    for _ in 0..12 {
        hashes.rotate(unix).await;
        let before = hashes.channels[&a].hashes.clone();
        let other_before = hashes.channels[&b].hashes.clone();
        let pause = hashes.next_change(unix).as_secs();
        hashes.rotate(unix + pause - 1).await;
        assert_eq!(hashes.channels[&a].hashes, before);
        unix += pause;
        hashes.rotate(unix).await;
        let changed = |old: &Vec<Id>, cid| hashes.channels[cid].hashes != *old;
        assert!(changed(&before, &a) || changed(&other_before, &b), "{unix}");
    }
    hashes.forget(a).await;
    hashes.forget(b).await;
    assert_eq!(dht.status().await.unwrap().watches, []);
    assert!(scope.stop(Duration::from_secs(5)).await);
}

/// Ten days of two members, each waking at the times that its own clock predicts.
#[test]
fn members_with_clocks_an_hour_apart_never_miss_each_other() {
    let keys = EpochKeys::derive(ChannelId([1; 32]), 0, &[3; 32]);
    let watched_by = |clock: i64| {
        let (mut unix, mut days) = (1_900_000_000_u64, Vec::new());
        let end = unix + 10 * PERIOD;
        while unix < end {
            let own = unix.checked_add_signed(clock).unwrap();
            let next = keys.next_change(own) - own;
            days.push((unix, unix + next, keys.announced(own)));
            unix += next;
        }
        days
    };
    for apart in [-3_600, -1_799, -1, 0, 1, 1_800, 3_600] {
        // One is late and the other early, or one of them is right.
        for late in [0, apart / 2, apart] {
            let (ours, theirs) = (watched_by(late - apart), watched_by(late));
            for (begin, end, hashes) in &ours {
                let meanwhile = theirs.iter().filter(|(b, e, _)| b < end && begin < e);
                for (_, _, others) in meanwhile {
                    let shared = hashes.iter().any(|hash| others.contains(hash));
                    assert!(shared, "{apart} s apart at {begin}");
                }
            }
            let all = ours
                .iter()
                .flat_map(|(_, _, hashes)| hashes.iter().map(|h| h.0));
            let different: BTreeSet<[u8; 20]> = all.collect();
            assert!(
                (10..=12).contains(&different.len()),
                "one a day: {}",
                different.len()
            );
        }
    }
}

/// A month with a clock that is set back now and then: one hash, and no time at which it would change.
#[tokio::test]
async fn a_hash_that_never_changes_stays() {
    let (scope, _deaths) = Scope::new(Metrics::default());
    let (_packets, incoming) = mpsc::channel(1);
    let (sender, _found) = mpsc::channel(1);
    let keeper = Arc::new(Nothing);
    let outgoing = Arc::new(|_, _: &[u8]| ());
    let dht = Dht::start(DhtConfig::new(), incoming, outgoing, keeper, &scope);
    let mut hashes = Hashes::new(Some((dht.clone(), sender)), 7);
    let cid = ChannelId([1; 32]);
    let infohash = RendezvousHash([9; 20]);
    let keys = EpochKeys::derive(cid, 0, &[3; 32]).with_fixed_hash(infohash);
    let begin = 1_900_000_000;
    hashes.want(cid, keys, &[], begin).await;
    for hour in 0..30 * 24 {
        let wrong = if hour % 7 == 0 { begin } else { 0 };
        let unix = begin + hour * 3_600 - wrong;
        hashes.rotate(unix).await;
        assert_eq!(hashes.channels[&cid].hashes, [Id([9; 20])]);
        assert!(hashes.next_change(unix) > Duration::from_secs(365 * PERIOD));
    }
    let watches = dht.status().await.unwrap().watches;
    let watched: Vec<Id> = watches.iter().map(|watch| watch.hash).collect();
    assert_eq!(watched, [Id([9; 20])]);
    assert_eq!(hashes.present(cid), Some(Id([9; 20])));
    assert!(scope.stop(Duration::from_secs(5)).await);
}

#[test]
fn hosts_are_written_with_their_ports() {
    assert_eq!(host_port(&("a.example".to_owned(), 1)), "a.example:1");
    assert_eq!(host_port(&("::1".to_owned(), 2)), "[::1]:2");
}
