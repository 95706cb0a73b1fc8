//! A node that a lookup has heard of.

use std::time::{Duration, Instant};

use super::{
    krpc::Node,
    network::{Host, Network},
};

/// A node that takes longer no longer holds up others; its answer still counts when it comes.
pub(super) const STALL: Duration = Duration::from_millis(1_200);

/// How far it is with a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    New,
    Asked(Instant),
    Answered(Option<AnnounceToken>),
    Failed,
}

/// What lets us announce to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AnnounceToken {
    pub(super) token: Vec<u8>,
    /// The port at which it says to see us.
    pub(super) port: Option<u16>,
}

/// A node that a lookup may ask, or has asked.
pub(super) struct Candidate {
    pub(super) node: Node,
    pub(super) host: Host,
    pub(super) network: Option<Network>,
    pub(super) valid: bool,
    /// Who alone named it; `None`: several did, or we knew it.
    pub(super) source: Option<Host>,
    /// Questions from us to it.
    pub(super) hops: usize,
    /// Which node that we began with led to it.
    pub(super) line: usize,
    pub(super) phase: Phase,
}

impl Candidate {
    /// It was asked, and seems to be gone.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Failed => true,
            Phase::Asked(at) => now.saturating_duration_since(at) >= STALL,
            _ => false,
        }
    }
}
