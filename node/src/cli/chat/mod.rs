//! `send`, `reply`, `edit`, `delete`, `react`, `search`, `typing`, `read` and `log`.

mod log;
mod text;

use std::io::Read as _;

use clap::Args;

pub(super) use self::log::Log;
use super::{
    out::{Out, line},
    target::{OfChannel, OfEvent},
};
use crate::{
    client::Client,
    error::Failure,
    home::Home,
    shapes::{NewMessage, NewReaction, NewText, ReadUpTo, SearchQuery},
};

/// The longest message, in bytes.
const TEXT_CAP: usize = 65_536;

const SEND: &str = "\
With --key the same command can be repeated safely, even after a crash: the message is sent once.

Examples:
  bitchat send friends \"Hello!\"
  bitchat send friends -- \"- a line that begins with a dash\"
  fortune | bitchat send friends -
  bitchat send friends \"backup done\" --key backup-2026-01-31";

const REPLY: &str = "\
EVENT is the message's id, or at least 6 digits of it that no other id begins with: `bitchat log --ids` shows them.

Examples:
  bitchat reply friends 3fa1b2c4 \"Me too!\"
  fortune | bitchat reply friends 3fa1b2c4 -";

const SEARCH: &str = "\
Every word must match a word of the message or its beginning; a phrase in double quotes must match exactly. Case and
accents do not matter. The last to arrive come first.

Examples:
  bitchat search dinner
  bitchat search friends '\"see you\" tomorrow'
  bitchat search friends dinner --limit 20 --before EVENT_ID";

/// Send a message to a channel
#[derive(Debug, Args)]
#[command(after_help = SEND)]
pub(super) struct Send {
    #[command(flatten)]
    of: OfChannel,
    /// The text, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub text: String,
    /// Send it only once, however often the command runs with this key
    #[arg(long)]
    pub key: Option<String>,
}

impl Send {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let message = NewMessage {
            text: typed(self.text)?,
            key: Some(key(self.key)),
            reply_to: None,
        };
        let sent = client.send(&self.of.channel, &message).await?;
        out.show(&sent, |sent| format!("sent ({})", sent.event_id))
    }
}

/// Reply to a message
#[derive(Debug, Args)]
#[command(after_help = REPLY)]
pub(super) struct Reply {
    #[command(flatten)]
    to: OfEvent,
    /// The text, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    text: String,
    /// Send it only once, however often the command runs with this key
    #[arg(long)]
    key: Option<String>,
}

impl Reply {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let message = NewMessage {
            text: typed(self.text)?,
            key: Some(key(self.key)),
            reply_to: Some(self.to.event),
        };
        let sent = client.send(&self.to.channel, &message).await?;
        out.show(&sent, |sent| format!("sent ({})", sent.event_id))
    }
}

/// Edit one of your messages
#[derive(Debug, Args)]
#[command(
    after_help = "Members see the new text, marked as edited.\n\nExample:\n  bitchat edit friends 3fa1b2c4 \"See you at nine!\""
)]
pub(super) struct Edit {
    #[command(flatten)]
    of: OfEvent,
    /// The new text, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    text: String,
    /// Edit it only once, however often the command runs with this key
    #[arg(long)]
    key: Option<String>,
}

impl Edit {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let new = NewText {
            text: typed(self.text)?,
            key: Some(key(self.key)),
        };
        let edited = client.edit(&self.of.channel, &self.of.event, &new).await?;
        out.show(&edited, |edited| format!("edited ({})", edited.target))
    }
}

/// Delete one of your messages
#[derive(Debug, Args)]
#[command(
    after_help = "Members hide it. Whoever has read it already has read it, and the signed event stays in their logs.\n\nExample:\n  bitchat delete friends 3fa1b2c4"
)]
pub(super) struct Delete {
    #[command(flatten)]
    of: OfEvent,
}

impl Delete {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let deleted = client.delete(&self.of.channel, &self.of.event).await?;
        out.show(&deleted, |deleted| format!("deleted ({})", deleted.target))
    }
}

