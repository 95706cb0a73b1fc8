//! `members`: the members of a channel, and the paths to them.

use std::fmt::Write as _;

use clap::Args;

use super::{format::who, out::Out, target::OfChannel};
use crate::{client::Client, error::Failure, home::Home, shapes::Member, term::inert};

/// Show the members of a channel, and the path to each
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat members friends")]
pub(super) struct Members {
    #[command(flatten)]
    of: OfChannel,
}

impl Members {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let members = Client::of(home)?.members(&self.of.channel).await?;
        out.show_each(&members, |members| {
            let lines: Vec<String> = members.iter().map(line).collect();
            lines.join("\n")
        })
    }
}

/// The source of an address; a tracker is named by its URL.
fn described(source: &str) -> String {
    match source {
        "cache" => "an earlier run".to_owned(),
        "dht" => "the DHT".to_owned(),
        "lan" => "the local network".to_owned(),
        "relay" => "a relay".to_owned(),
        "pex" => "another member".to_owned(),
        "hand" => "an address entered by hand".to_owned(),
        "incoming" => "its own connection".to_owned(),
        other => inert(other),
    }
}

fn line(m: &Member) -> String {
    let mut out = format!("{:<20} {}  ", who(&m.name, &m.id), m.id);
    if m.me {
        out.push_str("you");
    } else if let Some(path) = &m.path {
        let _ = write!(
            out,
            "online over {} at {}, {:?} ms",
            path.kind, path.addr, path.rtt_ms
        );
        if let Some(via) = &path.via {
            let _ = write!(out, ", via {}", inert(via));
        }
        match (&path.source, path.took_ms) {
            (Some(source), Some(took)) => {
                let _ = write!(
                    out,
                    ", found through {} in {:.1} s",
                    described(source),
                    took / 1_000.0
                );
            }
            _ => out.push_str(", connected to us"),
        }
    } else if m.online {
        out.push_str("online");
    } else {
        out.push_str("offline");
    }
    if m.typing {
        out.push_str("  is typing");
    }
    if !m.status.is_empty() {
        let _ = write!(out, "  \"{}\"", inert(&m.status));
    }
    if m.forked {
        out.push_str("  WARNING: a device signed two different events with one number");
    }
    out
}
