//! What a node sends, and how it behaves among a few others.

use std::time::Duration;

use rand::{SeedableRng, rngs::StdRng};

use super::{
    super::{
        Family, Id, Profile, Saved,
        krpc::{Body, Message, Method, Response},
        state::{Command, Input},
    },
    world::World,
};

fn small(count: usize, profile: Profile) -> World {
    let mut world = World::new(7);
    let first = world.somewhere();
    world.with(first, Saved::default(), profile);
    for _ in 1..count {
        let address = world.somewhere();
        let saved = Saved {
            nodes: vec![super::super::krpc::Node {
                id: Id([0; 20]),
                address: first,
            }],
            external: [Some(address.ip()), None],
        };
        world.with(address, saved, profile);
        world.run(Duration::from_millis(300));
    }
    world
}

#[test]
fn a_few_nodes_that_know_one_find_each_other() {
    for profile in [Profile::Transmission, Profile::Libtorrent] {
        let mut world = small(6, profile);
        world.run(Duration::from_secs(30));
        for node in 0..6 {
            let status = {
                let now = world.now;
                world.state(node).status(now)
            };
            assert!(status.v4.unwrap().table.good >= 4);
        }
        // All start to look at the same moment.
        let hash = Id([5; 20]);
        let begin = world.now;
        for node in 0..6 {
            world.command(node, Command::Watch(hash, 1_000 + node as u16));
        }
        let all = |world: &World, node: usize| {
            (0..6).filter(|other| *other != node).all(|other| {
                // libtorrent's announces use the port that they come from.
                let mut peer = world.nodes[other].0;
                if profile == Profile::Transmission {
                    peer.set_port(1_000 + other as u16);
                }
                world
                    .found
                    .iter()
                    .any(|(who, found)| *who == node && found.peers.contains(&peer))
            })
        };
        while !(0..6).all(|node| all(&world, node)) {
            world.run(Duration::from_millis(100));
            assert!(world.now - begin < Duration::from_secs(20));
        }
        println!("{profile:?}: a mesh of six after {:?}", world.now - begin);
    }
}

#[test]
fn three_nodes_that_start_together_and_alone_meet_in_seconds() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let hash = Id([5; 20]);
        let first = world.somewhere();
        world.with(first, Saved::default(), Profile::Libtorrent);
        for _ in 0..2 {
            let address = world.somewhere();
            let entry = super::super::krpc::Node {
                id: Id([0; 20]),
                address: first,
            };
            let saved = Saved {
                nodes: vec![entry],
                external: [None, None],
            };
            world.with(address, saved, Profile::Libtorrent);
        }
        let begin = world.now;
        for node in 0..3 {
            world.command(node, Command::Watch(hash, 1));
        }
        let knows = |world: &World, node: usize, other: usize| {
            let peer = world.nodes[other].0;
            let mut found = world.found.iter();
            found.any(|(who, found)| *who == node && found.peers.contains(&peer))
        };
        let mut times = std::collections::BTreeMap::new();
        while times.len() < 6 && world.now - begin < Duration::from_secs(30) {
            world.run(Duration::from_millis(100));
            for (node, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                if knows(&world, node, other) {
                    times.entry((node, other)).or_insert(world.now - begin);
                }
            }
        }
        println!("{seed}: {times:?}");
        assert_eq!(times.len(), 6);
    }
}

#[test]
fn it_works_with_one_packet_of_ten_lost() {
    let mut world = small(30, Profile::Transmission);
    world.loss = 10;
    world.run(Duration::from_secs(60));
    let hash = Id([5; 20]);
    world.command(3, Command::Watch(hash, 77));
    world.run(Duration::from_secs(20));
    for node in 10..20 {
        world.command(node, Command::Lookup(hash, node as u64));
    }
    world.run(Duration::from_secs(45));
    let mut peer = world.nodes[3].0;
    peer.set_port(77);
    assert!((10..20).all(|ticket| world.answers[&ticket].peers.contains(&peer)));
}

