//! Members, and the paths to them.

use bitchat_actors::{
    chat::MemberView,
    status::{PathKind, PathView},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::source::name_of;

/// The members of a channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Members {
    /// The user first.
    pub members: Vec<Member>,
}

/// A member of a channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Bit Chat ID.
    pub id: String,
    /// The name that the member signed; empty when unknown.
    pub name: String,
    /// The member's status line; empty when there is none.
    pub status: String,
    /// The id of the event that holds the member's picture, which changes with it; null when there is none. The
    /// picture is at `/v1/channels/{ch}/members/{id}/picture`.
    pub picture: Option<String>,
    /// Whether the member was typing within the last 10 seconds.
    pub typing: bool,
    /// Whether this is the user.
    pub me: bool,
    /// Whether a link is up; always true for the user.
    pub online: bool,
    /// The path to the member; null for the user and for members who are offline.
    pub path: Option<Path>,
    /// Whether a device of this member signed two different events with one number.
    pub forked: bool,
}

impl Member {
    /// Converts the node's view of a member.
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

/// The path to a member.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Path {
    /// `quic`, `tcp`, `proxy` or `relay`.
    pub kind: String,
    /// The member's address.
    pub addr: String,
    /// The address of the relay or proxy in between; null for a direct path.
    pub via: Option<String>,
    /// The source of the address: `cache`, `dht`, `lan`, `pex`, `hand`, `incoming` or a tracker's URL; null when the
    /// member connected to us.
    pub source: Option<String>,
    /// Milliseconds from first learning the address, or from losing the link there, to the connection; null when the
    /// member connected to us.
    pub took_ms: Option<f64>,
    /// Round-trip time, in milliseconds.
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
            }
            .to_owned(),
            addr: p.address.to_string(),
            via: p.via.map(|relay| relay.address.to_string()),
            source: p.source.as_ref().map(name_of),
            took_ms: p.took.map(|took| took.as_secs_f64() * 1_000.0).map(round),
            rtt_ms: round(p.rtt_ms),
        }
    }
}

/// Rounds to microseconds, the precision of the measurement.
fn round(ms: f64) -> f64 {
    (ms * 1_000.0).round() / 1_000.0
}
