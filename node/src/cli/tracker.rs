//! `channel tracker ...`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    out::{Out, text},
    render,
};
use crate::{client::Client, error::Failure, home::Home, term};

/// A channel's trackers.
#[derive(Debug, Subcommand)]
pub enum TrackerCommand {
    /// Announce to another tracker from now on
    #[command(
        after_help = "The others learn of it by the file that you give them: `bitchat channel export`.\n\nExample:\n  bitchat channel tracker add friends udp://tracker.example:6969/announce"
    )]
    Add {
        /// The channel's name, or a prefix of its id
        #[arg(value_name = "CH")]
        channel: String,
        /// http, https or udp
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Announce to that tracker no longer, and tell it so
    #[command(
        after_help = "Members whose files name it keep it.\n\nExample:\n  bitchat channel tracker remove friends udp://tracker.example:6969/announce"
    )]
    Remove {
        /// The channel's name, or a prefix of its id
        #[arg(value_name = "CH")]
        channel: String,
        /// As `channel info` shows it
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Have all trackers asked now, or one, instead of at their next time
    #[command(
        after_help = "At most once a minute and ten times an hour, and not more often than the tracker allows.\n\nExamples:\n  bitchat channel tracker announce-now friends\n  bitchat channel tracker announce-now friends udp://tracker.example:6969/announce"
    )]
    AnnounceNow {
        /// The channel's name, or a prefix of its id
        #[arg(value_name = "CH")]
        channel: String,
        /// That one alone, as `channel info` shows it
        #[arg(value_name = "URL")]
        url: Option<String>,
    },
}

pub(super) async fn run(home: &Home, command: TrackerCommand, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    match command {
        TrackerCommand::Add { channel, url } => {
            let path = ["v1", "channels", &channel, "trackers"];
            let request = client.post(&path, &json!({"url": url}))?;
            out.show(&client.json(request).await?, render::info)
        }
        TrackerCommand::Remove { channel, url } => {
            let path = ["v1", "channels", &channel, "trackers", &url];
            let request = client.request(Method::DELETE, &path)?;
            out.show(&client.json(request).await?, render::info)
        }
        TrackerCommand::AnnounceNow { channel, url } => {
            let path = ["v1", "channels", &channel, "announce"];
            let request = client.post(&path, &json!({"url": url}))?;
            out.show(&client.json(request).await?, |told| {
                announcing(told, &channel)
            })
        }
    }
}

fn announcing(told: &Value, channel: &str) -> String {
    let channel = term::inert(channel);
    match told["trackers"].as_u64().unwrap_or(0) {
        0 => format!(
            "{}: no tracker can be asked yet; `bitchat channel info {channel}` says when",
            text(told, "id")
        ),
        count => format!(
            "{}: asking {count} now; `bitchat channel info {channel}` shows what comes of it",
            text(told, "id")
        ),
    }
}
