//! What a node answers, packet by packet.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::super::{
    Family, Id, Profile, Saved,
    krpc::{Body, METHOD_UNKNOWN, Message, Method, PROTOCOL_ERROR, Query, Response, Want},
    state::{Command, Effect, Input, Setup, State},
};

const ASKER: Id = Id([9; 20]);
const HASH: Id = Id([3; 20]);

/// One node, and an asker.
struct Bench {
    state: State,
    now: Instant,
    rng: StdRng,
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Bench {
    fn new(families: &[Family], profile: Profile) -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let setup = Setup {
            families: families.to_vec(),
            profile,
            saved: Saved::default(),
            bootstrap: Vec::new(),
            routers: Vec::new(),
        };
        let state = State::new(setup, now, &mut rng);
        Self { state, now, rng }
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Effect> {
        self.state.handle(input, self.now, &mut self.rng)
    }

    /// What is sent to an address when these bytes come from it.
    fn bytes(&mut self, from: SocketAddr, bytes: &[u8]) -> Vec<Message> {
        let effects = self.handle(Input::Packet(from, bytes));
        effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Send(to, bytes) if to == from => Some(Message::parse(&bytes).unwrap()),
                _ => None,
            })
            .collect()
    }

    fn ask_wanting(&mut self, from: SocketAddr, method: Method, want: Want) -> Vec<Message> {
        let query = Query {
            id: ASKER,
            want,
            method,
        };
        let message = Message {
            transaction: b"x".to_vec(),
            version: None,
            read_only: false,
            observed: None,
            body: Body::Query(query),
        };
        self.bytes(from, &message.encode())
    }

    /// The answer to a query.
    fn ask(&mut self, from: SocketAddr, method: Method) -> Body {
        let messages = self.ask_wanting(from, method, Want::default());
        let mut answers = messages
            .into_iter()
            .filter(|message| message.transaction == b"x");
        answers.next().unwrap().body
    }

    fn response(&mut self, from: SocketAddr, method: Method) -> Response {
        match self.ask(from, method) {
            Body::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn error(&mut self, from: SocketAddr, method: Method) -> i64 {
        match self.ask(from, method) {
            Body::Error { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    /// Adds a node with that id to the table: it sends a query, is pinged, and answers.
    fn befriend(&mut self, id: Id, address: SocketAddr) -> bool {
        let hello = format!("d1:ad2:id20:{}e1:q4:ping1:t1:h1:y1:qe", "i".repeat(20));
        let mut hello = hello.into_bytes();
        let place = hello
            .windows(20)
            .position(|part| part == [b'i'; 20])
            .unwrap();
        hello[place..place + 20].copy_from_slice(&id.0);
        let messages = self.bytes(address, &hello);
        let ping = messages
            .into_iter()
            .find(|message| matches!(message.body, Body::Query(_)));
        let Some(ping) = ping else { return false };
        let answer = Message {
            transaction: ping.transaction,
            version: None,
            read_only: false,
            observed: None,
            body: Body::Response(Response::new(id)),
        };
        self.bytes(address, &answer.encode());
        true
    }

    fn nodes(&self, family: Family) -> usize {
        let status = self.state.status(self.now);
        let side = match family {
            Family::V4 => status.v4,
            Family::V6 => status.v6,
        };
        side.unwrap().table.nodes
    }
}

fn announce(token: &[u8], port: u16, implied_port: Option<bool>) -> Method {
    Method::AnnouncePeer {
        info_hash: HASH,
        port,
        implied_port,
        seed: None,
        token: token.to_vec(),
    }
}

const GET: Method = Method::GetPeers {
    info_hash: HASH,
    bootstrap: false,
};

#[test]
fn peers_announce_with_a_token_and_others_get_them() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    let (a, b) = (at("9.9.9.9:9"), at("8.8.8.8:8"));
    assert!(matches!(bench.ask(a, Method::Ping), Body::Response(_)));
    let empty = bench.response(a, GET);
    assert!(empty.values.is_empty() && empty.nodes.is_some());
    let token = empty.token.unwrap();
    assert_eq!(token.len(), 8);
    assert_eq!(bench.error(b, announce(&token, 7, None)), PROTOCOL_ERROR);
    assert_eq!(bench.error(a, announce(b"wrong", 7, None)), PROTOCOL_ERROR);
    assert_eq!(bench.error(a, announce(&token, 0, None)), PROTOCOL_ERROR);
    assert!(bench.response(b, GET).values.is_empty());
    bench.response(a, announce(&token, 7, None));
    assert_eq!(bench.response(b, GET).values, [at("9.9.9.9:7")]);
    bench.response(a, announce(&token, 0, Some(true)));
    let mut values = bench.response(b, GET).values;
    values.sort();
    assert_eq!(values, [at("9.9.9.9:7"), at("9.9.9.9:9")]);
    bench.now += Duration::from_secs(11 * 60);
    assert_eq!(bench.error(a, announce(&token, 7, None)), PROTOCOL_ERROR);
    bench.now += Duration::from_secs(20 * 60);
    assert!(bench.response(b, GET).values.is_empty());
}

#[test]
fn a_peer_that_announces_a_watched_infohash_here_is_found_at_once() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    bench.handle(Input::Command(Command::Watch(HASH, 5)));
    let token = bench.response(at("9.9.9.9:9"), GET).token.unwrap();
    let message = Message {
        transaction: b"x".to_vec(),
        version: None,
        read_only: false,
        observed: None,
        body: Body::Query(Query {
            id: ASKER,
            want: Want::default(),
            method: announce(&token, 7, None),
        }),
    };
    let effects = bench.handle(Input::Packet(at("9.9.9.9:9"), &message.encode()));
    let found = effects.iter().any(|effect| match effect {
        Effect::Found(found) => found.hash == HASH && found.peers == [at("9.9.9.9:7")],
        _ => false,
    });
    assert!(found, "{effects:?}");
}

#[test]
fn unknown_and_malformed_queries() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    let from = at("9.9.9.9:9");
    assert!(bench.befriend(Id([1; 20]), at("7.7.7.7:7")));
    let known = Method::Other { target: Some(HASH) };
    assert_eq!(bench.response(from, known).nodes.unwrap().len(), 1);
    let unknown = Method::Other { target: None };
    assert_eq!(bench.error(from, unknown), METHOD_UNKNOWN);
    let malformed = b"d1:ad2:id3:abce1:q4:ping1:t20:aaaaaaaaaaaaaaaaaaaa1:y1:qe";
    let answers = bench.bytes(from, malformed);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].transaction, [b'a'; 20]);
    assert!(matches!(
        answers[0].body,
        Body::Error {
            code: PROTOCOL_ERROR,
            ..
        }
    ));
    for junk in [
        b"".as_slice(),
        b"d1:y1:qe",
        b"hello",
        b"d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re",
    ] {
        assert!(bench.bytes(from, junk).is_empty());
    }
    // Only we ourselves use our own id.
    let own = bench.state.own(Family::V4).unwrap();
    assert!(!bench.befriend(own, at("7.7.7.8:7")));
}

