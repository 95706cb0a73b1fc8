//! Messages: what a log holds, and the requests that send and change them.

use bitchat_actors::chat::{DeliveryState, EventKind, EventView, Progress};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::rfc3339;

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Messages {
    /// Oldest first; of a search, the last to arrive first.
    pub messages: Vec<Message>,
}

/// An event of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// The event's id, 64 hexadecimal digits.
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
    /// By the author's clock, but at most 5 minutes after the event arrived here.
    pub time: String,
    /// `text`, `joined`, `profile`, `left`, `edit`, `delete`, `react`, `read`, `picture`, `status` or `unknown`.
    #[schema(value_type = String)]
    pub kind: MessageKind,
    /// Of a text: its current wording, empty once deleted. Of an edit: the new wording of its target. Of a
    /// profile: the name. Of a status: the line. Of a `react`: all of the author's emoji, separated by spaces.
    /// Otherwise empty.
    pub text: String,
    /// Of a text: the id of the event that it replies to.
    pub reply_to: Option<String>,
    /// Of a text: whether its author edited it.
    pub edited: bool,
    /// Of a text: whether its author deleted it.
    pub deleted: bool,
    /// Of a text: the reactions to it, the earliest first.
    pub reactions: Vec<Reaction>,
    /// Of a text: the Bit Chat IDs of the members that it mentions.
    pub mentions: Vec<String>,
    /// Of `edit`, `delete` and `react`: the id of the text that they apply to.
    pub target: Option<String>,
    /// Delivery progress.
    pub state: State,
    /// Its place in the order of arrival at this node: the cursor of `/v1/events`.
    pub position: u64,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A text.
    Text,
    /// A device of the author joined the channel.
    Joined,
    /// The author's name.
    Profile,
    /// The author left the channel.
    Left,
    /// A text was edited.
    Edit,
    /// A text was deleted.
    Delete,
    /// The author's reactions to a text.
    React,
    /// A read mark.
    Read,
    /// The author's picture.
    Picture,
    /// The author's status line.
    Status,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Delivery progress of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct State {
    /// `waiting`, `sent` or `delivered`.
    pub progress: String,
    /// How many members other than the author have it.
    pub delivered: usize,
    /// How many members there are other than the author.
    pub of: usize,
    /// How many of these report that they have read it.
    pub read: usize,
}

/// One emoji on a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// How many members reacted with it.
    pub count: usize,
    /// Their Bit Chat IDs, the earliest first.
    pub by: Vec<String>,
}

impl Message {
    /// Converts the node's view of an event.
    pub fn new(e: EventView) -> Self {
        let nothing = String::new;
        let (kind, text, target) = match e.kind {
            EventKind::Joined => (MessageKind::Joined, nothing(), None),
            EventKind::Text(text) => (MessageKind::Text, text, None),
            EventKind::Profile(name) => (MessageKind::Profile, name, None),
            EventKind::Left => (MessageKind::Left, nothing(), None),
            EventKind::Edit { target, text } => (MessageKind::Edit, text, Some(target)),
            EventKind::Delete { target } => (MessageKind::Delete, nothing(), Some(target)),
            EventKind::React { target, emoji } => {
                (MessageKind::React, emoji.join(" "), Some(target))
            }
            EventKind::Read => (MessageKind::Read, nothing(), None),
            EventKind::Picture => (MessageKind::Picture, nothing(), None),
            EventKind::Status(line) => (MessageKind::Status, line, None),
            _ => (MessageKind::Unknown, nothing(), None),
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
            reply_to: e.reply_to.map(|id| id.to_string()),
            edited: e.edited,
            deleted: e.deleted,
            reactions: e
                .reactions
                .into_iter()
                .map(|reaction| Reaction {
                    emoji: reaction.emoji,
                    count: reaction.by.len(),
                    by: reaction.by.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            mentions: e.mentions.iter().map(ToString::to_string).collect(),
            target: target.map(|id| id.to_string()),
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
            }
            .to_owned(),
            delivered: s.delivered,
            of: s.of,
            read: s.read,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// 1 to 65,536 bytes.
    pub text: String,
    /// Idempotency key: sending again with the same key returns the first message's id.
    #[serde(default)]
    pub key: Option<String>,
    /// The event that it replies to: its id, or at least 6 digits of it.
    #[serde(default)]
    pub reply_to: Option<String>,
}

/// The new wording of a text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewText {
    /// 1 to 65,536 bytes.
    pub text: String,
    /// Idempotency key, as in `NewMessage`.
    #[serde(default)]
    pub key: Option<String>,
}

/// A reaction to a text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReaction {
    /// An emoji of 1 to 32 bytes.
    pub emoji: String,
    /// Whether to remove the reaction instead of adding it.
    #[serde(default)]
    pub remove: bool,
}

/// A message that is stored on this node's disk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sent {
    /// The event's id.
    pub event_id: String,
}

/// A change of a text that is stored on this node's disk.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// The id of the event that records the change; null when there was nothing to change.
    pub event_id: Option<String>,
    /// The id of the text.
    pub target: String,
}

/// The last event that the user has read.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadUpTo {
    /// The event's id, or at least 6 digits of it.
    pub event: String,
}

/// Whether a read mark was sent to the members.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadTold {
    /// False when the setting `read_marks` is off, or the members have that mark already.
    pub told: bool,
}

/// A channel whose members are notified that the user is typing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Typing {
    /// The channel's id.
    pub id: String,
}

/// The parameters of a page of the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogQuery {
    /// At most this many, the newest; `None` for the API's default.
    pub limit: Option<usize>,
    /// Only events before this one: its id, or at least 6 digits of it.
    pub before: Option<String>,
    /// Whether to include profiles and other events that are not conversation.
    #[serde(default)]
    pub all: bool,
}

impl LogQuery {
    /// The parameters as name and value.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("all", self.all.to_string())];
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.before.clone().map(|before| ("before", before)));
        pairs
    }
}

/// The parameters of a search.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Words, or phrases in double quotes.
    pub q: String,
    /// Only in this channel; `None` for all.
    pub channel: Option<String>,
    /// At most this many; `None` for the API's default.
    pub limit: Option<usize>,
    /// Only texts that arrived before this event.
    pub before: Option<String>,
}

impl SearchQuery {
    /// The parameters as name and value.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![("q", self.q.clone())];
        pairs.extend(self.channel.clone().map(|channel| ("channel", channel)));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.before.clone().map(|before| ("before", before)));
        pairs
    }
}
