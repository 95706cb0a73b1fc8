//! Received datagrams: answers to our queries, and queries of strangers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::Rng;

use super::{
    DhtPeers, Family, Id,
    candidate::AnnounceToken,
    krpc::{Body, Message, Method, Node, PROTOCOL_ERROR, ParseError, Response, looks_like_query},
    network::{canonical, is_believable, is_local},
    pending::Purpose,
    security,
    state::{Effect, Owner, State},
};

/// The shortest time between two changes of our id, however the votes change.
const REBASE_PAUSE: Duration = Duration::from_secs(600);
/// With this many nodes in the table whose ids are bound to their addresses, only those vote on our address.
const ENOUGH_BOUND: usize = 8;
/// Peers that one lookup reports,
const MOST_FOUND: usize = 1_000;
/// and the first few of each answer beyond that: a node that names many forged peers leaves room for one that names a
/// real one.
const ALWAYS_FOUND: usize = 8;
/// Nodes of the other family that are pinged while none is known there.
const STRANGERS: usize = 2;

impl State {
    /// Handles a datagram. True if it answers one of our queries.
    pub(super) fn packet(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        now: Instant,
        rng: &mut dyn Rng,
    ) -> bool {
        let from = canonical(from);
        self.traffic.packets_in += 1;
        self.traffic.bytes_in += bytes.len() as u64;
        let no_socket = self.sides[Family::of(from).index()].is_none();
        let awaited = self.pending.awaits(from);
        // Checked before anything is parsed: floods must cost next to nothing.
        if no_socket
            || !is_believable(from, true)
            || (!awaited && (!looks_like_query(bytes) || !self.limits.stranger(from, now)))
        {
            self.traffic.dropped += 1;
            return false;
        }
        match Message::parse(bytes) {
            Ok(message) => self.message(from, message, !awaited, now, rng),
            Err(ParseError::BadQuery { transaction, .. }) => {
                if !awaited || self.limits.stranger(from, now) {
                    self.refuse(from, transaction, PROTOCOL_ERROR, "Protocol Error");
                }
                false
            }
            Err(_) => {
                self.traffic.dropped += 1;
                false
            }
        }
    }

    /// Handles a message. `counted`: it was already counted against its limit.
    fn message(
        &mut self,
        from: SocketAddr,
        message: Message,
        counted: bool,
        now: Instant,
        rng: &mut dyn Rng,
    ) -> bool {
        match message.body {
            Body::Query(query) => {
                if counted || self.limits.stranger(from, now) {
                    self.query(
                        from,
                        message.transaction,
                        query,
                        message.read_only,
                        now,
                        rng,
                    );
                } else {
                    self.traffic.dropped += 1;
                }
                false
            }
            Body::Response(response) => {
                let Some(asked) = self.pending.take(from, &message.transaction) else {
                    self.traffic.dropped += 1;
                    return false;
                };
                self.answered = Some(now);
                let id = response.id;
                let seen = message.observed.map(canonical);
                self.response(from, response, seen, asked.purpose, now);
                if let Some(seen) = seen {
                    self.vote(from, &id, seen, now, rng);
                }
                true
            }
            Body::Error { .. } => {
                let Some(asked) = self.pending.take(from, &message.transaction) else {
                    self.traffic.dropped += 1;
                    return false;
                };
                // The node is there, but of no use for this lookup.
                if let Purpose::Lookup(lookup) = asked.purpose
                    && let Some(running) = self.lookups.get_mut(&lookup)
                {
                    running.lookup.failed(from);
                    running.wake = now;
                }
                true
            }
        }
    }

    /// Handles an answer. `seen`: the address at which the node sees us.
    fn response(
        &mut self,
        from: SocketAddr,
        response: Response,
        seen: Option<SocketAddr>,
        purpose: Purpose,
        now: Instant,
    ) {
        let node = Node {
            id: response.id,
            address: from,
        };
        let family = Family::of(from);
        let doubtful = self.sides[family.index()]
            .as_mut()
            .and_then(|side| side.table.answered(node, now));
        if let Some(doubtful) = doubtful
            && self.limits.check(now)
        {
            self.ask(doubtful.address, Method::Ping, Purpose::Ping, now);
        }
        match purpose {
            Purpose::Ping => {}
            Purpose::Announce(hash) => self.watches.taken(&hash, family),
            Purpose::Lookup(lookup) => self.lookup_answered(lookup, node, response, seen, now),
        }
    }

