#![allow(clippy::unwrap_used)]
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*};
use rand::{SeedableRng, rngs::StdRng};

use crate::tracker::{
    reply::{Answer, MAX_PEERS},
    udp::*,
};

const V4: &str = "192.0.2.1:80";

struct Bench {
    machine: Machine,
    rng: StdRng,
    now: Instant,
    to: SocketAddr,
}

impl Bench {
    fn new(to: &str) -> Self {
        Self {
            machine: Machine::default(),
            rng: StdRng::seed_from_u64(1),
            now: Instant::now(),
            to: to.parse().unwrap(),
        }
    }

    fn announce(&mut self, ask: Ask) -> Vec<Effect> {
        let body = Body::announce(vec![7; 82]);
        self.machine
            .announce(ask, self.to, body, self.now, &mut self.rng)
    }

    fn received(&mut self, parts: &[&[u8]]) -> Vec<Effect> {
        self.machine
            .received(self.to, &parts.concat(), self.now, &mut self.rng)
    }

    /// Sends the first announce, and is given connection id 9.
    fn connected(to: &str) -> (Self, Vec<u8>) {
        let mut bench = Self::new(to);
        let connect = sent(bench.announce(1));
        let announce = bench.received(&[&[0; 4], &connect[12..16], &9_u64.to_be_bytes()]);
        (bench, sent(announce))
    }
}

/// The only packet among the effects.
fn sent(effects: Vec<Effect>) -> Vec<u8> {
    match &effects[..] {
        [Effect::Send(_, packet)] => packet.clone(),
        other => panic!("{other:?}"),
    }
}

