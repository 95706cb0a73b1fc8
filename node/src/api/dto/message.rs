//! Messages, and what else a stream tells.

use bitchat_actors::chat::{DeliveryState, EventKind, EventView, Progress};
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
    /// `text`, `joined`, `profile`, `left`, `edit`, `delete`, `react`, `read`, `picture`, `status` or `unknown`.
    pub kind: &'static str,
    /// Of a text, what it says now (nothing when it was deleted); of an edit, what its target is to say; of a
    /// profile, the name; of a status, the line; of a `react`, all emoji of the author, with spaces between;
    /// else empty.
    pub text: String,
    /// Of a text: the id of the event that it answers.
    pub reply_to: Option<String>,
    /// Of a text: its author changed it.
    pub edited: bool,
    /// Of a text: its author took it back.
    pub deleted: bool,
    /// Of a text: what members feel about it, the earliest first.
    pub reactions: Vec<Reaction>,
    /// Of a text: the Bit Chat IDs of the members that it mentions.
    pub mentions: Vec<String>,
    /// Of `edit`, `delete` and `react`: the id of the text that they are about.
    pub target: Option<String>,
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
    /// Of these, how many say that they have read it.
    pub read: usize,
}

/// One emoji on a text.
#[derive(Serialize, ToSchema)]
pub struct Reaction {
    /// Which.
    pub emoji: String,
    /// How many feel so.
    pub count: usize,
    /// Their Bit Chat IDs, the earliest first.
    pub by: Vec<String>,
}

impl Message {
    /// From the node's own words.
    pub fn new(e: EventView) -> Self {
        let nothing = String::new;
        let (kind, text, target) = match e.kind {
            EventKind::Joined => ("joined", nothing(), None),
            EventKind::Text(text) => ("text", text, None),
            EventKind::Profile(name) => ("profile", name, None),
            EventKind::Left => ("left", nothing(), None),
            EventKind::Edit { target, text } => ("edit", text, Some(target)),
            EventKind::Delete { target } => ("delete", nothing(), Some(target)),
            EventKind::React { target, emoji } => ("react", emoji.join(" "), Some(target)),
            EventKind::Read => ("read", nothing(), None),
            EventKind::Picture => ("picture", nothing(), None),
            EventKind::Status(line) => ("status", line, None),
            _ => ("unknown", nothing(), None),
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
            },
            delivered: s.delivered,
            of: s.of,
            read: s.read,
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
    /// The event that it answers: its id, or 6 digits or more of it.
    #[serde(default)]
    pub reply_to: Option<String>,
}

/// What a text is to say from now on.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewText {
    /// 1 to 65,536 bytes.
    pub text: String,
    /// As in `NewMessage`.
    #[serde(default)]
    pub key: Option<String>,
}

/// A reaction to a text.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReaction {
    /// An emoji of 1 to 32 bytes.
    pub emoji: String,
    /// Take it away instead.
    #[serde(default)]
    pub remove: bool,
}

/// A change of a text that is on this node's disk.
#[derive(Serialize, ToSchema)]
pub struct Changed {
    /// The id of the event that says so; null when there was nothing to change.
    pub event_id: Option<String>,
    /// The id of the text.
    pub target: String,
}

/// How far the user has read.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadUpTo {
    /// The last event that was read: its id, or 6 digits or more of it.
    pub event: String,
}

/// Whether members are told how far the user has read.
#[derive(Serialize, ToSchema)]
pub struct ReadTold {
    /// False: the setting `read_marks` is off, or they know already.
    pub told: bool,
}

/// A channel whose members hear that the user is writing.
#[derive(Serialize, ToSchema)]
pub struct Typing {
    /// The channel's id.
    pub id: String,
}

/// Of a stream: a member is writing.
#[derive(Serialize, ToSchema)]
pub struct TypingEvent {
    /// The channel's id.
    pub channel: String,
    /// The member's Bit Chat ID.
    pub member: String,
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
