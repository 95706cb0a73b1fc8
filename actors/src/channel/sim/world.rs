//! The world: nodes, the links between them, the time that passes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::{Body, Event, EventId, genesis_body},
    identity::{Certificate, DeviceKey, IdentityKey},
};
use bytes::Bytes;
use libp2p_identity::PeerId;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{author::CID, disk::Disk, rogue::Rogue};
use crate::{
    channel::{
        effects::{Input, Now, Up},
        machine::Machine,
    },
    link::{Accept, LinkId, LocalDevice},
    store::NewEvent,
    transport::ConnectionId,
};

/// Credits of a link at its start.
pub(super) const CREDITS: usize = 64;

/// A member: its machine while it runs, its disk and its links.
pub(super) struct Node {
    pub(super) local: Arc<LocalDevice>,
    pub(super) peer_id: PeerId,
    pub(super) machine: Option<Machine>,
    pub(super) life: u64,
    pub(super) disk: Disk,
    pub(super) links: HashMap<LinkId, (usize, LinkId)>,
    pub(super) commits: Vec<(u64, Vec<NewEvent>)>,
    /// Events that its user got an answer for.
    pub(super) acknowledged: Vec<EventId>,
    pub(super) waiting: HashMap<u64, ()>,
    pub(super) forks_seen: usize,
    /// Credits that its links hold back, if they do.
    held_credits: Option<BTreeMap<LinkId, usize>>,
    /// A hostile member, which has no machine.
    pub(super) rogue: Option<Rogue>,
}

/// Something that is due at a time.
pub(super) enum Happening {
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

/// All nodes, and what is due.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) queue: BTreeMap<(Instant, u64), Happening>,
    pub(super) order: u64,
    pub(super) next_link: u64,
    pub(super) next_token: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) rng: StdRng,
    /// Events carried by push messages, to count copies.
    pub(super) pushed: u64,
    /// Number of the next `ids` messages that get lost.
    pub(super) lose_ids: usize,
    /// A node whose disk refuses the next commit of another's events.
    pub(super) refuse: Option<usize>,
}

