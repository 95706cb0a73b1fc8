//! The status of a source, which tells a user what works and what to do; and that of the sources that no actor stands
//! behind. Pure.

use std::time::Instant;

use crate::discovery::book::Tally;

/// A source of addresses, as shown to users.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// Addresses of members from earlier runs.
    Cache,
    /// A tracker, by its URL.
    Tracker(String),
    /// The DHT over IPv4.
    DhtV4,
    /// The DHT over IPv6.
    DhtV6,
    /// The local network.
    Lan,
    /// Relays at which members meet.
    Relay,
    /// Addresses that the user entered.
    Hand,
    /// Addresses that linked members send.
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
    /// It answered, or an address from it led to a member.
    Working,
    /// It did not answer, or no address from it led to a member.
    Failing,
    /// Nothing has answered there in this run, while other sources answer: a firewall keeps us from it, or it is
    /// gone.
    Blocked,
}

/// The state of a source for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The source.
    pub kind: SourceKind,
    /// What it is doing.
    pub state: SourceState,
    /// When it last answered, named an address, or led to a member.
    pub last_success: Option<Instant>,
    /// When it is tried next; `None` while it is being tried, and for sources that are not asked.
    pub next_try: Option<Instant>,
    /// Links made in this run through addresses from it.
    pub linked: usize,
    /// Details for the user; may be empty.
    pub about: String,
}

/// Addresses from earlier runs.
pub(super) fn cache(tally: &Tally) -> SourceStatus {
    let (state, about) = match (tally.addresses, tally.linked) {
        (_, 1..) => (SourceState::Working, String::new()),
        (0, _) => (
            SourceState::Waiting,
            "no address is remembered yet".to_owned(),
        ),
        (_, 0) if tally.failed == 0 => (SourceState::Waiting, "being tried".to_owned()),
        (addresses, 0) => (
            SourceState::Failing,
            format!("none of {addresses} remembered addresses answers"),
        ),
    };
    SourceStatus {
        kind: SourceKind::Cache,
        state,
        last_success: tally.last,
        next_try: tally.next,
        linked: tally.linked,
        about,
    }
}

/// Addresses that the user entered.
pub(super) fn hand(tally: &Tally) -> SourceStatus {
    let (state, about) = match (tally.addresses, tally.linked) {
        (_, 1..) => (SourceState::Working, String::new()),
        (0, _) => (SourceState::Off, "no address was given".to_owned()),
        (_, 0) if tally.failed == 0 => (SourceState::Waiting, "being tried".to_owned()),
        (addresses, 0) => (
            SourceState::Failing,
            format!("no member answers at {addresses} addresses"),
        ),
    };
    SourceStatus {
        kind: SourceKind::Hand,
        state,
        last_success: tally.last,
        next_try: tally.next,
        linked: tally.linked,
        about,
    }
}

/// Addresses that members send; `links`: those that are up.
pub(super) fn pex(tally: &Tally, links: usize) -> SourceStatus {
    let (state, about) = if links > 0 {
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
        last_success: tally.last,
        next_try: None,
        linked: tally.linked,
        about,
    }
}
