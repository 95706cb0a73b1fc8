//! `dht`: the state of this node's part of the DHT, and lookups by hand.

mod text;

use clap::{Args, Subcommand};

pub(super) use self::text::summary;
use super::out::Out;
use crate::{client::Client, error::Failure, home::Home};

const DHT: &str = "\
The DHT is a table that BitTorrent clients all over the world keep together. Members of a channel find each other
there without a tracker; `bitchat up --no-dht` runs without it.

Examples:
  bitchat dht
  bitchat dht get 0123456789abcdef0123456789abcdef01234567";

/// Show the state of this node's part of the DHT, or look up a hash in it
#[derive(Debug, Args)]
#[command(after_help = DHT)]
pub(super) struct Dht {
    /// What to do; without a command, show the state
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look up who announces an infohash; takes up to 40 s
    #[command(after_help = "Example:\n  bitchat dht get 0123456789abcdef0123456789abcdef01234567")]
    Get {
        /// 40 hexadecimal digits; `bitchat channel info` shows those of a channel
        #[arg(value_name = "HASH")]
        hash: String,
    },
}

impl Dht {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        match self.command {
            None => out.show(&client.dht().await?, text::state),
            Some(Command::Get { hash }) => out.show(&client.dht_lookup(&hash).await?, text::found),
        }
    }
}
