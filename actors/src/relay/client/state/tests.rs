#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const UNIX: u64 = 1_800_000_000;

fn peer(n: u8) -> PeerId {
    let key = libp2p_identity::Keypair::ed25519_from_bytes([n.wrapping_add(1); 32]).unwrap();
    key.public().to_peer_id()
}

fn relay(n: u8) -> Relay {
    Relay {
        address: ([192, 0, 2, n], 443).into(),
        peer: peer(n),
    }
}

fn keys(n: u8) -> (ChannelId, Box<EpochKeys>) {
    let cid = ChannelId([n; 32]);
    (
        cid,
        Box::new(EpochKeys::derive(cid, 0, &[n.wrapping_add(7); 32])),
    )
}

struct Bench {
    state: State,
    now: Instant,
    rng: StdRng,
}

impl Bench {
    fn new() -> Self {
        Self {
            state: State::new(peer(200)),
            now: Instant::now(),
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn on(&mut self, input: Input) -> Vec<Effect> {
        self.state.handle(input, self.now, UNIX, &mut self.rng)
    }

    fn watch(&mut self, n: u8, relays: &[u8]) -> Vec<Effect> {
        let (cid, keys) = keys(n);
        self.on(Input::Watch(
            cid,
            keys,
            relays.iter().map(|n| relay(*n)).collect(),
        ))
    }

    fn failed(&mut self, n: u8) -> Vec<Effect> {
        self.on(Input::Ended(peer(n), None, Duration::ZERO))
    }
}

fn reserved(effects: &[Effect]) -> Vec<PeerId> {
    let peers = effects.iter().filter_map(|effect| match effect {
        Effect::Reserve(relay) => Some(relay.peer),
        _ => None,
    });
    peers.collect()
}

#[test]
fn a_node_that_needs_relays_holds_three_and_replaces_those_that_end() {
    let mut bench = Bench::new();
    for n in 0..5 {
        assert_eq!(bench.on(Input::Known(relay(n), Origin::Member)), []);
    }
    assert_eq!(bench.state.next(bench.now), None, "nothing is wanted");
    let first = reserved(&bench.on(Input::Needed(true)));
    assert_eq!(first.len(), RESERVATIONS);
    let effects = bench.on(Input::Reserved(first[0]));
    assert!(matches!(&effects[..], [Effect::Reachable(relays)] if relays[0].peer == first[0]));
    // One is refused, and another takes its place at once.
    let refused = Input::Ended(first[1], Some(Reason::Full), Duration::from_secs(30));
    let next = reserved(&bench.on(refused));
    assert_eq!(next.len(), 1);
    assert!(!first.contains(&next[0]));
    // The one that was held is lost.
    let effects = bench.on(Input::Ended(first[0], None, Duration::ZERO));
    assert_eq!(reserved(&effects).len(), 1);
    assert!(effects.contains(&Effect::Reachable(vec![])));
    // One that leaves is replaced, and not released.
    bench.on(Input::Reserved(first[2]));
    let effects = bench.on(Input::Leaving(first[2]));
    assert!(effects.contains(&Effect::Reachable(vec![])), "{effects:?}");
    assert!(!effects.contains(&Effect::Release(first[2])));
    bench.now += LONGEST_PAUSE;
    assert!(!reserved(&bench.on(Input::Tick)).is_empty());
    let released = bench.on(Input::Needed(false));
    assert!(
        released
            .iter()
            .all(|effect| matches!(effect, Effect::Release(_)))
    );
    assert_eq!(reserved(&bench.on(Input::Tick)), []);
}

#[test]
fn members_meet_at_the_same_relays_of_their_file() {
    let (mut one, mut other) = (Bench::new(), Bench::new());
    let relays = [1, 2, 3, 4, 5, 6];
    let mut there = reserved(&one.watch(1, &relays));
    let mut back = reserved(&other.watch(1, &[6, 5, 4, 3, 2, 1]));
    there.sort_unstable();
    back.sort_unstable();
    assert_eq!(there, back);
    assert_eq!(there.len(), MEETINGS);
    let effects = one.on(Input::Reserved(there[0]));
    let Some(Effect::Register(at, registered)) = effects.first() else {
        panic!("{effects:?}");
    };
    assert_eq!(*at, there[0]);
    let (cid, keys) = keys(1);
    let key = keys.relay_registration(&at.to_bytes(), keys.period(UNIX));
    assert!(registered.contains(&key));
    let met = |key| Input::Met(there[0], key, vec![peer(9), peer(200), there[0]]);
    let relay = one.state.held(&there[0]).unwrap();
    let circuit = Target::Circuit {
        relay,
        peer: peer(9),
    };
    assert_eq!(one.on(met(key)), [Effect::Found(cid, vec![circuit])]);
    assert_eq!(one.on(met([0; 32])), [], "a key that is not ours");
    // The first is gone for good: both move on to the same third one.
    for bench in [&mut one, &mut other] {
        bench.on(Input::Reserved(there[1]));
        bench.on(Input::Ended(there[0], None, Duration::ZERO));
        bench.now += Duration::from_secs(2);
        bench.on(Input::Tick);
    }
    let (a, b) = (one.on(Input::Ended(there[0], None, Duration::ZERO)), {
        other.on(Input::Ended(there[0], None, Duration::ZERO))
    });
    assert_eq!(reserved(&a), reserved(&b));
    assert_eq!(reserved(&a).len(), 1);
    let gone = one.on(Input::Unwatch(cid));
    assert!(gone.contains(&Effect::Release(there[1])), "{gone:?}");
}

#[test]
fn a_channel_that_never_rotates_registers_the_same_for_good() {
    let mut bench = Bench::new();
    let (cid, keys) = keys(1);
    let keys = keys.with_fixed_hash(bitchat_wire::channel::RendezvousHash([9; 20]));
    let relays = vec![relay(1)];
    let fixed = Box::new(keys.clone());
    bench.on(Input::Watch(cid, fixed, relays));
    let effects = bench.on(Input::Reserved(peer(1)));
    let key = keys.relay_registration(&peer(1).to_bytes(), 0);
    assert!(
        effects.contains(&Effect::Register(peer(1), [key].into())),
        "{effects:?}"
    );
    // Weeks later nothing is left to send.
    for day in 1..30 {
        let unix = UNIX + day * 86_400 + 3_599;
        let effects = bench
            .state
            .handle(Input::Tick, bench.now, unix, &mut bench.rng);
        let again = |effect: &Effect| matches!(effect, Effect::Register(..));
        assert!(!effects.iter().any(again), "{effects:?}");
    }
}

#[test]
fn public_relays_are_used_only_by_nodes_that_need_them() {
    let mut bench = Bench::new();
    bench.on(Input::Known(relay(1), Origin::Public));
    assert_eq!(bench.watch(1, &[]), []);
    let effects = bench.on(Input::Needed(true));
    assert_eq!(reserved(&effects), [peer(1)]);
    // Before members they have no precedence.
    let mut bench = Bench::new();
    for n in 0..5 {
        bench.on(Input::Known(relay(n), Origin::Public));
    }
    for n in 10..13 {
        bench.on(Input::Known(relay(n), Origin::Member));
    }
    let mut asked = reserved(&bench.on(Input::Needed(true)));
    asked.sort_unstable();
    let mut members: Vec<_> = (10..13).map(peer).collect();
    members.sort_unstable();
    assert_eq!(asked, members);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// In whatever order: bounds hold, nothing is asked of a relay that is asked or held, and it never spins.
    #[test]
    fn holds_whatever_comes(steps in proptest::collection::vec((0_u8..9, 0_u8..12, 0_u64..5_000), 0..200)) {
        let mut bench = Bench::new();
        let mut busy: HashSet<PeerId> = HashSet::new();
        for (step, n, ms) in steps {
            bench.now += Duration::from_millis(ms);
            let origin = [Origin::Member, Origin::Named, Origin::Public][usize::from(n) % 3];
            let effects = match step {
                0 | 1 => bench.on(Input::Known(relay(n), origin)),
                2 => bench.on(Input::Unknown(peer(n), origin)),
                3 => bench.on(Input::Needed(n > 3)),
                4 => bench.watch(n % 3, &[n, n / 2, n / 3]),
                5 => bench.on(Input::Unwatch(keys(n % 3).0)),
                6 if busy.contains(&peer(n)) => bench.on(Input::Reserved(peer(n))),
                7 if busy.remove(&peer(n)) => bench.failed(n),
                8 => bench.on(Input::Leaving(peer(n))),
                _ => bench.on(Input::Tick),
            };
            for effect in effects {
                match effect {
                    Effect::Reserve(relay) => prop_assert!(busy.insert(relay.peer)),
                    Effect::Release(peer) => prop_assert!(busy.remove(&peer)),
                    Effect::Register(peer, keys) => {
                        prop_assert!(busy.contains(&peer) && keys.len() <= MAX_KEYS);
                    }
                    Effect::Reachable(relays) => prop_assert!(relays.len() <= busy.len()),
                    Effect::Found(..) => {}
                }
            }
            // Those that leave are kept until they end.
            let staying = bench.state.known.values().filter(|known| {
                !matches!(known.phase, Phase::Idle(_)) && !known.leaving
            });
            prop_assert!(staying.count() <= MAX_HELD);
            prop_assert!(bench.state.next(bench.now).is_none_or(|next| next > bench.now));
        }
    }
}

#[test]
fn public_relays_are_wanted_if_there_are_no_others() {
    let mut bench = Bench::new();
    bench.on(Input::Needed(true));
    assert!(!bench.state.wants(), "there is no one to meet");
    bench.watch(1, &[]);
    assert!(bench.state.wants());
    bench.on(Input::Known(relay(1), Origin::Public));
    assert!(bench.state.wants(), "one is not enough");
    bench.on(Input::Known(relay(2), Origin::Public));
    assert!(!bench.state.wants());
    bench.failed(1);
    bench.failed(1);
    assert!(bench.state.wants(), "one is gone");
    bench.on(Input::Known(relay(3), Origin::Member));
    assert!(!bench.state.wants(), "members go before strangers");
    bench.on(Input::Unknown(peer(3), Origin::Member));
    assert!(bench.state.wants());
    bench.on(Input::Needed(false));
    assert!(!bench.state.wants());
}

#[test]
fn strangers_cannot_name_relays_without_end() {
    let mut bench = Bench::new();
    for n in 0..100 {
        bench.on(Input::Known(relay(n), Origin::Public));
    }
    assert_eq!(bench.state.known.len(), MOST_OFFERED);
    bench.on(Input::Known(relay(101), Origin::Named));
    assert_eq!(bench.state.known.len(), MOST_OFFERED + 1);
    // What never works is forgotten.
    for _ in 0..=FORGET {
        bench.failed(0);
    }
    bench.now += Duration::from_secs(3_600);
    bench.on(Input::Tick);
    assert!(!bench.state.known.contains_key(&peer(0)));
}
