#![allow(clippy::unwrap_used)]
use std::time::Instant;

use crate::{
    dht::DhtState,
    discovery::{
        book::{Tallies, Tally},
        source::{
            self, DhtChannelStatus, SourceKind, SourceState, SourceStatus, dht::DhtReport,
            lan::LanReport, relay::RelayReport, tracker::TrackerReport,
        },
    },
    lan::LanStatus,
    tracker::{TrackerState, TrackerStatus},
};

/// What the sources report of one channel.
struct Known<'a> {
    trackers: &'a [TrackerStatus],
    dht: Option<&'a DhtChannelStatus>,
    lan: Option<&'a LanStatus>,
    relays: RelayReport,
    tallies: &'a Tallies,
}

fn judge(known: &Known<'_>) -> Vec<SourceStatus> {
    let reports: Vec<Box<dyn source::Report>> = vec![
        Box::new(TrackerReport(known.trackers.to_vec())),
        Box::new(DhtReport(known.dht.cloned())),
        Box::new(LanReport(known.lan.cloned())),
        Box::new(known.relays),
    ];
    source::judge(reports, known.tallies).sources
}

fn tracker_status(url: &str, state: TrackerState, silent: bool) -> TrackerStatus {
    let works = state == TrackerState::Working;
    TrackerStatus {
        url: url.to_owned(),
        tier: 0,
        state,
        peers: 3,
        next_announce: None,
        last_success: works.then(Instant::now),
        silent,
        error: (!works).then(|| "refused the connection".to_owned()),
    }
}

fn dht_source(state: DhtState, good: usize) -> DhtChannelStatus {
    DhtChannelStatus {
        state,
        announced_to: 8,
        peers: 2,
        last_success: None,
        next_try: None,
        nodes: [Some(good), None],
        ever_answered: good > 0,
    }
}

fn verdict(known: &Known<'_>) -> Vec<(SourceKind, SourceState)> {
    let all = judge(known);
    all.into_iter().map(|one| (one.kind, one.state)).collect()
}

fn of(known: &Known<'_>, kind: &SourceKind) -> SourceState {
    let all = verdict(known);
    all.iter().find(|(other, _)| other == kind).unwrap().1
}

#[test]
fn sources_that_are_off_or_unused_are_shown_as_such() {
    let seen = Tallies::default();
    let known = Known {
        trackers: &[],
        dht: None,
        lan: None,
        relays: RelayReport::default(),
        tallies: &seen,
    };
    assert_eq!(
        verdict(&known),
        [
            (SourceKind::Cache, SourceState::Waiting),
            (SourceKind::DhtV4, SourceState::Off),
            (SourceKind::DhtV6, SourceState::Off),
            (SourceKind::Lan, SourceState::Off),
            (SourceKind::Relay, SourceState::Off),
            (SourceKind::Hand, SourceState::Off),
            (SourceKind::Pex, SourceState::Waiting),
        ]
    );
}