#[test]
fn an_idle_day_costs_little() {
    let mut world = small(20, Profile::Transmission);
    world.command(3, Command::Watch(Id([5; 20]), 77));
    world.run(Duration::from_secs(3_600));
    let before = world.packets;
    world.run(Duration::from_secs(6 * 3_600));
    let each = (world.packets - before) / 20 / 6;
    println!("{each} packets an hour and node");
    assert!(each < 3_000, "{each}");
    assert!(world.saved.len() == 20);
    let now = world.now;
    assert!(world.state(3).status(now).v4.unwrap().table.good >= 10);
}

#[test]
fn the_id_follows_the_address_that_others_see() {
    let mut world = World::new(3);
    let addresses: Vec<_> = (0..12).map(|_| world.somewhere()).collect();
    let first = addresses[0];
    for address in &addresses {
        let saved = Saved {
            external: [None, None],
            nodes: vec![super::super::krpc::Node {
                id: Id([0; 20]),
                address: first,
            }],
        };
        // Only libtorrent reports where it sees others.
        world.with(*address, saved, Profile::Libtorrent);
    }
    world.run(Duration::from_secs(60));
    let now = world.now;
    for (node, address) in addresses.iter().enumerate() {
        let status = world.state(node).status(now).v4.unwrap();
        assert_eq!(status.external, Some(*address));
        assert_eq!(status.id_valid, Some(true), "{node}");
    }
}

#[test]
fn queries_look_like_those_of_the_profile() {
    let mut world = World::new(4);
    let (ours, other) = (world.somewhere(), world.somewhere());
    let node = world.honest(ours, false, &[]);
    let ask = |world: &mut World, bytes: &[u8]| {
        let now = world.now;
        let mut rng = StdRng::seed_from_u64(5);
        let effects = world
            .state(node)
            .handle(Input::Packet(other, bytes), now, &mut rng);
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                super::super::state::Effect::Send(_, bytes) => Some(bytes),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let sent = ask(
        &mut world,
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:zz1:y1:qe",
    );
    let own = world.state(node).own(Family::V4).unwrap();
    assert_eq!(
        sent[0],
        [b"d1:rd2:id20:".as_slice(), &own.0, b"e1:t2:zz1:y1:re"].concat()
    );
    let ping = Message::parse(&sent[1]).unwrap();
    assert_eq!(ping.transaction[..2], *b"pn");
    assert_eq!(ping.transaction.len(), 4);
    let head = [b"d1:ad2:id20:".as_slice(), &own.0, b"e1:q4:ping1:t4:pn"].concat();
    assert!(sent[1].starts_with(&head) && sent[1].ends_with(b"1:y1:qe"));
    let answer = Message {
        transaction: ping.transaction,
        version: None,
        read_only: false,
        observed: None,
        body: Body::Response(Response::new(Id(*b"abcdefghij0123456789"))),
    };
    assert!(ask(&mut world, &answer.encode()).is_empty());
    // Its bucket is refreshed by `find_node`, while a watched infohash is looked up by `get_peers`.
    let mut rng = StdRng::seed_from_u64(5);
    let mut methods = Vec::new();
    world.command(node, Command::Watch(Id([6; 20]), 7));
    for second in 1..20 {
        let now = world.now + Duration::from_secs(second);
        for effect in world.state(node).handle(Input::Tick, now, &mut rng) {
            if let super::super::state::Effect::Send(_, bytes) = effect {
                match Message::parse(&bytes).unwrap().body {
                    Body::Query(query) => methods.push(query.method),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    let nodes = |method: &Method| matches!(method, Method::FindNode { .. });
    let peers = |method: &Method| {
        matches!(
            method,
            Method::GetPeers {
                bootstrap: false,
                ..
            }
        )
    };
    assert!(methods.iter().any(nodes), "{methods:?}");
    assert!(methods.iter().any(peers), "{methods:?}");
    assert!(methods.iter().all(|method| nodes(method) || peers(method)));
}
