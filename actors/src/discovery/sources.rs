//! How each source of a channel's addresses does, in words that a user can act on. Pure.

use std::time::Instant;

use super::{DhtSource, book::Sightings};
use crate::{
    dht::{DhtState, Family},
    lan::LanStatus,
    tracker::{TrackerState, TrackerStatus},
};

/// A source of addresses, as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// The members of earlier runs.
    Cache,
    /// A tracker, by its URL.
    Tracker(String),
    /// The DHT of IPv4.
    DhtV4,
    /// The DHT of IPv6.
    DhtV6,
    /// The local network.
    Lan,
    /// Relays at which members meet.
    Relay,
    /// Addresses by hand.
    Hand,
    /// Members that are linked.
    Pex,
}

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceState {
    /// Not used.
    Off,
    /// Nothing is known yet.
    Waiting,
    /// It answered, or what it named led to a member.
    Working,
    /// It does not.
    Failing,
    /// Nobody answers there at all, and never did in this run, while other ways lead out: something on the way
    /// keeps us from it, or it is gone.
    Blocked,
}

/// The state of a source for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Which.
    pub kind: SourceKind,
    /// What it is doing.
    pub state: SourceState,
    /// When it answered last, or named somebody, or led to a member.
    pub last_success: Option<Instant>,
    /// When it is tried next; `None` while it is, and for those that nobody asks.
    pub next_try: Option<Instant>,
    /// Links that its addresses led to in this run.
    pub linked: usize,
    /// More, in plain words; may be empty.
    pub about: String,
}

/// The relays that a channel's file names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FileRelays {
    pub(super) named: usize,
    /// Those at which we have a place.
    pub(super) held: usize,
}

/// What is known of a channel's sources.
pub(super) struct Known<'a> {
    pub(super) trackers: &'a [TrackerStatus],
    pub(super) dht: Option<&'a DhtSource>,
    /// `None`: it is off.
    pub(super) lan: Option<&'a LanStatus>,
    pub(super) relays: FileRelays,
    pub(super) sightings: &'a Sightings,
}

/// All sources, the quickest first.
pub(super) fn judge(known: &Known<'_>) -> Vec<SourceStatus> {
    let seen = known.sightings;
    // Whether something answers that is out there, as opposed to a machine without a network.
    let leads_out = seen.links > 0
        || known
            .trackers
            .iter()
            .any(|tracker| tracker.state == TrackerState::Working)
        || known.dht.is_some_and(|dht| dht.state == DhtState::Working);
    let mut all = vec![cache(seen)];
    all.extend(
        known
            .trackers
            .iter()
            .map(|status| tracker(status, seen, leads_out)),
    );
    all.extend(Family::ALL.map(|family| dht(family, known.dht, seen, leads_out)));
    all.push(lan(known.lan, seen));
    all.push(relay(known.relays, seen));
    all.push(hand(seen));
    all.push(pex(seen));
    all
}

fn cache(seen: &Sightings) -> SourceStatus {
    let of = &seen.cache;
    let (state, about) = match (of.addresses, of.linked) {
        (_, 1..) => (SourceState::Working, String::new()),
        (0, _) => (SourceState::Waiting, "nobody is remembered yet".to_owned()),
        (_, 0) if of.failed == 0 => (SourceState::Waiting, "being tried".to_owned()),
        (addresses, 0) => (
            SourceState::Failing,
            format!("none of {addresses} remembered addresses answers"),
        ),
    };
    SourceStatus {
        kind: SourceKind::Cache,
        state,
        last_success: of.last,
        next_try: of.next,
        linked: of.linked,
        about,
    }
}

fn hand(seen: &Sightings) -> SourceStatus {
    let of = &seen.hand;
    let (state, about) = match (of.addresses, of.linked) {
        (_, 1..) => (SourceState::Working, String::new()),
        (0, _) => (SourceState::Off, "no address was given".to_owned()),
        (_, 0) if of.failed == 0 => (SourceState::Waiting, "being tried".to_owned()),
        (addresses, 0) => (
            SourceState::Failing,
            format!("no member answers at {addresses} addresses"),
        ),
    };
    SourceStatus {
        kind: SourceKind::Hand,
        state,
        last_success: of.last,
        next_try: of.next,
        linked: of.linked,
        about,
    }
}

fn pex(seen: &Sightings) -> SourceStatus {
    let of = &seen.pex;
    let (state, about) = if seen.links > 0 {
        (SourceState::Working, String::new())
    } else {
        (
            SourceState::Waiting,
            "helps once a member is linked".to_owned(),
        )
    };
    SourceStatus {
        kind: SourceKind::Pex,
        state,
        last_success: of.last,
        next_try: None,
        linked: of.linked,
        about,
    }
}