#[test]
fn nodes_that_answer_get_into_the_table_and_read_only_ones_do_not() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    let hello = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping2:roi1e1:t1:h1:y1:qe";
    assert_eq!(bench.bytes(at("9.9.9.9:9"), hello).len(), 1, "no ping");
    assert_eq!(bench.nodes(Family::V4), 0);
    assert!(bench.befriend(Id([1; 20]), at("9.9.9.9:9")));
    assert_eq!(bench.nodes(Family::V4), 1);
    // An answer to no query is ignored.
    let answer = b"d1:rd2:id20:abcdefghij0123456789e1:t4:pn\0\x001:y1:re";
    bench.bytes(at("6.6.6.6:6"), answer);
    assert_eq!(bench.nodes(Family::V4), 1);
}

#[test]
fn nodes_on_local_networks_are_given_to_local_askers_only() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    assert!(bench.befriend(Id([1; 20]), at("127.0.0.5:9")));
    assert!(bench.befriend(Id([2; 20]), at("7.7.7.7:9")));
    let find = Method::FindNode { target: HASH };
    let count = |bench: &mut Bench, from| bench.response(from, find.clone()).nodes.unwrap().len();
    assert_eq!(count(&mut bench, at("127.0.0.6:6")), 2);
    assert_eq!(count(&mut bench, at("9.9.9.9:9")), 1);
}

