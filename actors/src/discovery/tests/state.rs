#![allow(clippy::unwrap_used)]
use std::{
    collections::HashSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitchat_wire::{channel::ChannelId, identity::IdentityId};
use libp2p_identity::PeerId;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    discovery::{
        Outcome, Provenance, Sighting,
        book::{LOST_PAUSE, MAX_CANDIDATES, MAX_FAILURES, Phase, STRANGER_TIME},
        budget::{FRESH, MAX_DIALS, MAX_FRESH},
        state::{Effect, HIGHER_WAITS, Input, OUTCOME_TIME, State},
    },
    transport::{DialError, Target},
};

const SECOND: Duration = Duration::from_secs(1);
const CID: ChannelId = ChannelId([1; 32]);
const OTHER: ChannelId = ChannelId([2; 32]);

fn peer(n: u8) -> PeerId {
    libp2p_identity::Keypair::ed25519_from_bytes([n; 32])
        .unwrap()
        .public()
        .to_peer_id()
}

fn identity(n: u8) -> IdentityId {
    bitchat_wire::identity::IdentityKey::from_seed(&[n; 32]).id()
}

/// The n-th public address.
fn address(n: u16) -> SocketAddr {
    SocketAddr::new([9, 9, (n >> 8) as u8, n as u8].into(), 7000)
}

/// A state on a clock that only the test moves.
struct Bench {
    state: State,
    now: Instant,
    rng: StdRng,
}

impl Bench {
    fn new(own: u8) -> Self {
        let mut bench = Self {
            state: State::new(peer(own)),
            now: Instant::now(),
            rng: StdRng::seed_from_u64(3),
        };
        assert_eq!(bench.on(Input::Want(CID)), []);
        assert_eq!(bench.on(Input::Want(OTHER)), []);
        bench
    }

    fn on(&mut self, event: Input) -> Vec<Effect> {
        let effects = self.state.handle(event, self.now, &mut self.rng);
        if let Some(next) = self.state.next(self.now) {
            assert!(next > self.now, "what is due was done");
        }
        effects
    }

    fn found(&mut self, addresses: &[SocketAddr]) -> Vec<Effect> {
        self.found_by(CID, addresses, false)
    }

    fn found_by(&mut self, cid: ChannelId, addresses: &[SocketAddr], local: bool) -> Vec<Effect> {
        self.on(Input::Sighted(
            cid,
            Sighting {
                peer: None,
                addresses: addresses.iter().map(|one| (*one).into()).collect(),
                source: Provenance::Tracker("http://t/announce".to_owned()),
                local,
                via: None,
            },
        ))
    }

    fn pex(&mut self, peer: Option<PeerId>, address: SocketAddr) -> Vec<Effect> {
        self.on(Input::Sighted(
            CID,
            Sighting {
                peer,
                addresses: vec![address.into()],
                source: Provenance::Pex,
                local: false,
                via: None,
            },
        ))
    }

    fn link(&mut self, n: u8, address: SocketAddr, dialled: bool) -> Vec<Effect> {
        self.on(Input::Outcome(
            CID,
            Outcome::Linked {
                identity: identity(n),
                peer: peer(n),
                address: address.into(),
                dialled,
            },
        ))
    }

    fn lose(&mut self, n: u8, address: SocketAddr) -> Vec<Effect> {
        self.on(Input::Outcome(
            CID,
            Outcome::Lost {
                identity: identity(n),
                peer: peer(n),
                address: address.into(),
            },
        ))
    }

    fn fail(&mut self, address: SocketAddr) -> Vec<Effect> {
        self.on(Input::Dialled(address.into(), Err(DialError::TimedOut)))
    }

    /// A dial reaches a stranger.
    fn refuse(&mut self, address: SocketAddr) {
        self.on(Input::Dialled(address.into(), Ok(peer(2))));
        self.on(Input::Outcome(
            CID,
            Outcome::Stranger {
                address: address.into(),
            },
        ));
    }

