#![allow(clippy::unwrap_used)]
use std::{
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use rand::{SeedableRng, rngs::StdRng};

use crate::lan::{
    message::{Announce, MAX_TAGS, Message, TAG, question, read},
    state::*,
};

const SECOND: Duration = Duration::from_secs(1);
/// Noon of some day.
const UNIX: u64 = 1_900_000_000;

fn channel(n: u8) -> (ChannelId, EpochKeys) {
    let cid = ChannelId([n; 32]);
    (cid, EpochKeys::derive(cid, 0, &[n; 32]))
}

fn from(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 0, n].into(), PORT)
}

/// A node on clocks that only the test moves.
struct Bench {
    state: State,
    begin: Instant,
    now: Instant,
    unix: u64,
    rng: StdRng,
}

impl Bench {
    fn new(seed: u8, channels: &[u8]) -> Self {
        let (now, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed.into()));
        let mut bench = Self {
            state: State::new(7_000, now, &mut rng),
            begin: now,
            now,
            unix: UNIX,
            rng,
        };
        for n in channels {
            let (cid, keys) = channel(*n);
            assert_eq!(bench.on(Input::Watch(cid, Box::new(keys))), []);
        }
        bench
    }

    fn on(&mut self, input: Input<'_>) -> Vec<Effect> {
        let effects = self.state.handle(input, self.now, self.unix, &mut self.rng);
        if let Some(next) = self.state.next(self.now, self.unix) {
            assert!(next > self.now, "what is due was done");
        }
        effects
    }

    /// Runs for a while; returns what was sent and when, in seconds.
    fn go(&mut self, time: Duration) -> Vec<(f64, Message)> {
        let (end, mut said) = (self.now + time, Vec::new());
        while let Some(next) = self
            .state
            .next(self.now, self.unix)
            .filter(|next| *next <= end)
        {
            self.unix += next.saturating_duration_since(self.now).as_secs();
            self.now = next;
            for effect in self.on(Input::Tick) {
                let Effect::Send(bytes) = effect else {
                    panic!("{effect:?}")
                };
                let at = (self.now - self.begin).as_secs_f64();
                said.push((at, read(&bytes).unwrap()));
            }
        }
        self.unix += end.saturating_duration_since(self.now).as_secs();
        self.now = end;
        said
    }
}

fn announce(said: &[(f64, Message)]) -> Announce {
    let mut all = said.iter().filter_map(|(_, message)| match message {
        Message::Announces(all) => all.first().cloned(),
        Message::Question => None,
    });
    all.next_back().unwrap()
}

fn found(n: u8, at: SocketAddrV4) -> Effect {
    Effect::Found(channel(n).0, SocketAddrV4::new(*at.ip(), 7_000))
}

#[test]
fn announces_a_few_times_and_then_only_when_asked() {
    let mut bench = Bench::new(1, &[1, 2]);
    let said = bench.go(3_600 * SECOND);
    let times = |question: bool| -> Vec<f64> {
        let is = |m: &Message| (*m == Message::Question) == question;
        said.iter()
            .filter(|(_, m)| is(m))
            .map(|(at, _)| *at)
            .collect()
    };
    assert_eq!(times(true), [0.02, 1.02, 3.02]);
    assert_eq!(&times(false)[..2], [0.02, 1.02]);
    assert_eq!(announce(&said).tags.len(), 2);
    let begin = (bench.now - bench.begin).as_secs_f64();
    for _ in 0..100 {
        assert_eq!(bench.on(Input::Datagram(from(2), &question())), []);
    }
    let said = bench.go(60 * SECOND);
    assert_eq!(said.len(), 1, "one answer to all questions");
    assert!(
        (0.019..=0.121).contains(&(said[0].0 - begin)),
        "{}",
        said[0].0
    );
    bench.on(Input::Unwatch(channel(1).0));
    bench.on(Input::Unwatch(channel(2).0));
    bench.on(Input::Ask);
    assert!(bench.state.is_idle());
    assert!(bench.go(86_400 * SECOND).is_empty(), "nothing to say");
}

#[test]
fn members_find_each_other_and_no_others() {
    let (mut a, mut b) = (Bench::new(1, &[1, 2]), Bench::new(2, &[2, 3]));
    let (from_a, from_b) = (announce(&a.go(SECOND)), announce(&b.go(SECOND)));
    assert_eq!(
        a.on(Input::Datagram(from(2), &from_b.write())),
        [found(2, from(2))]
    );
    assert_eq!(
        b.on(Input::Datagram(from(1), &from_a.write())),
        [found(2, from(1))]
    );
    assert_eq!(
        a.on(Input::Datagram(from(1), &from_a.write())),
        [],
        "that was ourselves"
    );
    assert_eq!(
        a.on(Input::Datagram(from(2), &from_b.write())),
        [],
        "it was told just now"
    );
    let mut late = from(2);
    late.set_port(PORT + 1);
    a.go(REPORTED);
    assert_eq!(
        a.on(Input::Datagram(late, &from_b.write())),
        [],
        "from another port"
    );
    let goodbye = Announce {
        goodbye: true,
        ..from_b.clone()
    };
    assert_eq!(a.on(Input::Datagram(from(2), &goodbye.write())), []);
    assert_eq!(
        a.on(Input::Datagram(from(2), &from_b.write())),
        [found(2, from(2))]
    );
    assert_eq!(a.state.last_announced(channel(2).0), Some(Some(a.now)));
    assert_eq!(a.state.last_announced(channel(1).0), Some(None));
    // The datagrams of the two have nothing in common, though they share a channel.
    assert!(from_a.tags.iter().all(|tag| !from_b.tags.contains(tag)));
    assert_eq!(a.state.goodbye(a.unix).len(), 1);
}