fn tracker(status: &TrackerStatus, seen: &Sightings, leads_out: bool) -> SourceStatus {
    let state = match status.state {
        TrackerState::Waiting => SourceState::Waiting,
        TrackerState::Working => SourceState::Working,
        TrackerState::Failing if status.silent && status.last_success.is_none() && leads_out => {
            SourceState::Blocked
        }
        TrackerState::Failing => SourceState::Failing,
        TrackerState::Unsupported => SourceState::Off,
    };
    let of = seen.trackers.get(&status.url);
    let error = status.error.clone().unwrap_or_default();
    let about = match state {
        SourceState::Working if error.is_empty() => format!("{} peers", status.peers),
        SourceState::Blocked => {
            format!("{error}; other ways out work: a firewall or provider may be in the way")
        }
        _ => error,
    };
    SourceStatus {
        kind: SourceKind::Tracker(status.url.clone()),
        state,
        last_success: status.last_success,
        next_try: status.next_announce,
        linked: of.map_or(0, |of| of.linked),
        about,
    }
}

fn dht(family: Family, dht: Option<&DhtSource>, seen: &Sightings, leads_out: bool) -> SourceStatus {
    let kind = match family {
        Family::V4 => SourceKind::DhtV4,
        Family::V6 => SourceKind::DhtV6,
    };
    let off = |about: &str| SourceStatus {
        kind: kind.clone(),
        state: SourceState::Off,
        last_success: None,
        next_try: None,
        linked: 0,
        about: about.to_owned(),
    };
    let Some(dht) = dht else {
        return off("");
    };
    let Some(nodes) = dht.nodes(family) else {
        return off(match family {
            Family::V4 => "no socket for IPv4",
            Family::V6 => "no socket for IPv6",
        });
    };
    let state = match dht.state {
        // One family may work while nobody answers in the other.
        DhtState::Working if nodes == 0 => SourceState::Waiting,
        DhtState::Working => SourceState::Working,
        DhtState::Failing if !dht.ever_answered && leads_out => SourceState::Blocked,
        DhtState::Failing => SourceState::Failing,
        DhtState::Waiting => SourceState::Waiting,
    };
    let about = match state {
        SourceState::Working => format!(
            "{nodes} nodes, announced to {}, {} peers",
            dht.announced_to, dht.peers
        ),
        SourceState::Waiting => "no node answers yet".to_owned(),
        SourceState::Blocked => {
            "no node answers; other ways out work: a firewall or provider may be in the way"
                .to_owned()
        }
        _ => "no node answers".to_owned(),
    };
    let works = nodes > 0;
    SourceStatus {
        kind,
        state,
        last_success: dht.last_success.filter(|_| works),
        next_try: dht.next_try,
        linked: if works { seen.dht.linked } else { 0 },
        about,
    }
}

fn lan(lan: Option<&LanStatus>, seen: &Sightings) -> SourceStatus {
    let (mut state, mut about) = (SourceState::Off, String::new());
    if let Some(lan) = lan {
        (state, about) = match (&lan.error, lan.networks, lan.heard) {
            (Some(error), 0, _) => (SourceState::Failing, error.clone()),
            (_, _, Some(_)) => (SourceState::Working, String::new()),
            (_, 0, None) => (SourceState::Waiting, String::new()),
            (_, _, None) => (
                SourceState::Waiting,
                "announced; no member was heard here".to_owned(),
            ),
        };
    }
    SourceStatus {
        kind: SourceKind::Lan,
        state,
        last_success: lan.and_then(|lan| lan.heard),
        next_try: lan
            .and_then(|lan| lan.next_try)
            .filter(|_| state == SourceState::Failing),
        linked: seen.lan.linked,
        about,
    }
}

fn relay(relays: FileRelays, seen: &Sightings) -> SourceStatus {
    let of = &seen.relay;
    let (state, about) = match relays {
        _ if of.last.is_some() => (SourceState::Working, String::new()),
        FileRelays { named: 0, .. } => (SourceState::Off, String::new()),
        // At most two are used.
        FileRelays { held: 0, named } => (
            SourceState::Waiting,
            format!(
                "none of the {named} relays that the channel's file names has a place for us yet"
            ),
        ),
        FileRelays { held, .. } => (
            SourceState::Working,
            format!("registered at {held}; no member was met there"),
        ),
    };
    SourceStatus {
        kind: SourceKind::Relay,
        state,
        last_success: of.last,
        next_try: None,
        linked: of.linked,
        about,
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