    /// Runs until there is an effect other than asking the sources; returns how long that took.
    fn wait(&mut self, limit: Duration) -> Option<(Duration, Vec<Effect>)> {
        let start = self.now;
        while let Some(next) = self.state.next(self.now) {
            if next > start + limit {
                break;
            }
            self.now = next;
            let mut effects = self.on(Input::Tick);
            effects.retain(|effect| !matches!(effect, Effect::Announce(_)));
            if !effects.is_empty() {
                return Some((self.now - start, effects));
            }
        }
        self.now = start + limit;
        None
    }
}

fn dial(address: SocketAddr) -> Effect {
    Effect::Dial(address.into(), None)
}

#[test]
fn dials_the_peers_of_a_tracker_at_once_and_hands_connections_over() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.found(&[address(1)]), [dial(address(1))]);
    bench.now += 2 * SECOND;
    let reached = bench.on(Input::Dialled(address(1).into(), Ok(peer(2))));
    assert_eq!(
        reached,
        [Effect::Reached {
            cid: CID,
            address: address(1).into(),
            source: Provenance::Tracker("http://t/announce".to_owned()),
            took: 2 * SECOND,
        }]
    );
    assert_eq!(
        bench.link(2, address(1), true),
        [Effect::Remember(CID, identity(2), address(1))]
    );
    assert_eq!(bench.found(&[address(1)]), [], "it is linked");
    assert_eq!(bench.state.counts(CID), Some((0, 0)));
}

#[test]
fn believes_local_addresses_of_local_sources_only() {
    let mut bench = Bench::new(1);
    let local = "127.0.0.1:7000".parse().unwrap();
    assert_eq!(bench.found(&[local]), []);
    assert_eq!(bench.pex(None, local), []);
    assert_eq!(bench.found_by(CID, &[local], true), [dial(local)]);
    let other: SocketAddr = "127.0.0.1:7001".parse().unwrap();
    let told = Sighting {
        peer: None,
        addresses: vec![other.into()],
        source: Provenance::Hand,
        local: false,
        via: None,
    };
    assert_eq!(bench.on(Input::Sighted(CID, told)), [dial(other)]);
}

#[test]
fn keeps_to_its_budget_and_dials_the_best_first() {
    let mut bench = Bench::new(1);
    let many: Vec<_> = (0..100).map(address).collect();
    let mut begun = bench.found(&many).len();
    assert_eq!(begun, MAX_FRESH);
    while begun < MAX_DIALS {
        let (pause, effects) = bench.wait(2 * SECOND).unwrap();
        assert_eq!((pause, effects.len()), (FRESH, MAX_FRESH));
        begun += effects.len();
    }
    bench.now += FRESH;
    assert_eq!(
        bench.on(Input::Tick),
        [],
        "all that are unanswered take the time-out"
    );
    assert_eq!(bench.on(Input::Cached(CID, vec![address(500)])), []);
    let next = bench.fail(address(0));
    // The order is undefined; the end of any one makes room for the cached one.
    if next.is_empty() {
        let dialled: Vec<_> = many
            .iter()
            .filter(|a| bench.state.budget.dials.contains_key(&Target::Direct(**a)))
            .copied()
            .collect();
        assert_eq!(bench.fail(dialled[0]), [dial(address(500))]);
    } else {
        assert_eq!(next, [dial(address(500))]);
    }
    assert_eq!(bench.state.budget.dials.len(), MAX_DIALS);
}

#[test]
fn fewer_attempts_begin_while_answers_are_slow() {
    let mut bench = Bench::new(1);
    for n in 0..20 {
        bench.found(&[address(n)]);
        bench.now += 5 * SECOND;
        bench.on(Input::Dialled(address(n).into(), Ok(peer(2))));
        bench.link(2, address(n), true);
        bench.lose(2, address(n));
    }
    assert!(
        bench.state.budget.fresh > 3 * FRESH,
        "{:?}",
        bench.state.budget.fresh
    );
    for n in 100..130 {
        bench.found(&[address(n)]);
        bench.on(Input::Dialled(address(n).into(), Ok(peer(3))));
    }
    assert!(
        bench.state.budget.fresh < 3 * FRESH,
        "{:?}",
        bench.state.budget.fresh
    );
}

