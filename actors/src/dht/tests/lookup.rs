//! Lookups among liars.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};

use super::super::{
    Family, Id,
    candidate::AnnounceToken,
    krpc::Node,
    lookup::{Lookup, NEAREST, Next},
};

/// Hands out nodes on a local network, where each port is a host of its own and every id is valid.
struct Places(u16, StdRng);

impl Places {
    /// A node that shares this many bits with an id.
    fn near(&mut self, target: &Id, bits: usize) -> Node {
        self.0 += 1;
        Node {
            id: target.near(bits, &mut self.1),
            address: SocketAddr::from(([10, 0, 0, 1], self.0)),
        }
    }

    fn some(&mut self, target: &Id, bits: usize, count: usize) -> Vec<Node> {
        (0..count).map(|_| self.near(target, bits)).collect()
    }
}

/// Half of the starting nodes are liars, each of which names five more liars, nearer than any starting node, and three
/// still nearer addresses where no node is. The honest ones name the nearest nodes.
#[test]
fn liars_without_end_do_not_hide_the_nearest() {
    let mut places = Places(1, StdRng::seed_from_u64(1));
    let target = Id::random(&mut places.1);
    let own = Id::random(&mut places.1);
    let mut now = Instant::now();
    let nearest = places.some(&target, 12, NEAREST);
    let (honest, first) = (places.some(&target, 1, 8), places.some(&target, 2, 8));
    let mut liars: BTreeMap<SocketAddr, Node> = BTreeMap::new();
    let mut lookup = Lookup::new(own, target, Family::V4, now);
    for node in honest.iter().chain(&first) {
        lookup.add(*node, None);
    }
    liars.extend(first.iter().map(|node| (node.address, *node)));
    let (mut told, mut asked) = (BTreeSet::new(), 0);
    loop {
        let to = match lookup.next(now) {
            Next::Ask(to) => to,
            Next::Wait(until) => {
                now = until;
                continue;
            }
            Next::Done => break,
        };
        asked += 1;
        now += Duration::from_millis(20);
        let is_it = |node: &&Node| node.address == to;
        if let Some(liar) = liars.get(&to).copied() {
            let friends = places.some(&target, 5, 5);
            liars.extend(friends.iter().map(|node| (node.address, *node)));
            let named = [friends, places.some(&target, 20, 3)].concat();
            lookup.answered(liar, None, &named, false);
        } else if let Some(node) = honest.iter().chain(&nearest).find(is_it) {
            told.insert(node.address);
            let token = AnnounceToken {
                token: vec![1],
                port: None,
            };
            lookup.answered(*node, Some(token), &nearest, false);
        }
    }
    let reached = nearest.iter().filter(|node| told.contains(&node.address));
    assert_eq!(reached.count(), NEAREST, "of {asked} questions");
}