    fn lookup_answered(
        &mut self,
        id: u64,
        from: Node,
        response: Response,
        seen: Option<SocketAddr>,
        now: Instant,
    ) {
        let family = Family::of(from.address);
        let (here, there) = match family {
            Family::V4 => (response.nodes, response.nodes6),
            Family::V6 => (response.nodes6, response.nodes),
        };
        let (here, there) = (here.unwrap_or_default(), there.unwrap_or_default());
        let local = is_local(from.address.ip());
        let Some(running) = self.lookups.get_mut(&id) else {
            return;
        };
        let target = running.lookup.target;
        let mut peers = Vec::new();
        for (at, peer) in response.values.into_iter().map(canonical).enumerate() {
            if (at < ALWAYS_FOUND || running.found.len() < MOST_FOUND)
                && is_believable(peer, local)
                && running.found.insert(peer)
            {
                peers.push(peer);
            }
        }
        let found = !running.found.is_empty();
        let port = seen.map(|seen| seen.port()).filter(|port| *port != 0);
        let token = response.token.map(|token| AnnounceToken { token, port });
        running.lookup.answered(from, token, &here, found);
        running.wake = now;
        if let Owner::Watch(hash) = running.owner
            && !peers.is_empty()
        {
            self.effects.push(Effect::Found(DhtPeers { hash, peers }));
        }
        self.other_family(family.other(), &target, from.address, &there, now);
    }

    /// Handles nodes of the other family than that of the node that named them.
    fn other_family(
        &mut self,
        family: Family,
        target: &Id,
        source: SocketAddr,
        nodes: &[Node],
        now: Instant,
    ) {
        let Some(side) = &self.sides[family.index()] else {
            return;
        };
        let empty = side.table.entries().next().is_none();
        for running in self.lookups.values_mut() {
            if running.lookup.family == family && running.lookup.target == *target {
                for node in nodes {
                    running.lookup.add(*node, Some(source));
                }
                running.wake = now;
                return;
            }
        }
        if empty {
            for node in nodes.iter().take(STRANGERS) {
                let good = is_believable(node.address, is_local(source.ip()));
                if good && Family::of(node.address) == family && self.limits.check(now) {
                    self.ask(node.address, Method::Ping, Purpose::Ping, now);
                }
            }
        }
    }

    /// Counts a node's vote on our address. Only nodes of the table vote, and only the bound ones once there are
    /// [`ENOUGH_BOUND`] of those: liars draw lookups to themselves, so most of the nodes that answer may lie, but they
    /// have few places in the table.
    fn vote(
        &mut self,
        voter: SocketAddr,
        id: &Id,
        seen: SocketAddr,
        now: Instant,
        rng: &mut dyn Rng,
    ) {
        let family = Family::of(voter);
        let Some(side) = &mut self.sides[family.index()] else {
            return;
        };
        let bound =
            security::is_valid(id, voter.ip()) || side.table.counts(now).valid < ENOUGH_BOUND;
        if !bound || !side.table.has(id, voter) {
            return;
        }
        side.votes.add(voter, seen);
        let Some(ip) = side.votes.ip() else { return };
        let moved = side.external.is_some_and(|before| before != ip);
        side.external = Some(ip);
        let recent = |at: Instant| now.saturating_duration_since(at) < REBASE_PAUSE;
        let own = side.table.own();
        if !security::is_valid(own, ip) && !side.rebased.is_some_and(recent) {
            let id = security::id_for(ip, rng);
            tracing::debug!(%ip, %id, "our id changed with our address");
            side.table.rebase(id, now);
            side.rebased = Some(now);
            self.start(family, id, Owner::Refresh, &[], now, rng);
        }
        if moved {
            self.watches.announce_again(family, now);
        }
    }
}
