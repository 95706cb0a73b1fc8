//! `log`: the messages of a channel, and with `--follow` those that arrive.

use std::collections::HashSet;

use clap::Args;

use super::{
    super::{out::Out, target::OfChannel},
    text::Lines,
};
use crate::{
    api::chat::MAX_PAGE,
    client::{Client, Events},
    error::Failure,
    home::Home,
    shapes::{LogQuery, Message, MessageKind, StreamEvent, StreamQuery},
};

/// Messages per request: below [`MAX_PAGE`], so that an answer stays small even when messages are long.
const PAGE: usize = 250;

const LOG: &str = "\
Messages are shown in their current form: edited, deleted, with reactions. With --follow, a message that changes is
shown again.
Times are in UTC. Characters that could deceive a terminal are shown as escapes; `--json` prints them as they are.

Examples:
  bitchat log friends
  bitchat log friends --limit 20 --follow
  bitchat log friends --limit 100 --before EVENT_ID";

/// Read the messages of a channel
#[derive(Debug, Args)]
#[command(after_help = LOG)]
pub(in crate::cli) struct Log {
    #[command(flatten)]
    of: OfChannel,
    /// Keep printing messages as they arrive
    #[arg(long, conflicts_with = "before")]
    follow: bool,
    /// Only this many, the newest [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// Only messages before this event
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// Include events that are not messages: joins, names, departures
    #[arg(long)]
    all: bool,
    /// Show the beginning of each message's id, for reply, edit, delete and react
    #[arg(long)]
    ids: bool,
}

impl Log {
    pub(in crate::cli) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let mut printer = Printer {
            out,
            lines: if self.ids {
                Lines::with_ids()
            } else {
                Lines::default()
            },
        };
        if !self.follow {
            for message in self.read(&client).await? {
                printer.print(&message)?;
            }
            return Ok(());
        }
        // The stream first, then the log: what arrives in between is in both, and is recognized by its position.
        let mut events = self.events(&client, None).await?;
        let mut last = events.begin().await?;
        let mut printed = HashSet::new();
        for message in self.read(&client).await? {
            if message.position > last {
                printed.insert(message.position);
            }
            printer.print(&message)?;
        }
        loop {
            let Some(event) = events.next().await? else {
                // The stream broke off. It resumes where it was, if the node still runs, or runs again.
                events = self.events(&Client::of(home)?, Some(last)).await?;
                events.begin().await?;
                continue;
            };
            let StreamEvent::Message(message) = event else {
                continue;
            };
            last = last.max(message.position);
            let changes = matches!(
                message.kind,
                MessageKind::Edit | MessageKind::Delete | MessageKind::React
            );
            if changes && !self.all {
                if let Some(changed) = self.changed(home, &message).await? {
                    printer.print(&changed)?;
                }
                continue;
            }
            let wanted = self.all || message.kind == MessageKind::Text;
            if wanted && !printed.remove(&message.position) {
                printer.print(&message)?;
            }
        }
    }

    async fn events(&self, client: &Client, after: Option<u64>) -> Result<Events, Failure> {
        let query = StreamQuery {
            after,
            channel: Some(self.of.channel.clone()),
        };
        client.events(&query).await
    }

    /// The current form of the text that an edit, a deletion or a reaction applies to; `None` if it has no effect.
    async fn changed(&self, home: &Home, change: &Message) -> Result<Option<Message>, Failure> {
        let target = change.target.as_deref().unwrap_or_default();
        let client = Client::of(home)?;
        let shown = match client.message(&self.of.channel, target).await {
            Ok(shown) => shown,
            // The target has not arrived yet, or never will.
            Err(failure) if failure.code == "no_event" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let counts = change.kind == MessageKind::React || shown.author == change.author;
        Ok((counts && shown.kind == MessageKind::Text).then_some(shown))
    }

    /// Reads the part of the log that the arguments ask for, oldest first.
    async fn read(&self, client: &Client) -> Result<Vec<Message>, Failure> {
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut before = self.before.clone();
        // Newest page first.
        let mut pages: Vec<Vec<Message>> = Vec::new();
        while left > 0 {
            let size = left.min(PAGE).min(MAX_PAGE);
            let query = LogQuery {
                limit: Some(size),
                before,
                all: self.all,
            };
            let page = client.messages(&self.of.channel, &query).await?;
            left -= page.len().min(left);
            let full = page.len() >= size;
            before = page.first().map(|message| message.event_id.clone());
            pages.push(page);
            if !full {
                break;
            }
        }
        Ok(pages.into_iter().rev().flatten().collect())
    }
}

struct Printer {
    out: Out,
    lines: Lines,
}

impl Printer {
    fn print(&mut self, message: &Message) -> Result<(), Failure> {
        let lines = &mut self.lines;
        self.out.show(message, |message| lines.render(message))
    }
}
