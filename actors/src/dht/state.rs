//! The node as a pure state machine: clock and random generator are passed in, and what is to be done comes out.
//!
//! Here is what it is made of, and its clock; [`super::inbound`] reads what comes, [`super::server`] answers
//! questions, and [`super::drive`] asks them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rand::Rng;

use super::{
    DhtPeers, DhtStatus, Family, FamilyStatus, Id, LookupCost, LookupResult, Profile, Saved,
    Traffic,
    announce::Watches,
    bootstrap::Bootstrap,
    limits::Limits,
    lookup::{Lookup, LookupId},
    peers::Peers,
    pending::Pending,
    saved::MOST_KEPT,
    security,
    table::Table,
    token::Tokens,
    votes::Votes,
};

/// How often nodes are kept for the next run.
const SAVE: Duration = Duration::from_secs(300);
/// When that is done for the first time.
const FIRST_SAVE: Duration = Duration::from_secs(60);
/// How often peers that expired are dropped.
const SWEEP: Duration = Duration::from_secs(300);

/// What a node is made with.
pub(super) struct Setup {
    /// Which families there are sockets for.
    pub(super) families: Vec<Family>,
    /// Whose node ours looks like.
    pub(super) profile: Profile,
    /// From the last run.
    pub(super) saved: Saved,
    /// `host:port` of nodes to begin at when neither those nor channel files' help.
    pub(super) bootstrap: Vec<String>,
    /// `host:port` of nodes to begin at when nothing else helps.
    pub(super) routers: Vec<String>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// A datagram came.
    Packet(SocketAddr, &'a [u8]),
    /// Somebody wants something.
    Command(Command),
    /// Names of [`Effect::Resolve`] were resolved, or not.
    Resolved(Vec<SocketAddr>),
    /// Time has passed.
    Tick,
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// To be found under an infohash, at this port, and to find others.
    Watch(Id, u16),
    /// No longer.
    Unwatch(Id),
    /// To look again soon.
    Find(Id),
    /// To look once, without being found; answered by this ticket.
    Lookup(Id, u64),
    /// To begin at nodes that a channel file names, `host:port` each.
    Nodes(Vec<String>),
    /// To announce another port.
    SetPort(u16),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Tell whom a watched infohash led to.
    Found(DhtPeers),
    /// A lookup of a ticket ended.
    Answer(u64, LookupResult),
    /// Resolve names; [`Input::Resolved`] is awaited for 10 s.
    Resolve(Vec<String>),
    /// Keep nodes for the next run.
    Save(Saved),
}

/// One family's part.
pub(super) struct Side {
    pub(super) table: Table,
    pub(super) votes: Votes,
    /// Where we are as far as we know.
    pub(super) external: Option<IpAddr>,
    /// When our id was changed last.
    pub(super) rebased: Option<Instant>,
}

/// For whom a lookup runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Bootstrap,
    Refresh,
    Watch(Id),
    Ticket(u64),
}

/// A lookup that runs.
pub(super) struct Running {
    pub(super) lookup: Lookup,
    pub(super) owner: Owner,
    /// When to look after it without news.
    pub(super) wake: Instant,
    /// Peers that were told already.
    pub(super) found: BTreeSet<SocketAddr>,
}

/// What a ticket waits for: one lookup a family.
#[derive(Default)]
pub(super) struct Ticket {
    pub(super) left: usize,
    pub(super) peers: BTreeSet<SocketAddr>,
    pub(super) cost: LookupCost,
}

/// All of it.
pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) sides: [Option<Side>; 2],
    pub(super) peers: Peers,
    pub(super) tokens: Tokens,
    pub(super) limits: Limits,
    pub(super) pending: Pending,
    pub(super) lookups: BTreeMap<LookupId, Running>,
    pub(super) tickets: BTreeMap<u64, Ticket>,
    pub(super) watches: Watches,
    pub(super) bootstrap: Bootstrap,
    pub(super) traffic: Traffic,
    pub(super) effects: Vec<Effect>,
    pub(super) next_lookup: LookupId,
    pub(super) number: u16,
    /// When a node answered last.
    pub(super) answered: Option<Instant>,
    save_at: Instant,
    sweep_at: Instant,
}

impl State {
    /// A node that knows nobody but what `setup` says.
    pub(super) fn new(setup: Setup, now: Instant, rng: &mut dyn Rng) -> Self {
        let Setup {
            families,
            profile,
            saved,
            bootstrap,
            routers,
        } = setup;
        let mut side = |family: Family| {
            let external = saved.external[family.index()];
            let own = match external {
                Some(ip) => security::id_for(ip, rng),
                None => Id::random(rng),
            };
            families.contains(&family).then(|| Side {
                table: Table::new(own),
                votes: Votes::default(),
                external,
                rebased: None,
            })
        };
        let sides = Family::ALL.map(&mut side);
        let known = saved.nodes.iter().map(|node| node.address).collect();
        let number = rng.next_u32().to_be_bytes();
        Self {
            profile,
            sides,
            peers: Peers::default(),
            tokens: Tokens::new(profile.token_len(), now, rng),
            limits: Limits::default(),
            pending: Pending::default(),
            lookups: BTreeMap::new(),
            tickets: BTreeMap::new(),
            watches: Watches::new(profile),
            bootstrap: Bootstrap::new(known, bootstrap, routers),
            traffic: Traffic::default(),
            effects: Vec::new(),
            next_lookup: 0,
            number: u16::from_be_bytes([number[0], number[1]]),
            answered: None,
            save_at: now + FIRST_SAVE,
            sweep_at: now + SWEEP,
        }
    }

