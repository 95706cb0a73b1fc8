//! Members that lie, flood and fork, against one machine and against worlds of many.

use std::{
    mem,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::{Body, Event, SEQ_LIMIT},
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    channel::{
        device::Device,
        effects::{Effect, Input, Now, Up},
        held::MAX_HELD,
        logs::{Logs, Verdict},
        machine::Machine,
        pull::Pull,
        rules::Rules,
        sim::{
            author::{Author, CID},
            world::{CREDITS, Node, World},
        },
    },
    link::{Accept, Inbound, LinkId},
    transport::ConnectionId,
};

/// One machine, and what it requests on which link.
struct Solo {
    machine: Machine,
    now: Instant,
    wants: Vec<(LinkId, proto::Range)>,
    commits: Vec<(u64, usize)>,
}

impl Solo {
    fn new(rng: &mut StdRng) -> Self {
        let node = Node::new(rng);
        Self {
            machine: Machine::new(
                CID,
                node.local,
                Accept::Anyone,
                node.peer_id,
                vec![],
                &[],
                vec![],
            ),
            now: Instant::now(),
            wants: Vec::new(),
            commits: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        let now = Now {
            at: self.now,
            wall_ms: 1,
        };
        let mut sent = Vec::new();
        for effect in self.machine.handle(input, now) {
            match effect {
                Effect::Send(link, message) => {
                    sent.push(link);
                    if let Some(Kind::Want(want)) = message::decode(&message).unwrap() {
                        let ranges = want.ranges.into_iter().map(|range| (link, range));
                        self.wants.extend(ranges);
                    }
                }
                Effect::Commit(number, events) => self.commits.push((number, events.len())),
                _ => {}
            }
        }
        // The links take all at once.
        for link in sent {
            self.input(Input::Room(link, 1));
        }
    }

    fn commit(&mut self) {
        for (number, count) in mem::take(&mut self.commits) {
            self.input(Input::Committed(number, vec![1; count]));
        }
    }

    fn link(&mut self, link: u64, author: &Author) -> LinkId {
        let peer_id = libp2p_identity::Keypair::ed25519_from_bytes([link as u8; 32])
            .unwrap()
            .public()
            .to_peer_id();
        let up = Up {
            link: LinkId(link),
            peer: author.certificate(),
            peer_id,
            remote: SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            dialable: true,
            connection: ConnectionId(link),
            client_initiated: true,
            draining: false,
            credits: CREDITS,
        };
        self.input(Input::Up(Box::new(up)));
        LinkId(link)
    }

    fn claim(&mut self, link: LinkId, device: Device, next: u64) {
        let claims = vec![claim(device, next)];
        let claims = Inbound::Claims {
            claims,
            initial: true,
        };
        self.input(Input::Message(link, claims));
    }

    fn events(&mut self, link: LinkId, events: Vec<Event>, backfill: bool) {
        self.input(Input::Message(link, Inbound::Events { events, backfill }));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.input(Input::Tick);
    }
}

fn claim(device: Device, next: u64) -> proto::Claim {
    proto::Claim {
        device: Bytes::copy_from_slice(&device),
        floor: 0,
        next,
        head: Bytes::from_static(&[9; 16]),
    }
}

#[test]
fn numbers_at_the_end_of_their_range_overflow_nothing() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut solo, mut liar) = (Solo::new(&mut rng), Author::new(&mut rng));
    let link = solo.link(1, &liar);
    let (device, head) = (liar.device(), liar.events[0].id());
    solo.events(link, liar.events.clone(), false);
    for seq in [SEQ_LIMIT - 1, SEQ_LIMIT - 2, SEQ_LIMIT - 1_024] {
        liar.sign(seq, head, 2, &Body::leave());
        solo.events(link, vec![liar.events.pop().unwrap()], false);
        solo.claim(link, device, seq);
        solo.claim(link, [1; 32], seq);
        let ids = proto::Ids {
            device: Bytes::copy_from_slice(&device),
            from: seq,
            ids: vec![],
        };
        solo.input(Input::Message(link, Inbound::Ids(ids)));
        solo.pass(Duration::from_secs(3));
    }
    assert!(
        solo.wants.len() <= 2,
        "a claim is not a reason to request more than fits in flight"
    );
}

