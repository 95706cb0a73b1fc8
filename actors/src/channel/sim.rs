#![allow(clippy::unwrap_used)]
//! Many machines in a world with a clock, a network and disks of its own: links break, nodes crash
//! before or after a commit, partitions come and go. In the end all that was acknowledged is everywhere,
//! once, in the same order.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId, genesis_body},
    identity::{DeviceKey, IdentityKey},
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    ChannelError,
    logs::Device,
    machine::{Effect, Input, Machine, Note, Now, Up},
    push::signed,
};
use crate::{
    link::{Accept, Inbound, LinkId, LocalDevice},
    store::{LogHead, NewEvent, StoreError},
    transport::ConnectionId,
};

const CID: ChannelId = ChannelId([7; 32]);
const CREDITS: usize = 64;

/// What is on a node's disk.
#[derive(Default, Clone)]
struct Disk {
    logs: BTreeMap<Device, Vec<Event>>,
    closed: HashMap<Device, u64>,
    proofs: Vec<(Event, Event)>,
    position: u64,
}

impl Disk {
    fn heads(&self) -> Vec<LogHead> {
        let head = |events: &Vec<Event>| {
            let last = events.last().unwrap();
            let certificate = events[0].certificate().unwrap();
            let closed_at = self.closed.get(certificate.device.as_bytes()).copied();
            LogHead {
                certificate,
                floor: 0,
                next: events.len() as u64,
                head: last.id(),
                lamport: last.header().lamport,
                closed_at,
            }
        };
        self.logs
            .values()
            .filter(|events| !events.is_empty())
            .map(head)
            .collect()
    }

    fn append(&mut self, events: &[NewEvent]) -> Result<Vec<u64>, StoreError> {
        let mut next = self.clone();
        let mut positions = Vec::new();
        for new in events {
            let header = *new.event.header();
            let log = next.logs.entry(*header.device.as_bytes()).or_default();
            let prev = log.last().map_or(EventId::ZERO, Event::id);
            let closed = next
                .closed
                .get(header.device.as_bytes())
                .is_some_and(|at| header.seq >= *at);
            if header.seq != log.len() as u64 || header.prev != prev || closed {
                return Err(StoreError::Gap { seq: header.seq });
            }
            log.push(new.event.clone());
            next.position += 1;
            positions.push(next.position);
        }
        *self = next;
        Ok(positions)
    }

    fn close(&mut self, a: Event, b: Event) {
        let (device, seq) = (*a.header().device.as_bytes(), a.header().seq);
        self.closed.insert(device, seq);
        if let Some(log) = self.logs.get_mut(&device) {
            log.truncate(usize::try_from(seq).unwrap());
        }
        self.proofs.push((a, b));
    }

    fn read(&self, device: &Device, from: u64, to: u64) -> Vec<Event> {
        let log = self.logs.get(device).map(Vec::as_slice).unwrap_or_default();
        log.iter()
            .skip(from as usize)
            .take(to.saturating_sub(from) as usize)
            .cloned()
            .collect()
    }
}

struct Node {
    local: Arc<LocalDevice>,
    peer_id: PeerId,
    machine: Option<Machine>,
    life: u64,
    disk: Disk,
    links: HashMap<LinkId, (usize, LinkId)>,
    commits: Vec<(u64, Vec<NewEvent>)>,
    /// What its user was told is kept.
    acknowledged: Vec<EventId>,
    waiting: HashMap<u64, ()>,
    forks_seen: usize,
}

enum Happening {
    Deliver {
        node: usize,
        link: LinkId,
        message: Bytes,
    },
    Credit {
        node: usize,
        link: LinkId,
    },
    Disk {
        node: usize,
        life: u64,
    },
    Wake {
        node: usize,
        life: u64,
    },
}

struct World {
    now: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    next_link: u64,
    next_token: u64,
    nodes: Vec<Node>,
    rng: StdRng,
    /// Events carried by push messages, for counting copies.
    pushed: u64,
    /// So many of the next `ids` messages get lost.
    lose_ids: usize,
    /// A node whose disk refuses the next commit of another's events.
    refuse: Option<usize>,
}

