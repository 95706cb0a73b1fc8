//! Messages, and what else a stream tells.

use bitchat_actors::channel::{DeliveryState, EventKind, EventView, Progress};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::rfc3339;

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub struct Messages {
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// An event of a log.
#[derive(Serialize, ToSchema)]
pub struct Message {
    /// Its id, 64 hexadecimal digits.
    pub event_id: String,
    /// The channel's id.
    pub channel: String,
    /// The author's Bit Chat ID.
    pub author: String,
    /// The author's name, as signed; empty when unknown.
    pub name: String,
    /// The author's device, 64 hexadecimal digits.
    pub device: String,
    /// Its number in that device's log.
    pub seq: u64,
    /// Lamport time: the order of the log is (lamport, device, seq).
    pub lamport: u64,
    /// By the author's clock, but never more than 5 minutes after it arrived here.
    pub time: String,
    /// `text`, `joined`, `profile`, `left` or `unknown`.
    pub kind: &'static str,
    /// What was said; of a profile, the name; else empty.
    pub text: String,
    /// How far it has come.
    pub state: State,
    /// Its place in the order of arrival here: the cursor of `/v1/events`.
    pub position: u64,
}

/// How far a message has come.
#[derive(Serialize, ToSchema)]
pub struct State {
    /// `waiting`, `sent` or `delivered`.
    pub progress: &'static str,
    /// Members other than the author that have it.
    pub delivered: usize,
    /// Members other than the author.
    pub of: usize,
}

impl Message {
    /// From the node's own words.
    pub fn new(e: EventView) -> Self {
        let (kind, text) = match e.kind {
            EventKind::Joined => ("joined", String::new()),
            EventKind::Text(text) => ("text", text),
            EventKind::Profile(name) => ("profile", name),
            EventKind::Left => ("left", String::new()),
            _ => ("unknown", String::new()),
        };
        Self {
            event_id: hex::encode(e.id.0),
            channel: e.cid.to_string(),
            author: e.author.to_string(),
            name: e.author_name,
            device: hex::encode(e.device.as_bytes()),
            seq: e.seq,
            lamport: e.lamport,
            time: rfc3339(e.time_ms),
            kind,
            text,
            state: State::new(e.state),
            position: e.position,
        }
    }
}

impl State {
    fn new(s: DeliveryState) -> Self {
        Self {
            progress: match s.progress {
                Progress::Waiting => "waiting",
                Progress::Sent => "sent",
                Progress::Delivered => "delivered",
            },
            delivered: s.delivered,
            of: s.of,
        }
    }
}

/// A line to be said.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// 1 to 65,536 bytes.
    pub text: String,
    /// Saying it again with the same key returns the first one's id.
    #[serde(default)]
    pub key: Option<String>,
}

/// A line that is on this node's disk.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// Its id.
    pub event_id: String,
}

/// Of a stream: where it begins.
#[derive(Serialize, ToSchema)]
pub struct Position {
    /// The newest position at that moment, or that from which the stream goes on.
    pub position: u64,
}

/// Of a stream: a member has all our events below a number.
#[derive(Serialize, ToSchema)]
pub struct DeliveredEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
    /// All below this number.
    pub next: u64,
}

/// Of a stream: a member came or went.
#[derive(Serialize, ToSchema)]
pub struct MemberEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
    /// Came or went.
    pub online: bool,
}

/// Of a stream: a device signed two events with one number.
#[derive(Serialize, ToSchema)]
pub struct ForkedEvent {
    /// The channel's id.
    pub channel: String,
    /// The Bit Chat ID of the device's owner.
    pub member: String,
}