/// Runs a newcomer against liars that link first and an honest member; `lie` makes the liars' answers. Returns how long
/// it took to get the honest member's log; `None` if it did not within a minute.
fn pull_among_liars(lie: impl Fn(&Event) -> Option<Vec<Event>>) -> Option<Duration> {
    let mut rng = StdRng::seed_from_u64(2);
    let (mut solo, mut author) = (Solo::new(&mut rng), Author::new(&mut rng));
    let begin = solo.now;
    for n in 0..700 {
        author.write(&format!("line {n}"));
    }
    let liars: Vec<Author> = (0..4).map(|_| Author::new(&mut rng)).collect();
    let known = liars[0].events[0].clone();
    let device = author.device();
    for (number, liar) in (1..).zip(&liars) {
        let link = solo.link(number, liar);
        solo.claim(link, device, u64::MAX);
    }
    let honest = solo.link(9, &author);
    solo.claim(honest, device, author.events.len() as u64);
    for _ in 0..600 {
        for (link, range) in mem::take(&mut solo.wants) {
            if link == honest {
                let range = range.from as usize..author.events.len().min(range.to as usize);
                solo.events(link, author.events[range].to_vec(), true);
            } else if let Some(answer) = lie(&known) {
                solo.events(link, answer, true);
                // And again it has everything.
                solo.claim(link, device, u64::MAX);
            }
            solo.commit();
        }
        if solo.machine.logs().next(&device) == author.events.len() as u64 {
            return Some(solo.now - begin);
        }
        solo.pass(Duration::from_millis(100));
    }
    None
}