impl World {
    fn new(seed: u64, size: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..size).map(|_| Node::new(&mut rng)).collect();
        let mut world = Self {
            now: Instant::now(),
            queue: BTreeMap::new(),
            order: 0,
            next_link: 0,
            next_token: 0,
            nodes,
            rng,
            pushed: 0,
            lose_ids: 0,
            refuse: None,
        };
        for node in 0..size {
            world.start(node);
        }
        world
    }

    fn clock(&self) -> Now {
        Now {
            at: self.now,
            wall_ms: 1_700_000_000_000,
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), happening);
    }

    fn start(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.life += 1;
        let machine = Machine::new(
            CID,
            Arc::clone(&it.local),
            Accept::Anyone,
            it.peer_id,
            it.disk.heads(),
            &[],
            it.disk.proofs.clone(),
        );
        let begins = machine.logs.next(&machine.me) == 0;
        it.machine = Some(machine);
        if begins {
            let body = genesis_body(&self.nodes[node].local.certificate);
            self.say_body(node, body.to_vec(), None);
        }
    }

    fn crash(&mut self, node: usize) {
        let links: Vec<LinkId> = self.nodes[node].links.keys().copied().collect();
        for link in links {
            self.cut(node, link);
        }
        let keep = self.rng.random_range(0..=self.nodes[node].commits.len());
        let it = &mut self.nodes[node];
        it.machine = None;
        it.waiting.clear();
        // Some of what was on its way reached the disk, unacknowledged.
        for (_, events) in it.commits.drain(..).take(keep) {
            if it.disk.append(&events).is_err() {
                break;
            }
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        if a == b || self.nodes[a].machine.is_none() || self.nodes[b].machine.is_none() {
            return;
        }
        self.next_link += 2;
        let (la, lb) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.nodes[a].links.insert(la, (b, lb));
        self.nodes[b].links.insert(lb, (a, la));
        for (node, link, other) in [(a, la, b), (b, lb, a)] {
            let up = Up {
                link,
                peer: self.nodes[other].local.certificate,
                peer_id: self.nodes[other].peer_id,
                remote: SocketAddr::from(([127, 0, 0, 1], 1_000 + other as u16)),
                connection: ConnectionId(self.next_link),
                client_initiated: true,
                draining: false,
                credits: CREDITS,
            };
            self.input(node, Input::Up(up));
        }
    }

    fn linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].links.values().any(|(other, _)| *other == b)
    }

    fn cut(&mut self, node: usize, link: LinkId) {
        let Some((other, theirs)) = self.nodes[node].links.remove(&link) else {
            return;
        };
        self.nodes[other].links.remove(&theirs);
        self.input(node, Input::Down(link));
        self.input(other, Input::Down(theirs));
    }

    fn part(&mut self, a: usize, b: usize) {
        let between: Vec<LinkId> = self.nodes[a]
            .links
            .iter()
            .filter(|(_, (other, _))| *other == b)
            .map(|(link, _)| *link)
            .collect();
        for link in between {
            self.cut(a, link);
        }
    }

    fn say(&mut self, node: usize, text: &str) {
        self.say_body(node, Body::text(text).unwrap(), None);
    }

    fn say_body(&mut self, node: usize, body: Vec<u8>, key: Option<String>) {
        self.next_token += 1;
        let token = self.next_token;
        self.nodes[node].waiting.insert(token, ());
        self.input(node, Input::Say { token, body, key });
    }

    fn input(&mut self, node: usize, input: Input) {
        let now = self.clock();
        let Some(machine) = &mut self.nodes[node].machine else {
            return;
        };
        let effects = machine.handle(input, now);
        self.perform(node, effects);
        let it = &self.nodes[node];
        let wake = it
            .machine
            .as_ref()
            .and_then(|machine| machine.next_wake(self.now));
        if let Some(at) = wake {
            let after = at
                .saturating_duration_since(self.now)
                .max(Duration::from_millis(1));
            self.schedule(
                after,
                Happening::Wake {
                    node,
                    life: it.life,
                },
            );
        }
    }

    fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(number, events) => {
                    let life = self.nodes[node].life;
                    self.nodes[node].commits.push((number, events));
                    let after = Duration::from_micros(self.rng.random_range(100..5_000));
                    self.schedule(after, Happening::Disk { node, life });
                }
                Effect::Send(link, message) => self.carry(node, link, message),
                Effect::Ack(link, claims) => self.carry(
                    node,
                    link,
                    message::encode(Kind::Ack(proto::Ack { claims })).into(),
                ),
                Effect::Close(link, _) => self.cut(node, link),
                Effect::Said(token, result) => {
                    if let (Some(()), Ok(id)) = (self.nodes[node].waiting.remove(&token), result) {
                        self.nodes[node].acknowledged.push(id);
                    }
                }
                Effect::SendIds(link, device, from, to) => {
                    let ids = self.nodes[node].disk.read(&device, from, to);
                    let ids = ids
                        .iter()
                        .map(|event| Bytes::copy_from_slice(&event.id().0))
                        .collect();
                    let ids = Kind::Ids(proto::Ids {
                        device: Bytes::copy_from_slice(&device),
                        from,
                        ids,
                    });
                    self.carry(node, link, message::encode(ids).into());
                }
                Effect::Compare(link, ids) => {
                    let device = Device::try_from(ids.device.as_ref()).unwrap();
                    let ours = self.nodes[node].disk.read(
                        &device,
                        ids.from,
                        ids.from + ids.ids.len() as u64,
                    );
                    let differs = ours
                        .iter()
                        .zip(&ids.ids)
                        .find(|(ours, theirs)| ours.id().0[..] != theirs[..]);
                    if let Some((ours, _)) = differs {
                        let ours = ours.clone();
                        self.input(node, Input::FirstDifference(link, ours));
                    }
                }
                Effect::CompareEvent(theirs) => {
                    let (device, seq) = (*theirs.header().device.as_bytes(), theirs.header().seq);
                    let ours = self.nodes[node].disk.read(&device, seq, seq + 1);
                    if let Some(ours) = ours.into_iter().next().filter(|ours| ours.forks(&theirs)) {
                        self.input(node, Input::Proven(Box::new((ours, *theirs))));
                    }
                }
                Effect::CloseLog(pair) => self.nodes[node].disk.close(pair.0, pair.1),
                Effect::Note(Note::Forked(_)) => self.nodes[node].forks_seen += 1,
                Effect::Keep(_) | Effect::Hint(..) | Effect::Note(_) => {}
            }
        }
    }

    fn carry(&mut self, node: usize, link: LinkId, message: Bytes) {
        let Some(&(other, theirs)) = self.nodes[node].links.get(&link) else {
            return;
        };
        let delay = Duration::from_millis(5);
        self.schedule(delay, Happening::Credit { node, link });
        self.schedule(
            delay,
            Happening::Deliver {
                node: other,
                link: theirs,
                message,
            },
        );
    }

    fn deliver(&mut self, node: usize, link: LinkId, message: &Bytes) {
        if !self.nodes[node].links.contains_key(&link) {
            return;
        }
        let inbound = match message::decode(message).unwrap().unwrap() {
            Kind::Want(want) => {
                for range in want.ranges {
                    let device = Device::try_from(range.device.as_ref()).unwrap();
                    // Sometimes an answer is shorter than asked for, as its bytes may be.
                    let most = self.rng.random_range(1..=256);
                    let events = self.nodes[node].disk.read(
                        &device,
                        range.from,
                        range.to.min(range.from + most),
                    );
                    let events = events.iter().map(signed).collect();
                    let answer = Kind::Events(proto::Events {
                        events,
                        backfill: true,
                    });
                    self.carry(node, link, message::encode(answer).into());
                }
                return;
            }
            Kind::Events(batch) => {
                if !batch.backfill {
                    self.pushed += batch.events.len() as u64;
                }
                let verify = |event: proto::SignedEvent| {
                    Event::from_store(&CID, event.event, &event.signature).unwrap()
                };
                Inbound::Events {
                    events: batch.events.into_iter().map(verify).collect(),
                    backfill: batch.backfill,
                }
            }
            Kind::Have(have) => Inbound::Claims {
                claims: have.claims,
                initial: true,
            },
            Kind::Ack(ack) => Inbound::Claims {
                claims: ack.claims,
                initial: false,
            },
            Kind::Peers(peers) => Inbound::Peers(peers),
            Kind::Ids(_) if self.lose_ids > 0 => {
                self.lose_ids -= 1;
                return;
            }
            Kind::Ids(ids) => Inbound::Ids(ids),
            Kind::Fork(fork) => {
                let verify = |event: Option<proto::SignedEvent>| {
                    let event = event.unwrap();
                    Event::from_store(&CID, event.event, &event.signature).unwrap()
                };
                Inbound::Fork(Box::new((verify(fork.a), verify(fork.b))))
            }
            other => panic!("unexpected {other:?}"),
        };
        self.input(node, Input::Message(link, inbound));
    }

    fn disk_works(&mut self, node: usize) {
        if self.nodes[node].commits.is_empty() {
            return;
        }
        let (number, events) = self.nodes[node].commits.remove(0);
        match self.append(node, &events) {
            Ok(positions) => self.input(node, Input::Committed(number, positions)),
            Err(error) => self.reload(node, ChannelError::Store(error)),
        }
    }

    fn append(&mut self, node: usize, events: &[NewEvent]) -> Result<Vec<u64>, StoreError> {
        let me = self.nodes[node].local.key.id();
        if self.refuse == Some(node) && events.iter().all(|new| new.event.header().device != me) {
            self.refuse = None;
            return Err(StoreError::Database("broken for once".into()));
        }
        self.nodes[node].disk.append(events)
    }

    /// As the shell does: later commits that do not build on the refused one are done.
    fn reload(&mut self, node: usize, error: ChannelError) {
        let now = self.clock();
        while !self.nodes[node].commits.is_empty() {
            let (number, events) = self.nodes[node].commits.remove(0);
            if let Ok(positions) = self.append(node, &events) {
                self.input(node, Input::Committed(number, positions));
            }
        }
        let it = &mut self.nodes[node];
        let heads = it.disk.heads();
        if let Some(machine) = &mut it.machine {
            let effects = machine.reload(heads, &error, now);
            self.perform(node, effects);
        }
    }

    /// Lets `time` pass.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((&(at, order), _)) = self.queue.first_key_value()
            && at <= end
        {
            let happening = self.queue.remove(&(at, order)).unwrap();
            self.now = at;
            match happening {
                Happening::Deliver {
                    node,
                    link,
                    message,
                } => self.deliver(node, link, &message),
                Happening::Credit { node, link } => self.input(node, Input::Room(link, 1)),
                Happening::Disk { node, life } if self.nodes[node].life == life => {
                    self.disk_works(node)
                }
                Happening::Wake { node, life } if self.nodes[node].life == life => {
                    self.input(node, Input::Tick)
                }
                Happening::Disk { .. } | Happening::Wake { .. } => {}
            }
        }
        self.now = end;
    }

    fn mesh(&mut self) {
        for a in 0..self.nodes.len() {
            if self.nodes[a].machine.is_none() {
                self.start(a);
            }
        }
        for a in 0..self.nodes.len() {
            for b in 0..a {
                if !self.linked(a, b) {
                    self.link(a, b);
                }
            }
        }
    }

    /// The channel's order as a node's disk has it.
    fn log(&self, node: usize) -> Vec<EventId> {
        let mut events: Vec<&Event> = self.nodes[node].disk.logs.values().flatten().collect();
        events.sort_by_key(|event| event.header().order());
        events.iter().map(|event| event.id()).collect()
    }

    fn assert_converged(&self, what: &str) {
        let first = self.log(0);
        let unique: BTreeSet<_> = first.iter().collect();
        assert_eq!(unique.len(), first.len(), "{what}: something is doubled");
        for (number, node) in self.nodes.iter().enumerate() {
            assert!(
                self.log(number) == first,
                "{what}: node {number} has {} events, node 0 has {}",
                self.log(number).len(),
                first.len()
            );
            for id in &node.acknowledged {
                assert!(
                    unique.contains(id),
                    "{what}: an acknowledged event of node {number} is lost"
                );
            }
        }
    }
}

