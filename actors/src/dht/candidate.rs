//! The nodes that a lookup knows.

use std::time::{Duration, Instant};

use super::{
    krpc::Node,
    network::{Host, Network},
};

/// A node that takes longer does not hold up others any more; its answer still counts when it comes.
pub(super) const STALL: Duration = Duration::from_millis(1_200);

/// The state of a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    New,
    Asked(Instant),
    Answered(Option<AnnounceToken>),
    Failed,
}

/// What an announce to a node needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AnnounceToken {
    pub(super) token: Vec<u8>,
    /// The port at which it sees us.
    pub(super) port: Option<u16>,
}

/// A node that a lookup may query, or has queried.
pub(super) struct Candidate {
    pub(super) node: Node,
    pub(super) host: Host,
    pub(super) network: Option<Network>,
    pub(super) valid: bool,
    /// The only host that named it; `None` if several did, or if we knew it.
    pub(super) source: Option<Host>,
    /// Queries in a row from us to it.
    pub(super) hops: usize,
    /// The starting node that led to it.
    pub(super) line: usize,
    pub(super) phase: Phase,
}

impl Candidate {
    /// Whether it was queried and seems to be gone.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Failed => true,
            Phase::Asked(at) => now.saturating_duration_since(at) >= STALL,
            _ => false,
        }
    }
}