impl World {
    pub(super) fn new(seed: u64, size: usize) -> Self {
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

    /// Adds a hostile member; it gets the highest number.
    pub(super) fn add_rogue(&mut self) -> usize {
        let mut node = Node::new(&mut self.rng);
        node.rogue = Some(Rogue::new(&mut self.rng));
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn is_honest(&self, node: usize) -> bool {
        self.nodes[node].rogue.is_none()
    }

    /// Whether a node takes part in links now.
    fn is_there(&self, node: usize) -> bool {
        self.nodes[node].machine.is_some() || !self.is_honest(node)
    }

    pub(super) fn clock(&self) -> Now {
        Now {
            at: self.now,
            wall_ms: 1_700_000_000_000,
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((self.now + after, self.order), happening);
    }

    pub(super) fn start(&mut self, node: usize) {
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
        let begins = machine.logs().next(&machine.me()) == 0;
        it.machine = Some(machine);
        if begins {
            let body = genesis_body(&self.nodes[node].local.certificate);
            self.write_body(node, body.to_vec(), None);
        }
    }

    #[cfg(test)]
    pub(super) fn crash(&mut self, node: usize) {
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

    /// Crashes a node and starts it again with an older copy of its disk.
    #[cfg(test)]
    pub(super) fn restore(&mut self, node: usize, copy: Disk) {
        self.crash(node);
        self.nodes[node].disk = copy;
        self.nodes[node].acknowledged.clear();
        self.start(node);
    }

    pub(super) fn link(&mut self, a: usize, b: usize) {
        if a == b || !self.is_there(a) || !self.is_there(b) {
            return;
        }
        self.next_link += 2;
        let (la, lb) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.nodes[a].links.insert(la, (b, lb));
        self.nodes[b].links.insert(lb, (a, la));
        for (node, link, other) in [(a, la, b), (b, lb, a)] {
            let up = Up {
                link,
                peer: self.nodes[other].certificate(),
                peer_id: self.nodes[other].peer_id,
                remote: SocketAddr::from(([127, 0, 0, 1], 1_000 + other as u16)).into(),
                dialable: true,
                connection: ConnectionId(self.next_link),
                client_initiated: true,
                draining: false,
                credits: CREDITS,
            };
            self.input(node, Input::Up(Box::new(up)));
        }
    }

    pub(super) fn linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].links.values().any(|(other, _)| *other == b)
    }

    pub(super) fn cut(&mut self, node: usize, link: LinkId) {
        let Some((other, theirs)) = self.nodes[node].links.remove(&link) else {
            return;
        };
        self.nodes[other].links.remove(&theirs);
        self.input(node, Input::Down(link));
        self.input(other, Input::Down(theirs));
    }

    #[cfg(test)]
    pub(super) fn part(&mut self, a: usize, b: usize) {
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

    pub(super) fn write(&mut self, node: usize, text: &str) {
        self.write_body(node, Body::text(text).unwrap(), None);
    }

    pub(super) fn write_body(&mut self, node: usize, body: Vec<u8>, key: Option<String>) {
        self.next_token += 1;
        let token = self.next_token;
        self.nodes[node].waiting.insert(token, ());
        self.input(node, Input::Append { token, body, key });
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
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

    /// Lets `time` pass.
    pub(super) fn run(&mut self, time: Duration) {
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
                Happening::Credit { node, link } => match &mut self.nodes[node].held_credits {
                    Some(held) => *held.entry(link).or_insert(0) += 1,
                    None => self.input(node, Input::Room(link, 1)),
                },
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

    pub(super) fn mesh(&mut self) {
        for a in 0..self.nodes.len() {
            if !self.is_there(a) {
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

    /// Whether any member is too far behind a node's own log to be pushed to.
    #[cfg(test)]
    pub(super) fn is_somebody_behind(&self, node: usize) -> bool {
        let machine = self.nodes[node].machine.as_ref();
        machine.is_some_and(Machine::is_any_behind)
    }

    /// From now on a node's links return no credits.
    #[cfg(test)]
    pub(super) fn hold_credits(&mut self, node: usize) {
        self.nodes[node].held_credits = Some(BTreeMap::new());
    }

    /// The links return the credits held back since [`World::hold_credits`].
    #[cfg(test)]
    pub(super) fn return_credits(&mut self, node: usize) {
        for (link, credits) in self.nodes[node].held_credits.take().unwrap() {
            self.input(node, Input::Room(link, credits));
        }
    }

    /// Links all nodes, and lets everything under way arrive.
    pub(super) fn settle(&mut self) {
        for _ in 0..2 {
            self.mesh(); // again: doubles that were settled may have left a gap
            self.run(Duration::from_secs(60));
        }
    }

    /// The ids of the events on a node's disk, in the channel's order.
    pub(super) fn log(&self, node: usize) -> Vec<EventId> {
        let mut events: Vec<&Event> = self.nodes[node].disk.logs.values().flatten().collect();
        events.sort_by_key(|event| event.header().order());
        events.iter().map(|event| event.id()).collect()
    }

    pub(super) fn assert_converged(&self, what: &str) {
        let first = self.log(0);
        let unique: BTreeSet<_> = first.iter().collect();
        assert_eq!(unique.len(), first.len(), "{what}: something is doubled");
        for (number, node) in self.nodes.iter().enumerate() {
            if !self.is_honest(number) {
                continue;
            }
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
    fn certificate(&self) -> Certificate {
        match &self.rogue {
            Some(rogue) => rogue.authors[0].certificate(),
            None => self.local.certificate,
        }
    }

    pub(super) fn new(rng: &mut StdRng) -> Self {
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
            held_credits: None,
            rogue: None,
        }
    }
}