#[test]
fn both_families_are_given_to_askers_that_want_them() {
    let mut bench = Bench::new(&Family::ALL, Profile::Libtorrent);
    assert!(bench.befriend(Id([1; 20]), at("7.7.7.7:7")));
    assert!(bench.befriend(Id([2; 20]), at("[2a00::7]:7")));
    let four = bench.state.own(Family::V4).unwrap();
    assert_ne!(bench.state.own(Family::V6), Some(four), "an id for each");
    let find = Method::FindNode { target: HASH };
    for (from, want, nodes) in [
        ("9.9.9.9:9", Want::default(), (true, false)),
        ("[2a00::9]:9", Want::default(), (false, true)),
        ("9.9.9.9:9", Want { v4: true, v6: true }, (true, true)),
        (
            "9.9.9.9:9",
            Want {
                v4: false,
                v6: true,
            },
            (false, true),
        ),
    ] {
        let answers = bench.ask_wanting(at(from), find.clone(), want);
        let Body::Response(response) = &answers[0].body else {
            panic!("{answers:?}");
        };
        assert_eq!((response.nodes.is_some(), response.nodes6.is_some()), nodes);
        assert_eq!(answers[0].observed, Some(at(from)));
        assert_eq!(
            answers[0].version.as_deref(),
            Some(b"LT\x02\x08".as_slice())
        );
        let told: usize = [&response.nodes, &response.nodes6]
            .into_iter()
            .flatten()
            .map(Vec::len)
            .sum();
        assert_eq!(told, usize::from(nodes.0) + usize::from(nodes.1));
    }
}

#[test]
fn ten_thousand_forged_packets_a_second_are_mostly_dropped() {
    let mut bench = Bench::new(&[Family::V4], Profile::Transmission);
    let mut sent = 0;
    let begin = Instant::now();
    for number in 0..30_000_u32 {
        bench.now += Duration::from_micros(100);
        let from = SocketAddr::from(((0x0900_0000 + number * 7).to_be_bytes(), 9));
        let mut hello = *b"d1:ad2:id20:abcdefghij01234567899:info_hash20:abcdefghij0123456789e1:q9:get_peers1:t1:h1:y1:qe";
        hello[12..16].copy_from_slice(&number.to_be_bytes());
        let effects = bench.handle(Input::Packet(from, &hello));
        sent += effects.len();
    }
    println!(
        "30,000 packets took {:?}, {sent} answers and pings",
        begin.elapsed()
    );
    // A burst and 500 a second are answered, a burst and 5 a second pinged.
    assert!(sent <= 2_000 + 1_501 + 40 + 16, "{sent}");
    let status = bench.state.status(bench.now);
    assert!(status.pending <= 60, "{}", status.pending);
    assert_eq!(status.traffic.packets_in, 30_000);
}

proptest! {
    #[test]
    fn no_bytes_harm(seed: u64, mutations in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6)) {
        let mut bench = Bench::new(&Family::ALL, Profile::Transmission);
        bench.handle(Input::Command(Command::Watch(HASH, 5)));
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..20 {
            bench.now += Duration::from_millis(rng.random_range(0..3_000));
            let address = SocketAddr::from(([9, 9, rng.random_range(0..3), 9], rng.random_range(1..4)));
            let mut bytes = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe".to_vec();
            bytes[12..32].copy_from_slice(&rng.random::<[u8; 20]>());
            for (place, byte) in &mutations {
                let len = bytes.len();
                bytes[usize::from(*place) % len] ^= byte;
            }
            bench.handle(Input::Packet(address, &bytes));
            bench.handle(Input::Tick);
            prop_assert!(bench.state.next(bench.now) > bench.now);
        }
    }
}
