//! Our own queries: lookups of our own id, of watched infohashes, and of buckets that need a refresh.

use std::{net::SocketAddr, time::Instant};

use rand::Rng;

use super::{
    Family, Id, LookupResult,
    bootstrap::Step,
    krpc::{Body, Message, Method, Query, Want},
    lookup::{Lookup, LookupId, Next},
    network::is_believable,
    pending::Purpose,
    state::{Effect, Owner, Running, State, Ticket},
};

/// Background lookups at a time. Others wait.
const MOST_LOOKUPS: usize = 12;
/// Lookups among them for buckets that need a refresh: they never delay watched infohashes.
const MOST_REFRESHES: usize = 4;
/// Lookups at a time in all.
const MOST_LOOKUPS_EVER: usize = 32;
/// Nodes of the table that a lookup begins with.
const SEEDS: usize = 16;
/// A table with this many nodes can serve lookups while it is still being filled.
const USABLE: usize = 8;
/// Nodes that are pinged at once when a file names them.
const MOST_PINGED: usize = 16;

impl State {
    /// Does everything that is due.
    pub(super) fn drive(&mut self, now: Instant, rng: &mut dyn Rng) {
        while let Some((to, purpose)) = self.pending.expired(now) {
            if let Some(side) = &mut self.sides[Family::of(to).index()] {
                side.table.failed(to);
            }
            if let Purpose::Lookup(lookup) = purpose
                && let Some(running) = self.lookups.get_mut(&lookup)
            {
                running.lookup.failed(to);
                running.wake = now;
            }
        }
        self.pump(now, rng);
        // A lookup without any node to query ends at once, which may make the next step due.
        while let Some(step) = self.bootstrap.step(now) {
            match step {
                Step::Resolve(names) => self.effects.push(Effect::Resolve(names)),
                Step::Look(addresses) => self.look_up_own_id(&addresses, now, rng),
            }
            self.pump(now, rng);
        }
        self.begin_due(now, rng);
    }

    fn begin_due(&mut self, now: Instant, rng: &mut dyn Rng) {
        for family in Family::ALL {
            while self.has_room() && self.is_ready(family) {
                let Some(hash) = self.watches.due(family, now) else {
                    break;
                };
                let lookup = self.start(family, hash, Owner::Watch(hash), &[], now, rng);
                self.watches.begin(&hash, family, lookup, now);
            }
            while self.may_refresh() {
                let side = self.sides[family.index()].as_mut();
                let Some(target) = side.and_then(|side| side.table.refresh(now, rng)) else {
                    break;
                };
                self.start(family, target, Owner::Refresh, &[], now, rng);
                if self.good(now) == 0 {
                    self.bootstrap.lost();
                }
            }
        }
        self.pump(now, rng);
    }

    /// Whether another lookup may begin.
    pub(super) fn has_room(&self) -> bool {
        self.lookups.len() < MOST_LOOKUPS
    }

    /// Whether another lookup for a refresh may begin.
    pub(super) fn may_refresh(&self) -> bool {
        let refreshes = |running: &&Running| running.owner == Owner::Refresh;
        self.has_room() && self.lookups.values().filter(refreshes).count() < MOST_REFRESHES
    }

    /// Whether lookups are useful in a family: some nodes are known, and the bootstrap is not under way.
    pub(super) fn is_ready(&self, family: Family) -> bool {
        let Some(side) = &self.sides[family.index()] else {
            return false;
        };
        let needed = if self.bootstrap.is_looking() {
            USABLE
        } else {
            1
        };
        side.table.entries().nth(needed - 1).is_some()
    }

    /// Looks up our own id in every family.
    pub(super) fn look_up_own_id(
        &mut self,
        addresses: &[SocketAddr],
        now: Instant,
        rng: &mut dyn Rng,
    ) {
        for family in Family::ALL {
            if let Some(own) = self.own(family) {
                self.start(family, own, Owner::Bootstrap, addresses, now, rng);
            }
        }
    }

    /// Starts a one-off lookup.
    pub(super) fn look_once(&mut self, hash: Id, ticket: u64, now: Instant, rng: &mut dyn Rng) {
        self.bootstrap.want();
        let mut waiting = Ticket::default();
        for family in Family::ALL {
            waiting
                .peers
                .extend(self.peers.get(&hash, family, true, now, rng));
            if self.own(family).is_some() && self.lookups.len() < MOST_LOOKUPS_EVER {
                waiting.left += 1;
                self.start(family, hash, Owner::Ticket(ticket), &[], now, rng);
            }
        }
        if waiting.left == 0 {
            self.answer(ticket, waiting);
        } else {
            self.tickets.insert(ticket, waiting);
        }
    }

    fn answer(&mut self, ticket: u64, waiting: Ticket) {
        let result = LookupResult {
            peers: waiting.peers.into_iter().collect(),
            cost: waiting.cost,
        };
        self.effects.push(Effect::Answer(ticket, result));
    }

    /// Adds nodes that a channel file names: they are used by the bootstrap, or pinged if that is over.
    pub(super) fn add_nodes(&mut self, nodes: Vec<String>, now: Instant) {
        let addresses: Vec<SocketAddr> =
            nodes.iter().filter_map(|node| node.parse().ok()).collect();
        if !self.bootstrap.add(nodes) {
            return;
        }
        for address in addresses.into_iter().take(MOST_PINGED) {
            if is_believable(address, true) && self.limits.check(now) {
                self.ask(address, Method::Ping, Purpose::Ping, now);
            }
        }
    }

