//! The rules of the routing table, for any inputs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::{Id, bucket::Entry, krpc::Node, security, table::Table};

const OWN: Id = Id([0; 20]);

/// An address in a network of its own.
fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([9, high, low, 1], 6_881))
}

/// A node in the bucket of that many shared bits.
fn node(bits: usize, number: u16) -> Node {
    let mut rng = StdRng::seed_from_u64(u64::from(number));
    Node {
        id: OWN.near(bits, &mut rng),
        address: address(number),
    }
}

/// A node in bucket 0 whose id is valid for its address.
fn fitting(number: u16) -> Node {
    let mut rng = StdRng::seed_from_u64(u64::from(number));
    let address = address(number);
    loop {
        let id = security::id_for(address.ip(), &mut rng);
        if OWN.shared_bits(&id) == 0 {
            return Node { id, address };
        }
    }
}

fn has(table: &Table, node: &Node) -> bool {
    table.entries().any(|entry| entry.node == *node)
}

#[test]
fn a_full_bucket_keeps_nodes_that_answer_and_replaces_silent_ones() {
    let (mut now, mut table) = (Instant::now(), Table::new(OWN));
    for number in 0..8 {
        assert_eq!(table.answered(node(0, number), now), None);
    }
    let ninth = node(0, 9);
    assert_eq!(
        table.answered(ninth, now),
        None,
        "all are good: nobody to doubt"
    );
    assert!(!has(&table, &ninth));
    now += Duration::from_secs(16 * 60);
    for number in 1..8 {
        table.answered(node(0, number), now);
    }
    let tenth = node(0, 10);
    assert_eq!(
        table.answered(tenth, now),
        Some(node(0, 0)),
        "silent for 16 minutes"
    );
    assert_eq!(table.answered(node(0, 11), now), None, "asked already");
    table.failed(address(0));
    assert!(has(&table, &node(0, 0)), "one time is no time");
    table.failed(address(0));
    assert!(!has(&table, &node(0, 0)));
    assert_eq!(table.counts(now).nodes, 8);
    assert_eq!(table.counts(now).good, 8);
}

#[test]
fn without_replacement_silent_nodes_stay_but_are_given_to_no_asker() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    for number in 0..4 {
        table.answered(node(0, number), now);
    }
    for _ in 0..5 {
        for number in 0..4 {
            table.failed(address(number));
        }
    }
    assert_eq!(table.counts(now).nodes, 4);
    assert_eq!(table.counts(now).good, 0);
    assert!(table.nearest(&OWN, true).is_empty());
    assert_eq!(table.seeds(&OWN, 8).len(), 4, "better than nothing");
    table.answered(node(0, 1), now);
    assert_eq!(table.seeds(&OWN, 8), [node(0, 1)]);
}

#[test]
fn bound_ids_are_preferred() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    for number in 0..8 {
        table.answered(node(0, number), now);
    }
    assert!(table.counts(now).valid < 8);
    for number in 100..120 {
        table.answered(fitting(number), now);
    }
    assert_eq!(table.counts(now).nodes, 8);
    assert_eq!(table.counts(now).valid, 8);
}

/// A node that chooses its id may be as near as it likes, but gets no more places and lookups for that.
#[test]
fn ids_chosen_near_ours_get_one_bucket() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    let mut rng = StdRng::seed_from_u64(1);
    for number in 0..40 {
        table.answered(node(usize::from(number) % 5, number), now);
    }
    for number in 100..1_000 {
        table.answered(node(24 + usize::from(number) % 130, number), now);
    }
    let near = |entry: &&Entry| OWN.shared_bits(&entry.node.id) >= 24;
    assert_eq!(table.entries().filter(near).count(), 8);
    // The five buckets that others fill, and one for all between them and us.
    let mut later = now;
    let mut depths = Vec::new();
    for _ in 0..60 {
        later += Duration::from_secs(10);
        while let Some(target) = table.refresh(later, &mut rng) {
            depths.push(OWN.shared_bits(&target));
        }
    }
    assert!(!depths.is_empty() && depths.len() <= 12, "{depths:?}");
    assert!(depths.iter().all(|depth| *depth <= 5), "{depths:?}");
}

#[test]
fn a_node_that_would_only_be_a_spare_is_not_pinged() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    assert!(table.asked(node(0, 100), now), "there is room");
    for number in 0..8 {
        table.answered(node(0, number), now);
    }
    assert!(!table.asked(node(0, 101), now));
    assert!(table.asked(fitting(102), now), "bound ids are preferred");
    for _ in 0..2 {
        table.failed(address(1));
    }
    assert!(table.asked(node(0, 103), now), "one is gone");
}