/// React to a message with an emoji
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bitchat react friends 3fa1b2c4 👍\n  bitchat react friends 3fa1b2c4 👍 --remove"
)]
pub(super) struct React {
    #[command(flatten)]
    to: OfEvent,
    /// An emoji
    emoji: String,
    /// Remove the reaction
    #[arg(long)]
    remove: bool,
}

impl React {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let reaction = NewReaction {
            emoji: self.emoji,
            remove: self.remove,
        };
        let changed = client
            .react(&self.to.channel, &self.to.event, &reaction)
            .await?;
        out.show(&changed, |changed| match changed.event_id {
            Some(_) => format!("done ({})", changed.target),
            None => "nothing to change".to_owned(),
        })
    }
}

/// Search for messages by their words
#[derive(Debug, Args)]
#[command(override_usage = "bitchat search [OPTIONS] [CH] <QUERY>", after_help = SEARCH)]
pub(super) struct Search {
    /// The channel (all, if left out), and the words to search for
    #[arg(value_names = ["CH", "QUERY"], num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// At most this many [default: 50]
    #[arg(long)]
    limit: Option<usize>,
    /// Only messages that arrived before this event
    #[arg(long, value_name = "ID")]
    before: Option<String>,
}

impl Search {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let (channel, words) = match &self.words[..] {
            [channel, words] => (Some(channel), words),
            [words] => (None, words),
            _ => return Err(Failure::new("usage", "usage: bitchat search [CH] QUERY")),
        };
        let query = SearchQuery {
            q: words.clone(),
            channel: channel.cloned(),
            limit: self.limit,
            before: self.before,
        };
        let found = client.search(&query).await?;
        if out.json {
            return out.show_each(&found, |_| String::new());
        }
        if found.is_empty() {
            return line("nothing found");
        }
        let mut lines = text::Lines::with_ids();
        found
            .iter()
            .try_for_each(|message| line(&lines.render(message)))
    }
}

/// Notify the members of a channel that you are typing
#[derive(Debug, Args)]
#[command(
    after_help = "They are notified at most every 5 seconds, and see it for 10.\n\nExample:\n  bitchat typing friends"
)]
pub(super) struct Typing {
    #[command(flatten)]
    of: OfChannel,
}

impl Typing {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let typing = Client::of(home)?.typing(&self.of.channel).await?;
        out.show(&typing, |_| "members are notified".to_owned())
    }
}

/// Tell the members of a channel how far you have read
#[derive(Debug, Args)]
#[command(
    after_help = "Members are told only if the setting `read_marks` is on; it is off by default.\n\nExamples:\n  bitchat config set read_marks true\n  bitchat read friends 3fa1b2c4"
)]
pub(super) struct Read {
    #[command(flatten)]
    of: OfEvent,
}

impl Read {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let up_to = ReadUpTo {
            event: self.of.event,
        };
        let read = Client::of(home)?
            .mark_read(&self.of.channel, &up_to)
            .await?;
        out.show(&read, |read| {
            if read.told {
                "members are told".to_owned()
            } else {
                "members are not told: the setting `read_marks` is off, or they know already"
                    .to_owned()
            }
        })
    }
}

/// The text of an argument, or of standard input for `-`.
fn typed(text: String) -> Result<String, Failure> {
    let text = if text == "-" { from_stdin()? } else { text };
    check(text.len())?;
    Ok(text)
}

/// The given key or a random one, so that the request can be repeated if the connection breaks before the answer.
fn key(given: Option<String>) -> String {
    given.unwrap_or_else(|| format!("cli-{:032x}", rand::random::<u128>()))
}

fn check(len: usize) -> Result<(), Failure> {
    if len == 0 || len > TEXT_CAP {
        return Err(Failure::new(
            "bad_text",
            format!("a message has 1 to 65,536 bytes; this one has {len}"),
        ));
    }
    Ok(())
}

fn from_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        // One for the line break that is taken off, one to see that it is too long.
        .take(TEXT_CAP as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new("io", format!("cannot read standard input: {e}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > TEXT_CAP {
        return Err(Failure::new(
            "bad_text",
            "a message has 1 to 65,536 bytes; standard input has more",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::new("bad_text", "standard input is not UTF-8 text"))
}