fn done(effects: Vec<Effect>) -> Result<Answer, UdpError> {
    match <[Effect; 1]>::try_from(effects).unwrap() {
        [Effect::Done(_, end)] => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_byte_for_byte_and_one_connection_id_for_a_minute() {
    let mut bench = Bench::new(V4);
    let connect = sent(bench.announce(1));
    assert_eq!(connect.len(), 16);
    assert_eq!(
        connect[..12],
        [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0]
    );
    assert_eq!(bench.announce(2), [], "the second waits for the same id");
    let effects = bench.received(&[&[0; 4], &connect[12..], &9_u64.to_be_bytes()]);
    let packets: Vec<_> = effects
        .into_iter()
        .map(|effect| sent(vec![effect]))
        .collect();
    assert_eq!(packets.len(), 2);
    for packet in &packets {
        assert_eq!(packet.len(), 98);
        assert_eq!(packet[..12], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
        assert_eq!(packet[16..], [7; 82]);
    }
    assert_ne!(packets[0][12..16], packets[1][12..16]);
    bench.now += Duration::from_secs(59);
    assert_eq!(sent(bench.announce(3)).len(), 98);
    bench.now += Duration::from_secs(2);
    assert_eq!(sent(bench.announce(4)).len(), 16);
}

#[test]
fn answers_of_both_families_and_refusals() {
    let (mut bench, announce) = Bench::connected(V4);
    let numbers = [0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2];
    let peer = [192, 0, 2, 9, 0x1a, 0xe1];
    // An incomplete rest is ignored.
    let effects = bench.received(&[&[0, 0, 0, 1], &announce[12..16], &numbers, &peer, &[1, 2]]);
    let answer = done(effects).unwrap();
    assert_eq!(answer.peers, ["192.0.2.9:6881".parse().unwrap()]);
    assert_eq!(answer.interval, Some(Duration::from_secs(1_800)));
    // A duplicate counts once.
    let again = bench.received(&[&[0, 0, 0, 1], &announce[12..16], &numbers]);
    assert_eq!(again, []);

    let (mut bench, announce) = Bench::connected("[2001:db8::1]:80");
    let mut peer = [0; 18];
    peer[..2].copy_from_slice(&[0x20, 1]);
    peer[17] = 9;
    let effects = bench.received(&[&[0, 0, 0, 1], &announce[12..16], &numbers, &peer]);
    assert_eq!(
        done(effects).unwrap().peers,
        ["[2001::]:9".parse().unwrap()]
    );

    let (mut bench, announce) = Bench::connected(V4);
    let effects = bench.received(&[&[0, 0, 0, 1], &announce[12..16]]);
    assert_eq!(done(effects), Err(UdpError::RefusedSilently));
    let (mut bench, announce) = Bench::connected(V4);
    let effects = bench.received(&[&[0, 0, 0, 3], &announce[12..16], b"not\n\x1b[31mhere"]);
    assert_eq!(
        done(effects),
        Err(UdpError::Refused("not [31mhere".to_owned()))
    );
    // After a refusal the id is requested again.
    assert_eq!(sent(bench.announce(2)).len(), 16);

    let mut bench = Bench::new(V4);
    let connect = sent(bench.announce(1));
    let effects = bench.received(&[&[0, 0, 0, 3], &connect[12..], b"busy"]);
    assert_eq!(done(effects), Err(UdpError::Refused("busy".to_owned())));
}

#[test]
fn datagrams_of_strangers_are_ignored() {
    let (mut bench, announce) = Bench::connected(V4);
    let answer = [&[0, 0, 0, 1], &announce[12..16], &[0; 12]].concat();
    for other in ["192.0.2.1:81", "192.0.2.2:80", "[2001:db8::1]:80"] {
        let other = other.parse().unwrap();
        let now = bench.now;
        let effects = bench.machine.received(other, &answer, now, &mut bench.rng);
        assert_eq!(effects, []);
    }
    let wrong = !u32::from_be_bytes(announce[12..16].try_into().unwrap());
    assert_eq!(
        bench.received(&[&[0, 0, 0, 1], &wrong.to_be_bytes(), &[0; 12]]),
        []
    );
    // An answer to the other request.
    assert_eq!(
        bench.received(&[&[0, 0, 0, 0], &announce[12..16], &[0; 8]]),
        []
    );
    assert!(done(bench.received(&[&answer])).is_ok());
}

#[test]
fn nothing_is_left_after_a_cancel_or_a_failed_send() {
    let mut bench = Bench::new(V4);
    assert_eq!(sent(bench.announce(1)).len(), 16);
    bench.machine.cancel(1);
    assert!(bench.machine.hosts.is_empty());
    // The request may be lost: the next announce sends its own.
    assert_eq!(sent(bench.announce(2)).len(), 16);
    let to = bench.to;
    assert_eq!(
        bench.machine.unreachable(to),
        [Effect::Done(2, Err(UdpError::Unreachable))]
    );
    assert!(bench.machine.hosts.is_empty());
    for n in 0..1_000_u16 {
        bench.to = SocketAddr::new([192, 0, 2, 1].into(), n + 1);
        bench.announce(u64::from(n));
        if n >= 32 {
            bench.machine.cancel(u64::from(n) - 32);
        }
    }
    assert!(bench.machine.hosts.len() <= MAX_HOSTS);
}

#[test]
fn scrapes_share_the_connection_id() {
    let (mut bench, announce) = Bench::connected(V4);
    let body = Body::scrape(&[[1; 20], [2; 20]]);
    let now = bench.now;
    let scrape = sent(
        bench
            .machine
            .announce(2, bench.to, body, now, &mut bench.rng),
    );
    assert_eq!(scrape.len(), 56);
    assert_eq!(scrape[..12], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2]);
    assert_eq!(scrape[16..], [[1; 20], [2; 20]].concat());
    let counted = bench.received(&[&[0, 0, 0, 2], &scrape[12..16], &[0; 24]]);
    assert_eq!(done(counted), Ok(Answer::default()));
    // A scrape's answer does not answer an announce.
    let wrong = bench.received(&[&[0, 0, 0, 2], &announce[12..16], &[0; 24]]);
    assert_eq!(done(wrong), Err(UdpError::RefusedSilently));
}

proptest! {
    #[test]
    fn hostile_datagrams_are_survived(
        datagrams in vec((0_u8..5, any::<bool>(), vec(any::<u8>(), 0..200)), 0..40), ipv6 in any::<bool>(),
    ) {
        let (mut bench, mut last) = Bench::connected(if ipv6 { "[2001:db8::1]:80" } else { V4 });
        let mut open = 1_usize;
        let mut next = 2;
        for (action, fitting, rest) in datagrams {
            let transaction = if fitting { last[12..16].to_vec() } else { vec![0; 4] };
            for effect in bench.received(&[&[0, 0, 0, action], &transaction, &rest]) {
                match effect {
                    Effect::Done(_, Ok(answer)) => { prop_assert!(answer.peers.len() <= MAX_PEERS); open -= 1; }
                    Effect::Done(..) => open -= 1,
                    Effect::Send(_, packet) => last = packet,
                }
            }
            if open == 0 {
                if let [Effect::Send(_, packet)] = &bench.announce(next)[..] { last.clone_from(packet); }
                next += 1;
                open = 1;
            }
        }
    }
}
