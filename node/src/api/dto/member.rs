//! Members, and how they are reached.

use bitchat_actors::{channel::PathView, chat::MemberView, transport::PathKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::source::name_of;

/// Members.
#[derive(Serialize, ToSchema)]
pub struct Members {
    /// Oneself first.
    pub members: Vec<Member>,
}

/// A member.
#[derive(Serialize, ToSchema)]
pub struct Member {
    /// Bit Chat ID.
    pub id: String,
    /// As the member signed it; empty when unknown.
    pub name: String,
    /// The member's line about itself; empty when there is none.
    pub status: String,
    /// Whether there is a picture, at `/v1/channels/{ch}/members/{id}/picture`: the id of the event that
    /// holds it, which changes with it.
    pub picture: Option<String>,
    /// Heard typing in the last 10 seconds.
    pub typing: bool,
    /// Whether this is us.
    pub me: bool,
    /// Whether a link is up (oneself: yes).
    pub online: bool,
    /// How the member is reached; null for oneself and who is offline.
    pub path: Option<Path>,
    /// A device of this member signed two different events with one number.
    pub forked: bool,
}

impl Member {
    /// From the node's own words.
    pub fn new(m: MemberView) -> Self {
        Self {
            id: m.id.to_string(),
            name: m.name,
            status: m.status,
            picture: m.picture.map(|id| id.to_string()),
            typing: m.typing,
            me: m.me,
            online: m.online,
            path: m.path.as_ref().map(Path::new),
            forked: m.forked,
        }
    }
}

/// How a member is reached.
#[derive(Serialize, ToSchema)]
pub struct Path {
    /// `quic`, `tcp`, `proxy` or `relay`.
    pub kind: &'static str,
    /// The member's address.
    pub addr: String,
    /// The relay or proxy it goes through; null when it goes directly.
    pub via: Option<String>,
    /// Who found the address: `cache`, `dht`, `lan`, `pex`, `hand`, `incoming` or a tracker's URL; null when the member
    /// came to us.
    pub source: Option<String>,
    /// How long it took, in milliseconds: from the first word of the address, or the loss of the link there, to the
    /// connection; null when the member came to us.
    pub took_ms: Option<f64>,
    /// Round trip, in milliseconds.
    pub rtt_ms: f64,
}

impl Path {
    fn new(p: &PathView) -> Self {
        Self {
            kind: match p.kind {
                PathKind::Quic => "quic",
                PathKind::Tcp => "tcp",
                PathKind::Proxied => "proxy",
                PathKind::Relayed => "relay",
                _ => "unknown",
            },
            addr: p.address.to_string(),
            via: p.via.map(|relay| relay.address.to_string()),
            source: p.source.as_ref().map(name_of),
            took_ms: p.took.map(|took| took.as_secs_f64() * 1_000.0).map(round),
            rtt_ms: round(p.rtt_ms),
        }
    }
}

/// Microseconds are as fine as a time is known.
fn round(ms: f64) -> f64 {
    (ms * 1_000.0).round() / 1_000.0
}