#[test]
fn silence_counts_as_blocked_only_if_something_else_gets_through() {
    let silent = tracker_status("http://a/announce", TrackerState::Failing, true);
    let rude = tracker_status("http://b/announce", TrackerState::Failing, false);
    let works = tracker_status("http://c/announce", TrackerState::Working, false);
    let kind = |status: &TrackerStatus| SourceKind::Tracker(status.url.clone());
    let dht = dht_source(DhtState::Failing, 0);
    let seen = Tallies::default();
    let nothing_works = [silent.clone(), rude.clone()];
    let known = Known {
        trackers: &nothing_works,
        dht: Some(&dht),
        lan: None,
        relays: RelayReport::default(),
        tallies: &seen,
    };
    assert_eq!(
        of(&known, &kind(&silent)),
        SourceState::Failing,
        "we may be offline"
    );
    assert_eq!(of(&known, &SourceKind::DhtV4), SourceState::Failing);

    let all = [silent.clone(), rude.clone(), works.clone()];
    let known = Known {
        trackers: &all,
        ..known
    };
    assert_eq!(of(&known, &kind(&silent)), SourceState::Blocked);
    assert_eq!(
        of(&known, &kind(&rude)),
        SourceState::Failing,
        "it did answer"
    );
    assert_eq!(of(&known, &kind(&works)), SourceState::Working);
    assert_eq!(of(&known, &SourceKind::DhtV4), SourceState::Blocked);
    assert_eq!(
        of(&known, &SourceKind::DhtV6),
        SourceState::Off,
        "no socket"
    );

    let linked = Tallies {
        links: 1,
        ..Tallies::default()
    };
    let known = Known {
        trackers: &nothing_works,
        tallies: &linked,
        ..known
    };
    assert_eq!(of(&known, &kind(&silent)), SourceState::Blocked);
    assert_eq!(of(&known, &SourceKind::Pex), SourceState::Working);
    let once = TrackerStatus {
        last_success: Some(Instant::now()),
        ..silent.clone()
    };
    let all = [once];
    let known = Known {
        trackers: &all,
        ..known
    };
    assert_eq!(
        of(&known, &kind(&silent)),
        SourceState::Failing,
        "it answered before"
    );
    let dht = dht_source(DhtState::Working, 20);
    let known = Known {
        dht: Some(&dht),
        ..known
    };
    assert_eq!(of(&known, &SourceKind::DhtV4), SourceState::Working);
}

#[test]
fn remembered_and_given_addresses_are_judged_by_what_they_led_to() {
    let mut seen = Tallies::default();
    let mut states = Vec::new();
    let mut next = |tally: Tally| {
        (seen.cache, seen.hand) = (tally.clone(), tally);
        let known = Known {
            trackers: &[],
            dht: None,
            lan: None,
            relays: RelayReport::default(),
            tallies: &seen,
        };
        assert_eq!(
            of(&known, &SourceKind::Cache),
            of(&known, &SourceKind::Hand)
        );
        states.push(of(&known, &SourceKind::Cache));
    };
    let mut tally = Tally {
        addresses: 2,
        ..Tally::default()
    };
    next(tally.clone());
    tally.failed = 2;
    next(tally.clone());
    tally.linked = 1;
    next(tally);
    assert_eq!(
        states,
        [
            SourceState::Waiting,
            SourceState::Failing,
            SourceState::Working
        ]
    );
}

#[test]
fn the_local_network_works_when_a_member_was_found() {
    let seen = Tallies::default();
    let state = |lan: &LanStatus| {
        let known = Known {
            trackers: &[],
            dht: None,
            lan: Some(lan),
            relays: RelayReport::default(),
            tallies: &seen,
        };
        of(&known, &SourceKind::Lan)
    };
    let mut lan = LanStatus {
        networks: 1,
        ..LanStatus::default()
    };
    assert_eq!(state(&lan), SourceState::Waiting);
    lan.last_announce = Some(Instant::now());
    assert_eq!(state(&lan), SourceState::Working);
    lan.networks = 0;
    lan.error = Some("there is none".to_owned());
    assert_eq!(state(&lan), SourceState::Failing);
}

#[test]
fn relays_work_when_one_has_a_place_for_us_or_a_member_was_met_there() {
    let mut seen = Tallies::default();
    let state = |named, held, seen: &Tallies| {
        let known = Known {
            trackers: &[],
            dht: None,
            lan: None,
            relays: RelayReport { named, held },
            tallies: seen,
        };
        of(&known, &SourceKind::Relay)
    };
    assert_eq!(state(0, 0, &seen), SourceState::Off);
    assert_eq!(state(3, 0, &seen), SourceState::Waiting);
    assert_eq!(state(3, 2, &seen), SourceState::Working);
    seen.relay.last = Some(Instant::now());
    // It was met at a relay that the file does not name.
    assert_eq!(state(0, 0, &seen), SourceState::Working);
}