#[test]
fn one_dial_serves_all_channels_that_want_an_address() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.found(&[address(1)]), [dial(address(1))]);
    assert_eq!(bench.found_by(OTHER, &[address(1)], false), []);
    let reached = bench.on(Input::Dialled(address(1).into(), Ok(peer(2))));
    let cids: HashSet<_> = reached
        .iter()
        .map(|effect| match effect {
            Effect::Reached { cid, .. } => *cid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cids, HashSet::from([CID, OTHER]));
}

#[test]
fn forgetting_gives_up_dials_that_no_other_channel_wants() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1), address(2)]);
    bench.found_by(OTHER, &[address(2)], false);
    assert_eq!(
        bench.on(Input::Forget(CID)),
        [Effect::GiveUp(address(1).into())]
    );
    assert_eq!(bench.state.counts(CID), None);
    assert_eq!(
        bench
            .on(Input::Dialled(address(2).into(), Ok(peer(2))))
            .len(),
        1
    );
    assert_eq!(bench.found(&[address(3)]), [], "not wanted any more");
}

#[test]
fn pauses_double_and_an_address_not_named_again_is_dropped() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1)]);
    let mut pauses = Vec::new();
    for _ in 1..MAX_FAILURES {
        assert_eq!(bench.fail(address(1)), []);
        let (pause, effects) = bench.wait(3_600 * SECOND).unwrap();
        assert_eq!(effects, [dial(address(1))]);
        pauses.push(pause);
    }
    for (n, pause) in pauses.iter().enumerate() {
        let whole = SECOND * (1 << n);
        assert!((whole / 2..=whole).contains(pause), "{n}: {pause:?}");
    }
    bench.fail(address(1));
    assert_eq!(bench.wait(3_600 * SECOND), None);
    assert_eq!(bench.state.counts(CID), Some((0, 0)));
}

#[test]
fn naming_an_address_again_does_not_hurry_it() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1)]);
    for _ in 0..MAX_FAILURES {
        bench.fail(address(1));
        assert_eq!(bench.found(&[address(1)]), []);
        assert_eq!(
            bench.wait(3_600 * SECOND).unwrap().1,
            [dial(address(1))],
            "it was named"
        );
    }
}

#[test]
fn the_lower_peer_dials_and_the_higher_waits_a_second() {
    let (low, high) = if peer(1) < peer(2) { (1, 2) } else { (2, 1) };
    let mut bench = Bench::new(low);
    let expected = Effect::Dial(address(1).into(), Some(peer(high)));
    assert_eq!(bench.pex(Some(peer(high)), address(1)), [expected]);
    assert_eq!(
        bench.pex(Some(peer(low)), address(2)),
        [],
        "that is ourselves"
    );

    let mut bench = Bench::new(high);
    assert_eq!(bench.pex(Some(peer(low)), address(1)), []);
    let expected = Effect::Dial(address(1).into(), Some(peer(low)));
    assert_eq!(bench.wait(9 * SECOND), Some((HIGHER_WAITS, vec![expected])));

    let mut bench = Bench::new(high);
    assert_eq!(bench.pex(Some(peer(low)), address(1)), []);
    bench.link(low, address(9), false);
    assert_eq!(
        bench.wait(9 * SECOND),
        None,
        "it came to us in the meantime"
    );
}

#[test]
fn another_peer_than_a_member_named_refutes_that_member_only() {
    let mut bench = Bench::new(1);
    bench.pex(Some(peer(2)), address(1));
    bench.now += HIGHER_WAITS;
    bench.on(Input::Tick);
    bench.on(Input::Dialled(address(1).into(), Err(DialError::OtherPeer)));
    assert_eq!(bench.state.counts(CID), Some((0, 0)));
    bench.found(&[address(2)]);
    bench.pex(Some(peer(2)), address(2));
    bench.on(Input::Dialled(address(2).into(), Err(DialError::OtherPeer)));
    assert_eq!(bench.wait(9 * SECOND).unwrap().1, [dial(address(2))]);
}

