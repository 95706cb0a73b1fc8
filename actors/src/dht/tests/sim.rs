//! Many nodes, some of them dead or hostile. The full run has 10,000 of them and 1,000 lookups, of which 99 % must find
//! their peer (it takes minutes, and needs a release build):
//!
//! ```sh
//! BITCHAT_DHT_SIM=10000,1000 cargo test --release -p bitchat-actors --lib lookups_find_peers -- --nocapture
//! ```
//!
//! Without the variable the world is smaller, and the required share is the same.

use std::{net::SocketAddr, time::Duration};

use rand::{RngExt, seq::IndexedRandom};

use super::{
    super::state::Command,
    world::{Kind, LIE, World, hash},
};

const DEAD_OF_100: u32 = 20;
const HOSTILE_OF_100: u32 = 5;
/// The share of honest nodes whose ids are valid for their addresses; Transmission's, for one, are not.
const BOUND_OF_100: u32 = 70;

struct Size {
    nodes: usize,
    tries: usize,
}

fn size() -> Size {
    if let Ok(wanted) = std::env::var("BITCHAT_DHT_SIM") {
        let (nodes, tries) = wanted.split_once(',').unwrap();
        let (nodes, tries) = (nodes.parse().unwrap(), tries.parse().unwrap());
        return Size { nodes, tries };
    }
    if cfg!(debug_assertions) {
        // Without optimisation a packet costs twenty times as much.
        return Size {
            nodes: 120,
            tries: 15,
        };
    }
    Size {
        nodes: 600,
        tries: 40,
    }
}

/// The delay between the joins of two of so many nodes. A large world is no older than a small one, or most of the work
/// would be to keep tables fresh while nodes join.
fn apart(count: usize, usual: Duration, all: Duration) -> Duration {
    usual.min(all / u32::try_from(count).unwrap())
}

/// A world in which every node joined through another one, and then a fifth left without notice.
fn populated(seed: u64, nodes: usize) -> (World, Vec<usize>) {
    let mut world = World::new(seed);
    let mut honest: Vec<usize> = Vec::new();
    let mut addresses = Vec::new();
    let pause = apart(nodes, Duration::from_millis(40), Duration::from_secs(24));
    for _ in 0..nodes {
        let address = world.somewhere();
        if addresses.len() > 8 && world.rng.random_range(0..100) < HOSTILE_OF_100 {
            world.hostile(address);
            addresses.push(address);
            continue;
        }
        let knows: Vec<_> = addresses.sample(&mut world.rng, 3).copied().collect();
        let bound = world.rng.random_range(0..100) < BOUND_OF_100;
        honest.push(world.honest(address, bound, &knows));
        addresses.push(address);
        world.run(pause);
    }
    println!("joined: {} packets", world.packets);
    world.run(Duration::from_secs(20));
    let mut alive = Vec::new();
    for node in honest {
        // A share of all nodes, so a larger one of the honest ones.
        if world.rng.random_range(0..100 - HOSTILE_OF_100) < DEAD_OF_100 {
            world.nodes[node].1 = Kind::Dead;
        } else {
            alive.push(node);
        }
    }
    (world, alive)
}

#[test]
fn lookups_find_peers_among_dead_and_hostile_nodes() {
    let Size { nodes, tries } = size();
    let (mut world, alive) = populated(1, nodes);
    println!(
        "{nodes} nodes, {} honest and alive, {} packets to get there",
        alive.len(),
        world.packets
    );
    let lie = Some(LIE.ip());
    let mut side = |node: &usize| {
        world.state(*node).sides[0]
            .as_ref()
            .map(|side| side.external)
    };
    let fooled = alive.iter().filter(|node| side(node) == Some(lie));
    println!("{} believe liars where they are", fooled.count());
    let before = world.packets;
    let pause = apart(tries, Duration::from_millis(200), Duration::from_secs(8));
    let mut pairs = Vec::new();
    for ticket in 0..tries {
        let who = *alive.choose(&mut world.rng).unwrap();
        let other = *alive
            .iter()
            .filter(|node| **node != who)
            .collect::<Vec<_>>()
            .choose(&mut world.rng)
            .unwrap();
        let hash = hash(&mut world.rng);
        world.command(who, Command::Watch(hash, 4_444));
        pairs.push((ticket as u64, who, *other, hash));
        world.run(pause);
    }
    world.run(Duration::from_secs(30));
    println!(
        "{:.1} packets an announce",
        (world.packets - before) as f64 / tries as f64
    );
    let (mut found, mut asked, mut answered, mut hops) = (0, 0, 0, Vec::new());
    for (ticket, _, other, hash) in &pairs {
        world.command(*other, Command::Lookup(*hash, *ticket));
        world.run(pause);
    }
    // No lookup takes longer.
    world.run(Duration::from_secs(40));
    for (ticket, who, _, _) in &pairs {
        let result = &world.answers[ticket];
        // libtorrent's announces, and all whose port others agree on, use the port that they come from.
        let seen = world.nodes[*who].0;
        let told = SocketAddr::new(seen.ip(), 4_444);
        let is_found = [seen, told].iter().any(|peer| result.peers.contains(peer));
        if !is_found {
            let ip: Vec<_> = result
                .peers
                .iter()
                .filter(|p| p.ip() == seen.ip())
                .collect();
            println!("lost: {seen}, but {ip:?} of {}", result.peers.len());
        }
        found += usize::from(is_found);
        asked += result.cost.asked;
        answered += result.cost.answered;
        hops.extend(result.cost.hops);
    }
    hops.sort_unstable();
    println!(
        "found {found} of {tries}; a lookup: {:.1} questions, {:.1} answers; hops to the first peer: median {}, most {}",
        asked as f64 / tries as f64,
        answered as f64 / tries as f64,
        hops[hops.len() / 2],
        hops[hops.len() - 1],
    );
    assert!(found * 100 >= tries * 99, "{found} of {tries}");
}
