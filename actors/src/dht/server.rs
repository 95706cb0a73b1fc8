//! Queries of other nodes, and our answers (BEP 5, BEP 32).

use std::{net::SocketAddr, time::Instant};

use rand::Rng;

use super::{
    DhtPeers, Family, Id,
    krpc::{Body, METHOD_UNKNOWN, Message, Method, Node, PROTOCOL_ERROR, Query, Response, Want},
    network::is_local,
    pending::Purpose,
    state::{Effect, State},
};

impl State {
    /// Answers a query. `read_only`: the asker wants to be in no table (BEP 43).
    pub(super) fn query(
        &mut self,
        from: SocketAddr,
        transaction: Vec<u8>,
        query: Query,
        read_only: bool,
        now: Instant,
        rng: &mut dyn Rng,
    ) {
        let family = Family::of(from);
        let Some(own) = self.own(family) else { return };
        if query.id == own {
            // The sender is ourselves, behind some NAT.
            return;
        }
        let mut response = Response::new(own);
        match query.method {
            Method::Ping => {}
            Method::FindNode { target }
            | Method::Other {
                target: Some(target),
            } => self.put_nodes(&mut response, &target, query.want, from),
            Method::GetPeers { info_hash, .. } => {
                self.put_nodes(&mut response, &info_hash, query.want, from);
                response.token = Some(self.tokens.give(from.ip(), now, rng));
                let local = is_local(from.ip());
                response.values = self.peers.get(&info_hash, family, local, now, rng);
            }
            Method::AnnouncePeer {
                info_hash,
                port,
                implied_port,
                ref token,
                ..
            } => {
                let port = if implied_port == Some(true) {
                    from.port()
                } else {
                    port
                };
                if port == 0 || !self.tokens.check(from.ip(), token, now, rng) {
                    self.refuse(from, transaction, PROTOCOL_ERROR, "Bad token or port");
                    return;
                }
                let peer = SocketAddr::new(from.ip(), port);
                self.peers.announce(&own, info_hash, peer, now);
                if self.watches.contains(&info_hash) {
                    // A peer that we look for has announced itself here.
                    self.effects.push(Effect::Found(DhtPeers {
                        hash: info_hash,
                        peers: vec![peer],
                    }));
                }
            }
            Method::Other { target: None } => {
                self.refuse(from, transaction, METHOD_UNKNOWN, "Method Unknown");
                return;
            }
        }
        if self.profile.reports_address() {
            response.port = Some(from.port());
        }
        self.reply(from, transaction, Body::Response(response));
        let node = Node {
            id: query.id,
            address: from,
        };
        if !read_only {
            self.meet(node, now);
        }
    }

    /// Considers a node that sent us a query for the table, if it also answers.
    fn meet(&mut self, node: Node, now: Instant) {
        let family = Family::of(node.address);
        let Some(side) = &mut self.sides[family.index()] else {
            return;
        };
        if side.table.asked(node, now)
            && !self.pending.awaits(node.address)
            && self.limits.check(now)
        {
            self.ask(node.address, Method::Ping, Purpose::Ping, now);
        }
    }

    fn put_nodes(&self, response: &mut Response, target: &Id, want: Want, from: SocketAddr) {
        let local = is_local(from.ip());
        let nothing_said = want == Want::default();
        let of = |family: Family, wanted: bool| {
            let wanted = wanted || (nothing_said && Family::of(from) == family);
            let side = self.sides[family.index()].as_ref()?;
            wanted.then(|| side.table.nearest(target, local))
        };
        response.nodes = of(Family::V4, want.v4);
        response.nodes6 = of(Family::V6, want.v6);
    }

    /// Our id in a family.
    pub(super) fn own(&self, family: Family) -> Option<Id> {
        let side = self.sides[family.index()].as_ref();
        side.map(|side| *side.table.own())
    }

    /// Answers with an error.
    pub(super) fn refuse(
        &mut self,
        to: SocketAddr,
        transaction: Vec<u8>,
        code: i64,
        text: &'static str,
    ) {
        let text = text.to_owned();
        self.reply(to, transaction, Body::Error { code, text });
    }

    fn reply(&mut self, to: SocketAddr, transaction: Vec<u8>, body: Body) {
        let message = Message {
            transaction,
            version: self.profile.version(),
            read_only: false,
            observed: self.profile.reports_address().then_some(to),
            body,
        };
        self.send(to, &message);
    }

    /// Sends a message.
    pub(super) fn send(&mut self, to: SocketAddr, message: &Message) {
        let bytes = message.encode();
        self.traffic.packets_out += 1;
        self.traffic.bytes_out += bytes.len() as u64;
        self.effects.push(Effect::Send(to, bytes));
    }
}
