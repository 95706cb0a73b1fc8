#![allow(clippy::unwrap_used)]
use bitchat_wire::channel::ChannelId;
use proptest::prelude::*;

use super::*;

const UNIX: u64 = 1_800_000_000;

fn at(n: u16) -> SocketAddr {
    SocketAddr::from(([9, 9, (n >> 8) as u8, n as u8], 4_000))
}

fn keys(n: u8) -> EpochKeys {
    EpochKeys::derive(ChannelId([n; 32]), 0, &[n; 32])
}

fn tried(effects: &[Effect]) -> Vec<SocketAddr> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Try(address) => Some(*address),
            Effect::Look => None,
        })
        .collect()
}

#[test]
fn nothing_is_asked_or_tried_without_need() {
    let now = Instant::now();
    let mut state = State::new(Duration::from_secs(5));
    assert_eq!(state.handle(Input::Found(vec![at(1)]), &[], now, UNIX), []);
    assert_eq!(state.next(), None);
    assert_eq!(
        state.handle(Input::Wanting(true), &[], now, UNIX).len(),
        1,
        "a known address is tried"
    );
    let later = now + Duration::from_secs(5);
    assert_eq!(state.next(), Some(later));
    assert_eq!(state.handle(Input::Tick, &[], later, UNIX), [Effect::Look]);
    assert_eq!(state.next(), Some(later + PAUSES[0]));
    assert_eq!(state.handle(Input::Wanting(false), &[], later, UNIX), []);
    assert_eq!(state.next(), None);
    assert_eq!(
        state.handle(Input::Found(vec![at(2)]), &[], later, UNIX),
        []
    );
}

#[test]
fn members_of_one_channel_try_the_same_first() {
    let now = Instant::now();
    let all: Vec<SocketAddr> = (0..30).map(at).collect();
    let first = |channel: u8, mut named: Vec<SocketAddr>, turn: usize| {
        named.rotate_left(turn);
        let mut state = State::new(Duration::ZERO);
        let channels = [keys(channel)];
        state.handle(Input::Wanting(true), &channels, now, UNIX);
        tried(&state.handle(Input::Found(named), &channels, now, UNIX))
    };
    let one = first(1, all.clone(), 0);
    assert_eq!(one.len(), MAX_TRIES);
    assert_eq!(one, first(1, all.clone(), 17));
    assert_ne!(one, first(2, all, 0));
}

#[test]
fn one_that_is_of_no_use_makes_room_for_others() {
    let mut now = Instant::now();
    let mut state = State::new(Duration::ZERO);
    state.handle(Input::Wanting(true), &[], now, UNIX);
    let mut first = tried(&state.handle(Input::Found((0..6).map(at).collect()), &[], now, UNIX));
    while let Some(next) = first.pop() {
        first.extend(tried(&state.handle(
            Input::Tried(next, true),
            &[],
            now,
            UNIX,
        )));
    }
    let offered = |state: &State| {
        let phases = state.candidates.values();
        phases
            .filter(|one| matches!(one.phase, Phase::Offered(_)))
            .count()
    };
    assert_eq!(offered(&state), ENOUGH);
    now = state.next().unwrap();
    let more = state.handle(Input::Tick, &[], now, UNIX);
    assert_eq!(more[0], Effect::Look);
    assert_eq!(tried(&more).len(), 2, "the others' turn");
    assert_eq!(offered(&state), 0);
}

proptest! {
    #[test]
    fn strangers_cannot_make_us_try_many_addresses(
        found in proptest::collection::vec((0_u16..2_000, 1_u16..200), 1..20),
        answers in any::<bool>(),
    ) {
        let now = Instant::now();
        let mut state = State::new(Duration::ZERO);
        let channels = [keys(1)];
        let mut open = tried(&state.handle(Input::Wanting(true), &channels, now, UNIX));
        let mut all = open.len();
        for (start, count) in found {
            let named = (start..start + count).map(at).collect();
            let more = tried(&state.handle(Input::Found(named), &channels, now, UNIX));
            all += more.len();
            open.extend(more);
            prop_assert!(open.len() <= MAX_TRIES);
            prop_assert!(state.candidates.len() <= MAX_CANDIDATES);
            if let Some(done) = open.pop() {
                let more = tried(&state.handle(Input::Tried(done, answers), &channels, now, UNIX));
                all += more.len();
                open.extend(more);
            }
        }
        prop_assert!(all <= TRIES);
    }
}