    /// Starts a lookup.
    pub(super) fn start(
        &mut self,
        family: Family,
        target: Id,
        owner: Owner,
        addresses: &[SocketAddr],
        now: Instant,
        rng: &mut dyn Rng,
    ) -> LookupId {
        self.next_lookup += 1;
        let id = self.next_lookup;
        if let Some(side) = &mut self.sides[family.index()] {
            let mut lookup = Lookup::new(*side.table.own(), target, family, now);
            for node in side.table.seeds(&target, SEEDS) {
                lookup.add(node, None);
            }
            for address in addresses {
                if is_believable(*address, true) {
                    lookup.seed(*address);
                }
            }
            side.table.looked_up(&target, now, rng);
            let running = Running {
                lookup,
                owner,
                wake: now,
                found: Default::default(),
            };
            self.lookups.insert(id, running);
        }
        id
    }

    /// Lets every lookup that is awake send its queries, within the limits.
    fn pump(&mut self, now: Instant, rng: &mut dyn Rng) {
        let awake = |(id, running): (&LookupId, &Running)| (running.wake <= now).then_some(*id);
        let ids: Vec<LookupId> = self.lookups.iter().filter_map(awake).collect();
        for id in ids {
            while let Some(running) = self.lookups.get_mut(&id) {
                if let Some(room) = self.limits.may_ask(now) {
                    running.wake = room;
                    break;
                }
                match running.lookup.next(now) {
                    Next::Ask(to) => {
                        let method = method(running, self.profile.always_get_peers());
                        self.limits.ask(now);
                        self.ask(to, method, Purpose::Lookup(id), now);
                    }
                    Next::Wait(until) => {
                        running.wake = until;
                        break;
                    }
                    Next::Done => self.finish(id, now, rng),
                }
            }
        }
    }

    fn finish(&mut self, id: LookupId, now: Instant, rng: &mut dyn Rng) {
        let Some(Running {
            lookup,
            owner,
            found,
            ..
        }) = self.lookups.remove(&id)
        else {
            return;
        };
        match owner {
            Owner::Refresh => {}
            Owner::Bootstrap => {
                let others = self.lookups.values();
                if !others
                    .into_iter()
                    .any(|other| other.owner == Owner::Bootstrap)
                {
                    let good = self.good(now);
                    self.bootstrap.looked(good, now);
                }
            }
            Owner::Watch(hash) => {
                let nodes = lookup.announce_to();
                let family = lookup.family;
                let counts = (nodes.len(), found.len());
                let port = self.watches.ended(&hash, family, counts, now, rng);
                let Some(port) = port else { return };
                let Some(side) = &self.sides[family.index()] else {
                    return;
                };
                let seen: Vec<_> = nodes.iter().map(|(_, grant)| grant.port).collect();
                let ports = side.votes.announced(port, &seen);
                let (implied_port, seed) = self.profile.announce_flags();
                for ((to, grant), port) in nodes.into_iter().zip(ports) {
                    let method = Method::AnnouncePeer {
                        info_hash: hash,
                        port,
                        implied_port,
                        seed,
                        token: grant.token,
                    };
                    // Not held back by the limit: these are few, and the purpose of the lookup.
                    self.limits.ask(now);
                    self.ask(to, method, Purpose::Announce(hash), now);
                }
            }
            Owner::Ticket(ticket) => {
                let Some(mut waiting) = self.tickets.remove(&ticket) else {
                    return;
                };
                waiting.left -= 1;
                waiting.peers.extend(found);
                waiting.cost.asked += lookup.cost.asked;
                waiting.cost.answered += lookup.cost.answered;
                waiting.cost.hops = match (waiting.cost.hops, lookup.cost.hops) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                if waiting.left == 0 {
                    self.answer(ticket, waiting);
                } else {
                    self.tickets.insert(ticket, waiting);
                }
            }
        }
    }

    /// Sends a query.
    pub(super) fn ask(&mut self, to: SocketAddr, method: Method, purpose: Purpose, now: Instant) {
        let Some(id) = self.own(Family::of(to)) else {
            return;
        };
        let both = self.sides.iter().all(Option::is_some);
        let looks = matches!(method, Method::FindNode { .. } | Method::GetPeers { .. });
        let want = Want {
            v4: both && looks,
            v6: both && looks,
        };
        let Some(transaction) = self.transaction(to, &method) else {
            return;
        };
        self.pending.add(to, transaction.clone(), purpose, now);
        let message = Message {
            transaction,
            version: self.profile.version(),
            read_only: false,
            observed: None,
            body: Body::Query(Query { id, want, method }),
        };
        self.send(to, &message);
    }

    /// An unused transaction id for an address.
    fn transaction(&mut self, to: SocketAddr, method: &Method) -> Option<Vec<u8>> {
        for _ in 0..64 {
            self.number = self.profile.after(self.number);
            let transaction = self.profile.transaction(method, self.number);
            if self.pending.is_free(to, &transaction) {
                return Some(transaction);
            }
        }
        None
    }
}

fn method(running: &Running, always_get_peers: bool) -> Method {
    let target = running.lookup.target;
    match running.owner {
        Owner::Bootstrap | Owner::Refresh if !always_get_peers => Method::FindNode { target },
        owner => Method::GetPeers {
            info_hash: target,
            bootstrap: owner == Owner::Bootstrap,
        },
    }
}
