//! A clock, a network and many nodes: honest ones, which are the real state machine, dead ones, and hostile ones.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::super::{
    DhtPeers, Family, Id, LookupResult, Profile, Saved,
    krpc::{Body, Message, Method, Node, Response},
    security,
    state::{Command, Effect, Input, Setup, State},
};

/// The address at which hostile nodes report to see every asker.
pub(super) const LIE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(6, 6, 6, 6)), 6);

/// One node.
pub(super) enum Kind {
    Honest(Box<State>),
    /// Dead: packets to it are lost.
    Dead,
    Hostile,
}

enum Event {
    Packet {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Tick(usize),
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) rng: StdRng,
    pub(super) nodes: Vec<(SocketAddr, Kind)>,
    at: HashMap<SocketAddr, usize>,
    events: BTreeMap<u64, Event>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    ticks: HashMap<usize, Instant>,
    next_event: u64,
    /// What nodes found under the infohashes that they watch.
    pub(super) found: Vec<(usize, DhtPeers)>,
    pub(super) answers: HashMap<u64, LookupResult>,
    pub(super) saved: HashMap<usize, Saved>,
    pub(super) packets: u64,
    /// The share of packets that get lost, in percent.
    pub(super) loss: u32,
    hostile: Vec<SocketAddr>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            rng: StdRng::seed_from_u64(seed),
            nodes: Vec::new(),
            at: HashMap::new(),
            events: BTreeMap::new(),
            queue: BinaryHeap::new(),
            ticks: HashMap::new(),
            next_event: 0,
            found: Vec::new(),
            answers: HashMap::new(),
            saved: HashMap::new(),
            packets: 0,
            loss: 0,
            hostile: Vec::new(),
        }
    }

    /// An unused address somewhere in the world.
    pub(super) fn somewhere(&mut self) -> SocketAddr {
        loop {
            let ip = IpAddr::from(self.rng.random::<[u8; 4]>());
            let address = SocketAddr::new(ip, self.rng.random_range(1_024..=u16::MAX));
            let fine = super::super::network::is_believable(address, false);
            if fine && !self.at.contains_key(&address) {
                return address;
            }
        }
    }

    /// An honest node. `bound`: it imitates libtorrent, with an id that is valid for its address (BEP 42) and answers
    /// that report where it sees us; otherwise it imitates Transmission.
    pub(super) fn honest(
        &mut self,
        address: SocketAddr,
        bound: bool,
        knows: &[SocketAddr],
    ) -> usize {
        let nodes = knows.iter().map(|address| Node {
            id: Id([0; 20]),
            address: *address,
        });
        let saved = Saved {
            external: [bound.then_some(address.ip()), None],
            nodes: nodes.collect(),
        };
        let profile = if bound {
            Profile::Libtorrent
        } else {
            Profile::Transmission
        };
        self.with(address, saved, profile)
    }

    pub(super) fn with(&mut self, address: SocketAddr, saved: Saved, profile: Profile) -> usize {
        let setup = Setup {
            families: vec![Family::of(address)],
            profile,
            saved,
            bootstrap: Vec::new(),
            routers: Vec::new(),
        };
        let state = State::new(setup, self.now, &mut self.rng);
        let node = self.put(address, Kind::Honest(Box::new(state)));
        self.input(node, Input::Tick);
        node
    }

    pub(super) fn hostile(&mut self, address: SocketAddr) -> usize {
        self.hostile.push(address);
        self.put(address, Kind::Hostile)
    }

    fn put(&mut self, address: SocketAddr, kind: Kind) -> usize {
        self.nodes.push((address, kind));
        self.at.insert(address, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn state(&mut self, node: usize) -> &mut State {
        match &mut self.nodes[node].1 {
            Kind::Honest(state) => state,
            _ => panic!("not an honest node"),
        }
    }

    pub(super) fn command(&mut self, node: usize, command: Command) {
        self.input(node, Input::Command(command));
    }

    pub(super) fn input(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        let (address, kind) = &mut self.nodes[node];
        let address = *address;
        let Kind::Honest(state) = kind else { return };
        let effects = state.handle(input, now, &mut self.rng);
        let next = state.next(now).max(now);
        for effect in effects {
            match effect {
                Effect::Send(to, bytes) => self.send(address, to, bytes),
                Effect::Found(found) => self.found.push((node, found)),
                Effect::Answer(ticket, result) => {
                    self.answers.insert(ticket, result);
                }
                Effect::Save(saved) => {
                    self.saved.insert(node, saved);
                }
                Effect::Resolve(names) => panic!("{names:?}"),
            }
        }
        // A later tick that is queued already has no effect.
        if self
            .ticks
            .get(&node)
            .is_none_or(|due| next < *due || *due <= now)
        {
            self.ticks.insert(node, next);
            self.push(next, Event::Tick(node));
        }
    }

    pub(super) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.packets += 1;
        assert!(
            bytes.len() <= 1_400,
            "{} bytes do not fit in a datagram",
            bytes.len()
        );
        if self.loss > 0 && self.rng.random_range(0..100) < self.loss {
            return;
        }
        let due = self.now + Duration::from_millis(self.rng.random_range(10..150));
        self.push(due, Event::Packet { from, to, bytes });
    }

    fn push(&mut self, due: Instant, event: Event) {
        self.next_event += 1;
        self.queue.push(Reverse((due, self.next_event)));
        self.events.insert(self.next_event, event);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((due, id))) = self.queue.peek().copied() {
            if due > end {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(due);
            match self.events.remove(&id) {
                Some(Event::Packet { from, to, bytes }) => self.packet(from, to, &bytes),
                Some(Event::Tick(node)) if self.ticks.get(&node) == Some(&due) => {
                    self.ticks.remove(&node);
                    self.input(node, Input::Tick);
                }
                _ => {}
            }
        }
        self.now = end;
    }

    fn packet(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(node) = self.at.get(&to).copied() else {
            return;
        };
        match self.nodes[node].1 {
            Kind::Honest(_) => self.input(node, Input::Packet(from, bytes)),
            Kind::Dead => {}
            Kind::Hostile => self.hostile_packet(from, to, bytes),
        }
    }

    /// A hostile node claims to be nearest to any target, names its friends under still nearer ids and addresses where
    /// no node is (under ids that are valid there), gives meaningless tokens, accepts every announce, keeps none, and
    /// names peers that do not exist.
    fn hostile_packet(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        let Body::Query(query) = message.body else {
            return;
        };
        let wanted = match query.method {
            Method::FindNode { target } => target,
            Method::GetPeers { info_hash, .. } => info_hash,
            _ => query.id,
        };
        let mut response = Response::new(wanted.near(100, &mut self.rng));
        // Half of them have ids that are valid for their addresses, and so are less near.
        if to.port().is_multiple_of(2) {
            response.id = self.fitting(to.ip(), &wanted);
        }
        if matches!(
            query.method,
            Method::FindNode { .. } | Method::GetPeers { .. }
        ) {
            let nodes = (0..8).map(|at| self.invented(at, &wanted)).collect();
            response.nodes = Some(nodes);
            response.token = Some(self.rng.random::<[u8; 8]>().to_vec());
        }
        if matches!(query.method, Method::GetPeers { .. }) {
            response.values = (0..20).map(|_| self.somewhere()).collect();
        }
        let reply = Message {
            transaction: message.transaction,
            version: None,
            read_only: false,
            observed: Some(LIE),
            body: Body::Response(response),
        };
        self.send(to, from, reply.encode());
    }

    fn invented(&mut self, at: usize, wanted: &Id) -> Node {
        if at.is_multiple_of(2) {
            let friend = self.rng.random_range(0..self.hostile.len());
            let address = self.hostile[friend];
            let id = if address.port().is_multiple_of(2) {
                self.fitting(address.ip(), wanted)
            } else {
                wanted.near(110, &mut self.rng)
            };
            return Node { id, address };
        }
        // Of many addresses the one whose id is nearest.
        let places: Vec<Node> = (0..3)
            .map(|_| {
                let address = self.somewhere();
                let id = self.fitting(address.ip(), wanted);
                Node { id, address }
            })
            .collect();
        let nearest = places.iter().min_by_key(|node| node.id.distance(wanted));
        *nearest.unwrap()
    }

    /// The id that is valid for an address and nearest to the target.
    fn fitting(&mut self, ip: IpAddr, wanted: &Id) -> Id {
        let mut best = security::id_for(ip, &mut self.rng);
        for _ in 0..2 {
            let mut id = security::id_for(ip, &mut self.rng);
            id.0[3..19].copy_from_slice(&wanted.0[3..19]);
            if id.distance(wanted) < best.distance(wanted) {
                best = id;
            }
        }
        best
    }
}

/// A random infohash.
pub(super) fn hash(rng: &mut impl Rng) -> Id {
    Id::random(rng)
}
