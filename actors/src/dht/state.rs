//! The node as a pure state machine: the clock and the random generator are passed in, and effects are returned.
//!
//! This file has its parts and its timers; [`super::inbound`] handles what is received, [`super::server`] answers
//! queries, and [`super::drive`] sends them.

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

/// The interval of saving nodes for the next run.
const SAVE: Duration = Duration::from_secs(300);
/// When they are saved for the first time.
const FIRST_SAVE: Duration = Duration::from_secs(60);
/// The interval of dropping expired peers.
const SWEEP: Duration = Duration::from_secs(300);

/// The configuration of a node.
pub(super) struct Setup {
    /// The families for which there are sockets.
    pub(super) families: Vec<Family>,
    /// The client that our node looks like.
    pub(super) profile: Profile,
    /// What the last run saved.
    pub(super) saved: Saved,
    /// `host:port` of nodes to begin with when neither those nor channel files' nodes help.
    pub(super) bootstrap: Vec<String>,
    /// `host:port` of nodes to begin with when nothing else helps.
    pub(super) routers: Vec<String>,
}

/// An input of the state machine.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// A datagram was received.
    Packet(SocketAddr, &'a [u8]),
    /// A command of the node's user.
    Command(Command),
    /// The result of [`Effect::Resolve`], which may be empty.
    Resolved(Vec<SocketAddr>),
    /// Time has passed.
    Tick,
}

/// A command.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// Announces an infohash, with this port, and looks it up.
    Watch(Id, u16),
    /// Stops announcing an infohash.
    Unwatch(Id),
    /// Looks a watched infohash up again soon.
    Find(Id),
    /// Looks an infohash up once, without announcing it; the answer has this ticket.
    Lookup(Id, u64),
    /// Adds nodes that a channel file names, `host:port` each.
    Nodes(Vec<String>),
    /// Announces another port.
    SetPort(u16),
}

/// What the actor must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Send a datagram.
    Send(SocketAddr, Vec<u8>),
    /// Report the peers found under a watched infohash.
    Found(DhtPeers),
    /// Report the result of a ticket's lookup.
    Answer(u64, LookupResult),
    /// Resolve names; [`Input::Resolved`] is awaited for 10 s.
    Resolve(Vec<String>),
    /// Save nodes for the next run.
    Save(Saved),
}

/// The state of one family.
pub(super) struct Side {
    pub(super) table: Table,
    pub(super) votes: Votes,
    /// Our address, as far as we know.
    pub(super) external: Option<IpAddr>,
    /// When our id was last changed.
    pub(super) rebased: Option<Instant>,
}

/// The owner of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Bootstrap,
    Refresh,
    Watch(Id),
    Ticket(u64),
}

/// A lookup under way.
pub(super) struct Running {
    pub(super) lookup: Lookup,
    pub(super) owner: Owner,
    /// When to drive it without an answer.
    pub(super) wake: Instant,
    /// Peers that were reported already.
    pub(super) found: BTreeSet<SocketAddr>,
}

/// What a ticket waits for: one lookup per family.
#[derive(Default)]
pub(super) struct Ticket {
    pub(super) left: usize,
    pub(super) peers: BTreeSet<SocketAddr>,
    pub(super) cost: LookupCost,
}

/// The node.
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
    /// When a node last answered.
    pub(super) answered: Option<Instant>,
    save_at: Instant,
    sweep_at: Instant,
}

impl State {
    /// A node that knows no other nodes than those in `setup`.
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

    /// Handles an input and returns what must be done.
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
                    self.look_up_own_id(&addresses, now, rng);
                }
                true
            }
            Input::Tick => true,
        };
        // Queries of strangers, of which there may be many, change nothing of what is under way.
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
                self.report_stored(hash, now, rng);
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

    /// Reports peers that have announced an infohash to us.
    pub(super) fn report_stored(&mut self, hash: Id, now: Instant, rng: &mut dyn Rng) {
        for family in Family::ALL {
            let peers = self.peers.get(&hash, family, true, now, rng);
            if !peers.is_empty() {
                self.effects.push(Effect::Found(DhtPeers { hash, peers }));
            }
        }
    }

    /// Does the periodic work: saving and sweeping.
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

    /// When to call with [`Input::Tick`], if no other input comes first.
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

    /// The number of good nodes in the fullest table.
    pub(super) fn good(&self, now: Instant) -> usize {
        let sides = self.sides.iter().flatten();
        let good = sides.map(|side| side.table.counts(now).good);
        good.max().unwrap_or(0)
    }

    /// What to save for the next run.
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

    /// The status of the node.
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