#[test]
fn no_node_is_displaced_by_one_with_its_id_or_host() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    let honest = node(3, 1);
    table.answered(honest, now);
    let thief = Node {
        address: address(2),
        ..honest
    };
    table.answered(thief, now);
    assert!(has(&table, &honest) && !has(&table, &thief));
    let neighbour = Node {
        id: node(5, 7).id,
        address: SocketAddr::new(honest.address.ip(), 1),
    };
    table.answered(neighbour, now);
    assert!(has(&table, &honest) && !has(&table, &neighbour));
    // At its own address it may restart.
    let anew = Node {
        id: node(6, 8).id,
        address: honest.address,
    };
    table.answered(anew, now);
    assert!(has(&table, &anew) && !has(&table, &honest));
    // Our own id gets no place.
    table.answered(
        Node {
            id: OWN,
            address: address(3),
        },
        now,
    );
    assert_eq!(table.counts(now).nodes, 1);
}

#[test]
fn a_new_id_keeps_the_nodes_that_fit() {
    let (now, mut table) = (Instant::now(), Table::new(OWN));
    for number in 0..60 {
        table.answered(node(usize::from(number % 10), number), now);
    }
    let before = table.counts(now).nodes;
    table.rebase(Id([0xff; 20]), now);
    assert!(table.counts(now).nodes >= 8);
    assert!(table.counts(now).nodes <= before);
}

#[test]
fn buckets_are_refreshed_in_time() {
    let (start, mut table) = (Instant::now(), Table::new(OWN));
    let mut rng = StdRng::seed_from_u64(1);
    assert_eq!(table.next_refresh(), None);
    table.answered(node(2, 1), start);
    let due = table.next_refresh().unwrap();
    assert_eq!(table.refresh(start, &mut rng), None);
    let mut targets = Vec::new();
    while let Some(target) = table.refresh(due, &mut rng) {
        targets.push(OWN.shared_bits(&target));
    }
    assert_eq!(targets, [2, 1, 0]);
    assert!(table.next_refresh().unwrap() > due + Duration::from_secs(300));
}

#[test]
fn a_table_with_some_nodes_refreshes_without_hurry() {
    let (start, mut table) = (Instant::now(), Table::new(OWN));
    for number in 0..8 {
        table.answered(node(usize::from(number) % 4, number), start);
    }
    let due = |table: &Table| table.next_refresh().unwrap() - start;
    assert!(due(&table) < Duration::from_secs(10), "next to nobody");
    table.answered(node(1, 8), start);
    assert_eq!(due(&table), Duration::from_secs(60));
    // Later ones do not delay it again.
    table.answered(node(1, 9), start + Duration::from_secs(50));
    assert_eq!(due(&table), Duration::from_secs(60));
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_happens(seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut now, mut table) = (Instant::now(), Table::new(OWN));
        for _ in 0..400 {
            now += Duration::from_secs(rng.random_range(0..60));
            // Few networks, few hosts, few ids: everything collides.
            let ip = [9, 9, rng.random_range(0..12), rng.random_range(0..6)];
            let address = SocketAddr::from((ip, rng.random_range(1..3)));
            let id = OWN.near(rng.random_range(0..4), &mut StdRng::seed_from_u64(rng.random_range(0..30)));
            let node = Node { id, address };
            match rng.random_range(0..4) {
                0 => table.failed(address),
                1 => drop(table.asked(node, now)),
                _ => drop(table.answered(node, now)),
            }
            let (mut hosts, mut networks, mut buckets) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            let mut ids = BTreeMap::new();
            for entry in table.entries() {
                *hosts.entry(entry.host).or_insert(0) += 1;
                *ids.entry(entry.node.id).or_insert(0) += 1;
                *networks.entry(entry.network).or_insert(0) += 1;
                let bits = OWN.shared_bits(&entry.node.id);
                *buckets.entry(bits).or_insert(0) += 1;
            }
            prop_assert!(hosts.values().all(|count| *count == 1), "{:?}", hosts);
            prop_assert!(ids.values().all(|count| *count == 1));
            prop_assert!(networks.values().all(|count| *count <= 8));
            prop_assert!(buckets.values().all(|count| *count <= 8));
        }
    }
}