#[test]
fn an_address_of_the_user_may_refuse_us_once_and_is_tried_again() {
    let mut bench = Bench::new(1);
    let hint = Sighting {
        peer: None,
        addresses: vec![address(2).into()],
        source: Provenance::Hand,
        local: true,
        via: None,
    };
    assert_eq!(bench.on(Input::Sighted(CID, hint)), [dial(address(2))]);
    bench.refuse(address(2));
    assert_eq!(bench.wait(2 * SECOND).unwrap().1, [dial(address(2))]);
}

#[test]
fn a_peer_that_a_member_names_is_tried_again_and_again() {
    let mut bench = Bench::new(1);
    let hint = Sighting {
        peer: Some(peer(2)),
        addresses: vec![address(2).into()],
        source: Provenance::Pex,
        local: true,
        via: None,
    };
    let begun = bench.on(Input::Sighted(CID, hint));
    let mut effects = if begun.is_empty() {
        bench.wait(2 * SECOND).unwrap().1
    } else {
        begun
    };
    for _ in 0..5 {
        assert_eq!(effects, [Effect::Dial(address(2).into(), Some(peer(2)))]);
        bench.refuse(address(2));
        effects = bench.wait(60 * SECOND).unwrap().1;
    }
}

#[test]
fn strangers_and_we_ourselves_are_left_alone() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1), address(2)]);
    bench.on(Input::Dialled(address(1).into(), Err(DialError::Ourselves)));
    bench.refuse(address(2));
    assert_eq!(
        bench.wait(2 * SECOND).unwrap().1,
        [dial(address(2))],
        "a member that is busy or has just started refuses us, too"
    );
    bench.refuse(address(2));
    assert_eq!(bench.found(&[address(1), address(2)]), []);
    assert_eq!(
        bench.found_by(OTHER, &[address(1)], false),
        [],
        "own for all channels"
    );
    assert_eq!(
        bench.found_by(OTHER, &[address(2)], false),
        [dial(address(2))]
    );
    bench.fail(address(2));
    bench.on(Input::Forget(OTHER));
    bench.now += STRANGER_TIME;
    assert!(
        bench
            .found(&[address(1), address(2)])
            .contains(&dial(address(2)))
    );
}

#[test]
fn a_lost_member_is_dialled_at_once_and_often_for_ten_minutes() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1)]);
    bench.on(Input::Dialled(address(1).into(), Ok(peer(2))));
    bench.link(2, address(1), true);
    bench.now += 3_600 * SECOND;
    let effects = bench.lose(2, address(1));
    assert!(effects.contains(&dial(address(1))), "{effects:?}");
    assert!(effects.contains(&Effect::Announce(CID)), "{effects:?}");
    let lost = bench.now;
    while bench.now < lost + 590 * SECOND {
        bench.fail(address(1));
        let (pause, effects) = bench.wait(3_600 * SECOND).unwrap();
        assert_eq!(effects, [dial(address(1))]);
        assert!(pause <= LOST_PAUSE);
    }
    // A member that comes back as another peer is accepted.
    assert_eq!(
        bench
            .on(Input::Dialled(address(1).into(), Ok(peer(7))))
            .len(),
        1
    );
}

#[test]
fn on_another_network_everything_is_dialled_again() {
    let mut bench = Bench::new(1);
    assert_eq!(bench.found(&[address(1), address(2)]).len(), 2);
    bench.fail(address(1));
    let effects = bench.on(Input::Moved);
    assert!(
        effects.contains(&Effect::GiveUp(address(2).into())),
        "{effects:?}"
    );
    for n in [1, 2] {
        assert!(effects.contains(&dial(address(n))), "{effects:?}");
    }
}

#[test]
fn a_peer_that_tries_to_reach_us_is_dialled_at_once() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1)]);
    assert_eq!(
        bench.on(Input::Knocked(address(1))),
        [],
        "it is dialled already"
    );
    bench.fail(address(1));
    assert!(bench.state.is_sought(address(1)));
    assert_eq!(bench.on(Input::Knocked(address(1))), [dial(address(1))]);
    assert_eq!(bench.on(Input::Knocked(address(9))), [], "a stranger");
    assert!(!bench.state.is_sought(address(9)));
}

