//! The events of the stream `/v1/events`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Message;

/// An event of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamEvent {
    /// Where the stream begins; sent once, before anything else.
    Position(Position),
    /// An event was stored.
    Message(Box<Message>),
    /// A member has received events of ours.
    Delivered(DeliveredEvent),
    /// A member came online or went offline.
    Member(MemberEvent),
    /// A member is typing.
    Typing(TypingEvent),
    /// A device signed two events with one number.
    Forked(ForkedEvent),
    /// The list of channels changed.
    Channels,
    /// Events other than messages were dropped, because the client was too slow: read the state again.
    Missed,
    /// An event that this version does not know.
    Unknown,
}

impl StreamEvent {
    /// The event's name in the stream.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Position(_) => "position",
            Self::Message(_) => "message",
            Self::Delivered(_) => "delivered",
            Self::Member(_) => "member",
            Self::Typing(_) => "typing",
            Self::Forked(_) => "forked",
            Self::Channels => "channels",
            Self::Missed => "missed",
            Self::Unknown => "unknown",
        }
    }

    /// The event's JSON.
    pub fn data(&self) -> serde_json::Result<String> {
        match self {
            Self::Position(data) => serde_json::to_string(data),
            Self::Message(data) => serde_json::to_string(data),
            Self::Delivered(data) => serde_json::to_string(data),
            Self::Member(data) => serde_json::to_string(data),
            Self::Typing(data) => serde_json::to_string(data),
            Self::Forked(data) => serde_json::to_string(data),
            Self::Channels | Self::Missed | Self::Unknown => Ok("{}".to_owned()),
        }
    }

    /// Reads an event from its name and its JSON.
    pub fn parse(name: &str, data: &str) -> serde_json::Result<Self> {
        Ok(match name {
            "position" => Self::Position(serde_json::from_str(data)?),
            "message" => Self::Message(serde_json::from_str(data)?),
            "delivered" => Self::Delivered(serde_json::from_str(data)?),
            "member" => Self::Member(serde_json::from_str(data)?),
            "typing" => Self::Typing(serde_json::from_str(data)?),
            "forked" => Self::Forked(serde_json::from_str(data)?),
            "channels" => Self::Channels,
            "missed" => Self::Missed,
            _ => Self::Unknown,
        })
    }
}

/// Of a stream: where it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Position {
    /// The newest position at that moment, or the one after which the stream resumes.
    pub position: u64,
}

/// Of a stream: a member has received all our events below a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeliveredEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
    /// The number of the first event that the member does not have yet.
    pub next: u64,
}

/// Of a stream: a member came online or went offline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
    /// Whether a link to the member is up now.
    pub online: bool,
}

/// Of a stream: a member is typing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TypingEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
}

/// Of a stream: a device signed two events with one number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ForkedEvent {
    /// The channel's id.
    pub channel: String,
    /// The Bit Chat ID of the device's owner.
    pub member: String,
}

/// The parameters of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// Resume after this position; `None` to start now.
    pub after: Option<u64>,
    /// Only events of this channel; `None` for all.
    pub channel: Option<String>,
}

impl StreamQuery {
    /// The parameters as name and value.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.after.map(|after| ("after", after.to_string())));
        pairs.extend(self.channel.clone().map(|channel| ("channel", channel)));
        pairs
    }
}