    /// Takes in what happened and says what to do.
    pub(super) fn handle(
        &mut self,
        input: Input<'_>,
        now: Instant,
        rng: &mut dyn Rng,
    ) -> Vec<Effect> {
        let news = match input {
            Input::Packet(from, bytes) => self.packet(from, bytes, now, rng),
            Input::Command(command) => {
                self.command(command, now, rng);
                true
            }
            Input::Resolved(addresses) => {
                if let Some(addresses) = self.bootstrap.resolved(addresses) {
                    self.look_for_ourselves(&addresses, now, rng);
                }
                true
            }
            Input::Tick => true,
        };
        // Questions of strangers, of which there may be many, change nothing of what is under way.
        if news {
            self.drive(now, rng);
            self.keep(now);
        }
        std::mem::take(&mut self.effects)
    }

    fn command(&mut self, command: Command, now: Instant, rng: &mut dyn Rng) {
        match command {
            Command::Watch(hash, port) => {
                self.watches.add(hash, port, now);
                self.bootstrap.want();
                self.tell_stored(hash, now, rng);
            }
            Command::Unwatch(hash) => {
                let watch = self.watches.remove(&hash);
                for slot in watch.into_iter().flat_map(|watch| watch.slots) {
                    if let Some(lookup) = slot.lookup {
                        self.lookups.remove(&lookup);
                    }
                }
            }
            Command::Find(hash) => self.watches.find(&hash, now),
            Command::Lookup(hash, ticket) => self.look_once(hash, ticket, now, rng),
            Command::Nodes(nodes) => self.add_nodes(nodes, now),
            Command::SetPort(port) => self.watches.set_port(port, now),
        }
    }

    /// Peers that announced to us themselves.
    pub(super) fn tell_stored(&mut self, hash: Id, now: Instant, rng: &mut dyn Rng) {
        for family in Family::ALL {
            let peers = self.peers.get(&hash, family, true, now, rng);
            if !peers.is_empty() {
                self.effects.push(Effect::Found(DhtPeers { hash, peers }));
            }
        }
    }

    /// What is done now and then.
    fn keep(&mut self, now: Instant) {
        if self.save_at <= now {
            self.save_at = now + SAVE;
            if self.good(now) > 0 {
                let saved = self.saved();
                self.effects.push(Effect::Save(saved));
            }
        }
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP;
            self.peers.sweep(now);
        }
    }

    /// When to [`Input::Tick`] next, if nothing else happens.
    pub(super) fn next(&mut self, now: Instant) -> Instant {
        let mut next = self.save_at.min(self.sweep_at);
        let mut at = |moment: Option<Instant>| next = moment.map_or(next, |at| at.min(next));
        at(self.pending.next());
        at(self.bootstrap.next(now));
        for running in self.lookups.values() {
            at(Some(running.wake));
        }
        let (room, refresh) = (self.has_room(), self.may_refresh());
        for family in Family::ALL {
            if !room {
                break;
            }
            if self.is_ready(family) {
                at(self.watches.next(family));
            }
            if refresh && let Some(side) = &self.sides[family.index()] {
                at(side.table.next_refresh());
            }
        }
        next
    }

    /// Good nodes in the fullest table.
    pub(super) fn good(&self, now: Instant) -> usize {
        let sides = self.sides.iter().flatten();
        let good = sides.map(|side| side.table.counts(now).good);
        good.max().unwrap_or(0)
    }

    /// What to keep for the next run.
    pub(super) fn saved(&self) -> Saved {
        let side = |family: Family| self.sides[family.index()].as_ref();
        let mut saved = Saved::default();
        for family in Family::ALL {
            if let Some(side) = side(family) {
                saved.external[family.index()] = side.external;
                saved.nodes.extend(side.table.keepers(MOST_KEPT));
            }
        }
        saved
    }

    /// How it stands.
    pub(super) fn status(&self, now: Instant) -> DhtStatus {
        let side = |family: Family| {
            self.sides[family.index()]
                .as_ref()
                .map(|side| FamilyStatus {
                    id: *side.table.own(),
                    id_valid: side
                        .external
                        .map(|ip| security::is_valid(side.table.own(), ip)),
                    external: side
                        .votes
                        .address()
                        .map_or_else(|| side.external.map(|ip| SocketAddr::new(ip, 0)), Some),
                    table: side.table.counts(now),
                })
        };
        let (hashes, peers) = self.peers.counts();
        DhtStatus {
            v4: side(Family::V4),
            v6: side(Family::V6),
            traffic: self.traffic,
            pending: self.pending.len(),
            lookups: self.lookups.len(),
            stored_hashes: hashes,
            stored_peers: peers,
            watches: self.watches.status(),
            answered: self.answered,
            retry: self.bootstrap.retry(),
        }
    }
}