#[test]
fn liars_that_never_answer_do_not_starve_an_honest_source() {
    let took = pull_among_liars(|_| None).expect("within a minute");
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn liars_that_answer_with_nothing_do_not_starve_an_honest_source() {
    let took = pull_among_liars(|_| Some(vec![])).expect("within a minute");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn liars_that_answer_with_something_else_do_not_starve_an_honest_source() {
    let took = pull_among_liars(|known| Some(vec![known.clone()])).expect("within a minute");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_late_answer_is_not_taken_for_that_to_a_later_request() {
    let (mut pull, logs, link) = (Pull::default(), Logs::default(), LinkId(1));
    let begin = Instant::now();
    pull.up(link);
    pull.claim(link, [1; 32], 10, true, &logs, begin);
    assert_eq!(pull.plan(&logs, begin).len(), 1);
    let late = begin + Duration::from_secs(6);
    assert!(
        pull.plan(&logs, late).is_empty(),
        "abandoned, and left alone"
    );
    assert!(pull.answered(link).is_none(), "it was abandoned");
    assert_eq!(pull.plan(&logs, late).len(), 1, "it does answer");
    assert!(pull.answered(link).is_some());
}

#[test]
fn a_link_that_floods_held_events_displaces_only_its_own() {
    let mut rng = StdRng::seed_from_u64(3);
    let (mut liar, mut honest) = (Author::new(&mut rng), Author::new(&mut rng));
    let (mut logs, mut accepted) = (Logs::default(), Vec::new());
    let prev = liar.events[0].id();
    for seq in 0..MAX_HELD as u64 + 10 {
        liar.sign(seq + 5, prev, 2, &Body::leave());
        let event = liar.events.pop().unwrap();
        assert_eq!(logs.offer(event, LinkId(1), &mut accepted), Verdict::Early);
    }
    for n in 0..300 {
        honest.write(&format!("line {n}"));
    }
    for event in honest.events[1..].iter().rev() {
        logs.offer(event.clone(), LinkId(2), &mut accepted);
    }
    assert!((1..=300).all(|seq| logs.is_held(&honest.device(), seq)));
    logs.offer(honest.events[0].clone(), LinkId(2), &mut accepted);
    assert_eq!(accepted.len(), 301);
    logs.drop_held(LinkId(1));
    assert!(!logs.is_held(&liar.device(), 5), "it goes with its link");
}

#[test]
fn an_identity_off_the_roster_has_no_log_even_through_a_member() {
    let mut rng = StdRng::seed_from_u64(4);
    let (member, stranger) = (Author::new(&mut rng), Author::new(&mut rng));
    let roster = [member.identity.id()].into();
    let mut logs = Logs::load(vec![], Rules::new(Accept::Roster(Arc::new(roster))));
    let mut accepted = Vec::new();
    let verdict = logs.offer(stranger.events[0].clone(), LinkId(1), &mut accepted);
    assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
    let verdict = logs.offer(member.events[0].clone(), LinkId(1), &mut accepted);
    assert_eq!(verdict, Verdict::Accepted);
}

#[test]
fn a_commit_that_was_under_way_does_not_reopen_a_closed_log() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut author = Author::new(&mut rng);
    author.write("first");
    author.write("second");
    let (mut logs, mut accepted) = (Logs::default(), Vec::new());
    for event in &author.events {
        logs.offer(event.clone(), LinkId(1), &mut accepted);
    }
    logs.committed(&author.events[0]);
    logs.close(&author.device(), 1);
    logs.committed(&author.events[1]);
    logs.committed(&author.events[2]);
    assert_eq!(logs.claim(&author.device()).unwrap().next, 1);
}

/// Node 0 signs two events with one number, and nodes 1 and 2 have the proof. Node 0 goes on as if nothing had happened.
fn forked(seed: u64, size: usize, lose_ids: usize) -> World {
    let mut world = World::new(seed, size);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        world.link(a, b);
    }
    world.run(Duration::from_secs(5));
    world.write(0, "honest");
    world.run(Duration::from_secs(2));
    let copy = world.nodes[0].disk.clone();
    world.part(0, 2);
    world.part(1, 2);
    world.write(0, "to the one");
    world.run(Duration::from_secs(3));
    world.restore(0, copy);
    world.link(0, 2);
    world.run(Duration::from_secs(1));
    world.write(0, "to the other");
    world.run(Duration::from_secs(3));
    world.part(0, 2);
    world.lose_ids = lose_ids;
    world.link(1, 2);
    world.run(Duration::from_secs(30));
    world
}

#[test]
fn a_newcomer_learns_of_a_fork_with_the_log_that_it_concerns() {
    let mut world = forked(6, 4, 0);
    let me = *world.nodes[0].local.certificate.device.as_bytes();
    assert_eq!(
        (world.nodes[1].forks_seen, world.nodes[2].forks_seen),
        (1, 1)
    );
    world.link(3, 1);
    world.run(Duration::from_secs(10));
    assert_eq!(world.nodes[3].forks_seen, 1, "the newcomer was notified");
    // The forked device sends it its own branch.
    world.link(0, 3);
    world.write(0, "and more of it");
    world.run(Duration::from_secs(20));
    for node in 1..4 {
        assert_eq!(world.nodes[node].disk.logs[&me].len(), 2, "node {node}");
    }
}

#[test]
fn a_fork_is_proven_though_the_ids_got_lost() {
    let world = forked(7, 3, 3);
    assert_eq!(
        (world.nodes[1].forks_seen, world.nodes[2].forks_seen),
        (1, 1)
    );
}

#[test]
fn an_event_committed_after_a_refused_commit_is_acknowledged_and_spread() {
    let mut world = World::new(8, 3);
    world.mesh();
    world.run(Duration::from_secs(5));
    for round in 0..20 {
        world.refuse = Some(1);
        world.write(0, &format!("refused at first {round}"));
        // It reaches node 1, whose own text is queued behind it at the disk.
        for _ in 0..400 {
            if world.nodes[1].commits.is_empty() {
                world.run(Duration::from_micros(50));
            }
        }
        let before = world.nodes[1].acknowledged.len();
        world.write(1, &format!("kept {round}"));
        world.run(Duration::from_millis(20));
        assert_eq!(
            world.nodes[1].acknowledged.len(),
            before + 1,
            "round {round}"
        );
        world.run(Duration::from_secs(3));
    }
    world.assert_converged("refused once");
    assert_eq!(world.log(0).len(), 3 + 40);
}