#[test]
fn tags_change_daily_and_clocks_an_hour_apart_meet() {
    let (cid, keys) = channel(1);
    let mut seen: Vec<[u8; TAG]> = Vec::new();
    for minute in (0..3 * 1_440u64).step_by(20) {
        for apart in [0, 1_200, 3_600] {
            let (mut a, mut b) = (Bench::new(1, &[]), Bench::new(2, &[]));
            a.unix += minute * 60;
            b.unix += minute * 60 + apart;
            a.on(Input::Watch(cid, Box::new(keys.clone())));
            b.on(Input::Watch(cid, Box::new(keys.clone())));
            let (from_a, from_b) = (announce(&a.go(SECOND)), announce(&b.go(SECOND)));
            assert_eq!(
                a.on(Input::Datagram(from(2), &from_b.write())),
                [found(1, from(2))]
            );
            assert_eq!(
                b.on(Input::Datagram(from(1), &from_a.write())),
                [found(1, from(1))]
            );
            seen.extend(from_a.tags);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert!((4..=5).contains(&seen.len()), "one a day: {}", seen.len());
}

#[test]
fn a_change_of_tags_is_announced_at_its_moment() {
    let mut bench = Bench::new(1, &[1]);
    bench.go(10 * SECOND);
    let said = bench.go(86_400 * SECOND);
    let counts: Vec<usize> = said
        .iter()
        .map(|(_, message)| match message {
            Message::Announces(all) => all[0].tags.len(),
            Message::Question => panic!("a question"),
        })
        .collect();
    // In any order: two from an hour before, two at the change, one an hour after.
    assert_eq!(counts.len(), 6, "{counts:?}");
    assert_eq!(
        counts.iter().filter(|count| **count == 2).count(),
        4,
        "{counts:?}"
    );
}

#[test]
fn members_of_a_channel_that_never_rotates_meet_with_clocks_years_apart() {
    let cid = ChannelId([1; 32]);
    let keys = || {
        let hash = bitchat_wire::channel::RendezvousHash([9; 20]);
        Box::new(EpochKeys::derive(cid, 0, &[1; 32]).with_fixed_hash(hash))
    };
    let (mut one, mut other) = (Bench::new(1, &[]), Bench::new(2, &[]));
    other.unix = 0;
    one.on(Input::Watch(cid, keys()));
    other.on(Input::Watch(cid, keys()));
    let said = announce(&one.go(SECOND));
    assert_eq!(said.tags.len(), 1);
    let effects = other.on(Input::Datagram(from(7), &said.write()));
    assert_eq!(effects, [found(1, from(7))]);
}

#[test]
fn many_channels_take_more_announces_and_too_many_are_left_out() {
    let mut bench = Bench::new(1, &[]);
    for n in 0..500u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let cid = ChannelId(id);
        bench.on(Input::Watch(
            cid,
            Box::new(EpochKeys::derive(cid, 0, &[1; 32])),
        ));
    }
    let said = bench.go(Duration::from_millis(500));
    let sizes: Vec<usize> = said
        .iter()
        .filter_map(|(_, message)| match message {
            Message::Announces(all) => Some(all[0].tags.len()),
            Message::Question => None,
        })
        .collect();
    assert_eq!(sizes, [MAX_TAGS; MAX_PARTS]);
}

#[test]
fn a_flood_costs_little_and_invented_addresses_few_dials() {
    let mut bench = Bench::new(1, &[1]);
    let bytes = announce(&Bench::new(2, &[1]).go(SECOND)).write();
    let mut told = 0;
    for n in 0..100_000u32 {
        // Ten seconds of 10,000 a second.
        bench.now += Duration::from_micros(100);
        let ip = (u32::from_be_bytes([10, 0, 0, 0]) + n).into();
        told += bench
            .on(Input::Datagram(SocketAddrV4::new(ip, PORT), &bytes))
            .into_iter()
            .filter(|effect| matches!(effect, Effect::Found(..)))
            .count();
    }
    assert_eq!(told, MAX_REPORTED);
    assert!(bench.state.reported.len() <= MAX_REMEMBERED);
    bench.now += WINDOW;
    let effects = bench.on(Input::Datagram(from(9), &bytes));
    assert!(effects.contains(&found(1, from(9))), "it goes on after");
}