#[test]
fn other_ways_to_a_lost_member_are_tried_at_once() {
    let mut bench = Bench::new(1);
    let (works, fails) = (address(1), address(2));
    bench.pex(Some(peer(9)), fails);
    for _ in 0..MAX_FAILURES {
        bench.fail(fails);
        let next = bench.state.next(bench.now).unwrap();
        bench.now = bench.now.max(next);
        bench.on(Input::Tick);
        bench.pex(Some(peer(9)), fails);
    }
    bench.fail(fails);
    bench.link(9, works, false);
    bench.now += SECOND;
    let effects = bench.lose(9, works);
    for way in [works, fails] {
        let dials = |effect: &&Effect| matches!(effect, Effect::Dial(at, _) if *at == way.into());
        assert_eq!(effects.iter().filter(dials).count(), 1, "{way}");
    }
}

/// A circuit to the n-th peer, through the relay at an address.
fn circuit(n: u8, at: SocketAddr) -> Target {
    let relay = crate::transport::Relay {
        address: at,
        peer: peer(100),
    };
    Target::Circuit {
        relay,
        peer: peer(n),
    }
}

#[test]
fn circuits_to_an_ended_run_are_not_requested_again() {
    let mut bench = Bench::new(1);
    let (one, two) = (circuit(9, address(1)), circuit(9, address(2)));
    let link = |as_peer: u8, at: Target| {
        let outcome = Outcome::Linked {
            identity: identity(9),
            peer: peer(as_peer),
            address: at,
            dialled: true,
        };
        Input::Outcome(CID, outcome)
    };
    let dials = |effects: &[Effect], at: Target| {
        let dial = |effect: &&Effect| matches!(effect, Effect::Dial(to, _) if *to == at);
        effects.iter().filter(dial).count()
    };
    bench.on(link(9, one));
    bench.on(link(9, two));
    for at in [two, one] {
        let lost = Outcome::Lost {
            identity: identity(9),
            peer: peer(9),
            address: at,
        };
        let effects = bench.on(Input::Outcome(CID, lost));
        assert_eq!(dials(&effects, one), usize::from(at == one));
    }
    // The relay answers at once that the peer is gone.
    let refused = || {
        Err(DialError::Refused(
            "the peer is not at that relay".to_owned(),
        ))
    };
    let lost = bench.now;
    let mut count = 0;
    while bench.now < lost + 60 * SECOND {
        bench.on(Input::Dialled(one, refused()));
        bench.on(Input::Dialled(two, refused()));
        let (_, effects) = bench.wait(60 * SECOND).unwrap();
        count += dials(&effects, one);
    }
    assert!((15..=32).contains(&count), "{count} in a minute");
    // It is back as another peer; and at the relay's address another one answers.
    bench.on(link(8, Target::Direct(address(3))));
    bench.on(Input::Dialled(one, Err(DialError::OtherPeer)));
    bench.on(Input::Dialled(two, refused()));
    assert_eq!(bench.wait(3_600 * SECOND), None);
}

#[test]
fn a_member_with_another_link_is_not_lost() {
    let mut bench = Bench::new(1);
    bench.link(2, address(1), true);
    bench.link(2, address(1), true);
    assert_eq!(bench.lose(2, address(1)), []);
    assert_eq!(bench.wait(600 * SECOND), None);
    assert!(bench.lose(2, address(1)).contains(&dial(address(1))));
}

#[test]
fn an_incoming_members_address_is_dialled_when_it_is_lost() {
    let mut bench = Bench::new(1);
    assert_eq!(
        bench.link(2, address(1), false),
        [Effect::Remember(CID, identity(2), address(1))]
    );
    assert_eq!(bench.found(&[address(1)]), []);
    assert!(bench.lose(2, address(1)).contains(&dial(address(1))));
}

