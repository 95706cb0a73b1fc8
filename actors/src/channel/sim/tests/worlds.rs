//! Chaos, newcomers, meshes, forks, in worlds of many machines.

use std::{collections::HashSet, time::Duration};

use bitchat_wire::event::Body;
use rand::{Rng, RngExt};

use crate::channel::sim::{rogue::Script, world::World};

/// Worlds in which much goes wrong, as many as `BITCHAT_SEEDS` says.
fn seeds() -> u64 {
    std::env::var("BITCHAT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(if cfg!(debug_assertions) { 40 } else { 1_000 })
}

#[test]
fn chaos_ends_with_equal_logs() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, 2 + usize::try_from(seed / 2 % 4).unwrap());
        // Every second world has a hostile member.
        if seed % 2 == 1 {
            world.add_rogue();
        }
        chaos(&mut world, &format!("seed {seed}"));
    }
}

/// Texts, links, cuts, crashes; a hostile member sends something at every step.
fn chaos(world: &mut World, what: &str) {
    let size = world.nodes.len();
    let rogue = (0..size).find(|&node| !world.is_honest(node));
    for step in 0..120 {
        let (a, b) = (
            world.rng.random_range(0..size),
            world.rng.random_range(0..size),
        );
        let step_kind = world.rng.random_range(0..10);
        match step_kind {
            5..=6 => world.link(a, b),
            7 => {
                let link = world.nodes[a].links.keys().copied().min();
                if let Some(link) = link {
                    world.cut(a, link);
                }
            }
            _ if Some(a) == rogue => {}
            0..=4 => world.write(a, &format!("{what} {step}")),
            8 => world.crash(a),
            _ => {
                if world.nodes[a].machine.is_none() {
                    world.start(a);
                }
            }
        }
        if let Some(rogue) = rogue {
            let mut script = [0; 96];
            world.rng.fill_bytes(&mut script);
            world.mischief(rogue, &mut Script(&script));
        }
        let pause = world.rng.random_range(0..40);
        world.run(Duration::from_millis(pause));
    }
    world.settle();
    world.assert_converged(what);
}

#[test]
fn a_newcomer_gets_a_long_history_once_from_several_members() {
    let mut world = World::new(1, 4);
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    for n in 0..3_000 {
        world.write(n % 2, &format!("line {n}"));
        world.run(Duration::from_millis(1));
    }
    world.run(Duration::from_secs(5));
    world.link(2, 0);
    world.link(2, 1);
    world.run(Duration::from_secs(20));
    world.mesh();
    world.run(Duration::from_secs(20));
    world.assert_converged("newcomers");
    assert!(world.log(3).len() >= 3_000);
}

#[test]
fn a_member_that_falls_behind_pulls_and_is_pushed_to_again() {
    let mut world = World::new(6, 3);
    world.mesh();
    world.run(Duration::from_secs(5));
    // The links take no more for a while, and more is written than is kept for pushing.
    world.hold_credits(0);
    for n in 0..5_000 {
        world.write(0, &format!("line {n}"));
    }
    let mut fell = false;
    for _ in 0..1_000 {
        world.run(Duration::from_millis(10));
        fell |= world.is_somebody_behind(0);
    }
    world.return_credits(0);
    assert!(
        fell || world.is_somebody_behind(0),
        "otherwise it shows nothing"
    );
    world.run(Duration::from_secs(30));
    world.assert_converged("after a burst");
    assert!(!world.is_somebody_behind(0));
    world.write(0, "pushed again");
    world.run(Duration::from_millis(100));
    world.assert_converged("after catching up");
}

#[test]
fn events_of_a_dead_author_come_from_members_that_have_them() {
    let mut world = World::new(2, 3);
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    world.write(0, "before I go");
    world.run(Duration::from_secs(1));
    world.crash(0);
    world.link(1, 2);
    world.run(Duration::from_secs(5));
    assert_eq!(world.log(2), world.log(1));
    assert!(
        world
            .log(2)
            .contains(world.nodes[0].acknowledged.last().unwrap())
    );
}

#[test]
fn in_a_full_mesh_each_event_travels_to_each_member_once() {
    let mut world = World::new(3, 10);
    world.mesh();
    world.run(Duration::from_secs(10));
    let before = world.pushed;
    for n in 0..200 {
        world.write(n % 10, &format!("line {n}"));
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_secs(10));
    world.assert_converged("full mesh");
    let copies = (world.pushed - before) as f64 / (200.0 * 9.0);
    assert!(copies <= 1.05, "{copies} copies an event");
}

#[test]
fn members_that_are_not_linked_get_events_at_once_through_others() {
    let mut world = World::new(4, 3);
    world.link(0, 1);
    world.link(1, 2);
    world.run(Duration::from_secs(5));
    world.write(0, "through the middle");
    world.run(Duration::from_millis(100));
    world.assert_converged("a chain");
}

#[test]
fn a_fork_is_proven_everywhere_and_closed() {
    for seed in 0..20 {
        let mut world = World::new(100 + seed, 4);
        world.mesh();
        world.run(Duration::from_secs(5));
        for n in 0..5 {
            world.write(0, &format!("honest {n}"));
            world.run(Duration::from_millis(50));
        }
        // Node 0's disk is copied, and it runs twice: once before, once after the copy is restored.
        let copy = world.nodes[0].disk.clone();
        for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            world.part(a, b);
        }
        world.write(0, "to the first half");
        world.run(Duration::from_secs(3));
        world.restore(0, copy);
        world.link(0, 2);
        world.run(Duration::from_secs(1));
        world.write(0, "to the second half");
        world.run(Duration::from_secs(3));
        world.mesh();
        world.run(Duration::from_secs(30));
        world.write(1, "and on it goes");
        world.run(Duration::from_secs(10));
        let me = *world.nodes[0].local.certificate.device.as_bytes();
        let lens: HashSet<usize> = (0..4)
            .map(|n| world.nodes[n].disk.logs[&me].len())
            .collect();
        assert_eq!(
            lens,
            HashSet::from([6]),
            "seed {seed}: all keep what came before the fork, and no more"
        );
        for n in 0..4 {
            assert_eq!(
                world.nodes[n].forks_seen, 1,
                "seed {seed}: node {n} was notified"
            );
            assert_eq!(world.log(n), world.log(1), "seed {seed}");
        }
    }
}

#[test]
fn the_same_key_said_twice_at_once_makes_one_event() {
    let mut world = World::new(5, 1);
    world.run(Duration::from_secs(1));
    let before = world.nodes[0].acknowledged.len();
    for _ in 0..3 {
        world.write_body(0, Body::text("once").unwrap(), Some("k".into()));
    }
    world.run(Duration::from_secs(1));
    let answers = &world.nodes[0].acknowledged[before..];
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|id| *id == answers[0]));
    assert_eq!(world.log(0).len(), before + 1);
}