impl Node {
    fn new(rng: &mut StdRng) -> Self {
        let (identity, key) = (IdentityKey::generate(rng), DeviceKey::generate(rng));
        let certificate = identity.certify(&key.id(), 1_700_000_000);
        let peer_id = libp2p_identity::Keypair::ed25519_from_bytes(rng.random::<[u8; 32]>())
            .unwrap()
            .public()
            .to_peer_id();
        Self {
            local: Arc::new(LocalDevice { key, certificate }),
            peer_id,
            machine: None,
            life: 0,
            disk: Disk::default(),
            links: HashMap::new(),
            commits: Vec::new(),
            acknowledged: Vec::new(),
            waiting: HashMap::new(),
            forks_seen: 0,
        }
    }
}

#[test]
fn chaos_ends_with_equal_logs() {
    let seeds = std::env::var("BITCHAT_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60);
    for seed in 0..seeds {
        let mut world = World::new(seed, 2 + usize::try_from(seed % 4).unwrap());
        let size = world.nodes.len();
        for step in 0..120 {
            let (a, b) = (
                world.rng.random_range(0..size),
                world.rng.random_range(0..size),
            );
            match world.rng.random_range(0..10) {
                0..=4 => world.say(a, &format!("{seed} {step}")),
                5..=6 => world.link(a, b),
                7 => {
                    let link = world.nodes[a].links.keys().copied().min();
                    if let Some(link) = link {
                        world.cut(a, link);
                    }
                }
                8 => world.crash(a),
                _ => {
                    if world.nodes[a].machine.is_none() {
                        world.start(a);
                    }
                }
            }
            let pause = world.rng.random_range(0..40);
            world.run(Duration::from_millis(pause));
        }
        world.mesh();
        world.run(Duration::from_secs(60));
        world.mesh(); // doubles that were settled may have left a gap
        world.run(Duration::from_secs(60));
        world.assert_converged(&format!("seed {seed}"));
    }
}

#[test]
fn a_newcomer_gets_a_long_history_once_from_several_members() {
    let mut world = World::new(1, 4);
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    for n in 0..3_000 {
        world.say(n % 2, &format!("line {n}"));
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
fn what_a_dead_author_said_comes_from_whoever_has_it() {
    let mut world = World::new(2, 3);
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    world.say(0, "before I go");
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
        world.say(n % 10, &format!("line {n}"));
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_secs(10));
    world.assert_converged("full mesh");
    let copies = (world.pushed - before) as f64 / (200.0 * 9.0);
    assert!(copies <= 1.05, "{copies} copies an event");
}

#[test]
fn members_that_are_not_linked_hear_at_once_through_others() {
    let mut world = World::new(4, 3);
    world.link(0, 1);
    world.link(1, 2);
    world.run(Duration::from_secs(5));
    world.say(0, "through the middle");
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
            world.say(0, &format!("honest {n}"));
            world.run(Duration::from_millis(50));
        }
        // Node 0's disk is copied, and it lives twice: once before, once after the copy was restored.
        let copy = world.nodes[0].disk.clone();
        for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
            world.part(a, b);
        }
        world.say(0, "to the first half");
        world.run(Duration::from_secs(3));
        world.crash(0);
        world.nodes[0].disk = copy;
        world.nodes[0].acknowledged.clear();
        world.start(0);
        world.link(0, 2);
        world.run(Duration::from_secs(1));
        world.say(0, "to the second half");
        world.run(Duration::from_secs(3));
        world.mesh();
        world.run(Duration::from_secs(30));
        world.say(1, "and on it goes");
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
                "seed {seed}: node {n} was told"
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
        world.say_body(0, Body::text("once").unwrap(), Some("k".into()));
    }
    world.run(Duration::from_secs(1));
    let answers = &world.nodes[0].acknowledged[before..];
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|id| *id == answers[0]));
    assert_eq!(world.log(0).len(), before + 1);
}

#[path = "sim_hostile.rs"]
mod hostile;