#[test]
fn a_second_address_of_a_linked_peer_is_recognised() {
    let mut bench = Bench::new(1);
    bench.link(2, address(1), true);
    bench.found(&[address(2)]);
    assert_eq!(bench.on(Input::Dialled(address(2).into(), Ok(peer(2)))), []);
    assert_eq!(bench.wait(600 * SECOND), None);
    let effects = bench.lose(2, address(1));
    for n in [1, 2] {
        assert!(effects.contains(&dial(address(n))), "both are tried again");
    }
}

#[test]
fn silence_about_a_connection_counts_as_failure() {
    let mut bench = Bench::new(1);
    bench.found(&[address(1)]);
    bench.on(Input::Dialled(address(1).into(), Ok(peer(2))));
    let (pause, effects) = bench.wait(60 * SECOND).unwrap();
    assert!(pause > OUTCOME_TIME);
    assert_eq!(effects, [dial(address(1))]);
}

#[test]
fn asks_the_sources_once_a_minute_while_members_are_missing() {
    let mut bench = Bench::new(1);
    bench.on(Input::Forget(OTHER));
    let mut asked = 0;
    for _ in 0..600 {
        bench.now += SECOND;
        asked += bench.on(Input::Tick).len();
    }
    assert_eq!(asked, 10);
    bench.link(2, address(1), true);
    assert_eq!(bench.state.next(bench.now), None, "nothing to wait for");
}

fn events() -> impl Strategy<Value = (u8, u16, u8, u64)> {
    (0u8..12, 0u16..400, 1u8..6, 0u64..30_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// For any inputs: the budget holds, no address is dialled twice at a time, nothing linked is dialled, books are
    /// bounded, and nothing that is due is left undone.
    #[test]
    fn holds_whatever_comes(steps in prop::collection::vec(events(), 1..200)) {
        let mut bench = Bench::new(1);
        let mut open: Vec<Target> = Vec::new();
        for (kind, n, who, ms) in steps {
            let cid = if n % 3 == 0 { OTHER } else { CID };
            let effects = match kind {
                0 => {
                    let many: Vec<_> = (n..n + 60).map(address).collect();
                    bench.found_by(cid, &many, false)
                }
                1 => bench.pex(Some(peer(who)), address(n)),
                2 => bench.on(Input::Cached(cid, vec![address(n)])),
                3 => bench.link(who, address(n), n % 2 == 0),
                4 => bench.lose(who, address(n)),
                5 => bench.on(Input::Outcome(cid, Outcome::Stranger { address: address(n).into() })),
                6 if n < 20 => bench.on(Input::Forget(cid)),
                7 if n < 200 => bench.on(Input::Want(cid)),
                8..=10 if !open.is_empty() => {
                    let address = open.swap_remove(usize::from(n) % open.len());
                    let result = match n % 7 {
                        0 => Err(DialError::TimedOut),
                        1 => Err(DialError::OtherPeer),
                        2 => Err(DialError::Refused("tls".to_owned())),
                        3 if n < 30 => Err(DialError::Ourselves),
                        _ => Ok(peer(who)),
                    };
                    bench.on(Input::Dialled(address, result))
                }
                _ => {
                    bench.now += Duration::from_millis(ms);
                    bench.on(Input::Tick)
                }
            };
            for effect in effects {
                match effect {
                    Effect::Dial(address, _) => {
                        prop_assert!(!open.contains(&address));
                        open.push(address);
                    }
                    Effect::GiveUp(address) => {
                        let place = open.iter().position(|other| *other == address);
                        open.swap_remove(place.unwrap());
                    }
                    _ => {}
                }
            }
            prop_assert!(open.len() <= MAX_DIALS);
            prop_assert_eq!(open.len(), bench.state.budget.dials.len());
            for channel in bench.state.channels.values() {
                prop_assert!(channel.book.candidates.len() <= MAX_CANDIDATES);
                for (address, candidate) in &channel.book.candidates {
                    if candidate.phase == Phase::Dialling {
                        prop_assert!(open.contains(address));
                    }
                }
            }
        }
    }
}
