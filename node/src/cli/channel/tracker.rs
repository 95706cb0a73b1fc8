//! `channel tracker`: changing a channel's trackers, and announcing to them now.

use clap::Subcommand;

use super::text;
use crate::{
    cli::{format, out::Out, target::OfChannel},
    client::Client,
    error::Failure,
    home::Home,
    shapes::{AnnounceNow, Announcing, NewTracker},
};

/// Change a channel's trackers, or announce to them now
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a tracker, and announce to it from now on
    #[command(
        after_help = "Others learn of it from the channel file that you give them: `bitchat channel export`.\n\nExample:\n  bitchat channel tracker add friends udp://tracker.example:6969/announce"
    )]
    Add {
        #[command(flatten)]
        of: OfChannel,
        /// An http, https or udp URL
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Remove a tracker, and notify it that you are gone
    #[command(
        after_help = "Members whose channel files name it keep it.\n\nExample:\n  bitchat channel tracker remove friends udp://tracker.example:6969/announce"
    )]
    Remove {
        #[command(flatten)]
        of: OfChannel,
        /// As `channel info` shows it
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Announce to all trackers now, or to one, instead of at the next scheduled time
    #[command(
        after_help = "At most once a minute and ten times an hour, and not more often than the tracker allows.\n\nExamples:\n  bitchat channel tracker announce-now friends\n  bitchat channel tracker announce-now friends udp://tracker.example:6969/announce"
    )]
    AnnounceNow {
        #[command(flatten)]
        of: OfChannel,
        /// Only this tracker, as `channel info` shows it
        #[arg(value_name = "URL")]
        url: Option<String>,
    },
}

impl Command {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        match self {
            Self::Add { of, url } => {
                let tracker = NewTracker { url };
                let changed = client.add_tracker(&of.channel, &tracker).await?;
                out.show(&changed, text::info)
            }
            Self::Remove { of, url } => {
                let changed = client.remove_tracker(&of.channel, &url).await?;
                out.show(&changed, text::info)
            }
            Self::AnnounceNow { of, url } => {
                let begun = client.announce(&of.channel, &AnnounceNow { url }).await?;
                out.show(&begun, |begun| announcing(begun, home, &of.channel))
            }
        }
    }
}

fn announcing(begun: &Announcing, home: &Home, channel: &str) -> String {
    let Announcing { id, trackers } = begun;
    let (flag, channel) = (home.flag(), format::pasted(channel, id));
    match trackers {
        0 => format!(
            "{id}: no tracker can be asked yet; `bitchat{flag} channel info {channel}` shows when"
        ),
        count => format!(
            "{id}: announcing to {count} now; `bitchat{flag} channel info {channel}` shows the result"
        ),
    }
}
