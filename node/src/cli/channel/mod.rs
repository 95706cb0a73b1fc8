//! `channel`: creating, joining, showing, leaving and exporting channels.

mod file;
mod text;
mod tracker;

use std::{
    fs::File,
    io::stdin,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bitchat_wire::channel::ChannelFile;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

pub(super) use self::text::{line, list};
use super::{format, out::Out, target::OfChannel};
use crate::{
    client::Client,
    error::Failure,
    home::Home,
    shapes::{Address, Created, NewChannel, Rotate, Rule},
    term::inert,
};

/// Create, join, show and leave channels
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a channel, join it, and write its file for your friends
    #[command(
        after_help = "The file is the key to the channel: give it only to people who may join.\n\nExample:\n  bitchat channel create friends --tracker http://tracker.example/announce --out friends.chat"
    )]
    Create(Create),
    /// Join a channel by its file or link
    #[command(
        after_help = "Examples:\n  bitchat channel join friends.chat\n  bitchat channel join bitchat:ZDEwOm..."
    )]
    Join {
        /// A .chat file, a `bitchat:` link, or - for standard input
        #[arg(value_name = "FILE|LINK")]
        source: String,
    },
    /// List the channels
    #[command(after_help = "Example:\n  bitchat channel list")]
    List,
    /// Show a channel in detail: hashes, trackers, mesh
    #[command(after_help = "Example:\n  bitchat channel info friends")]
    Info(OfChannel),
    /// Leave a channel, and delete it and all its messages from this machine
    #[command(after_help = "Example:\n  bitchat channel leave friends")]
    Leave(OfChannel),
    /// Write a channel's file, or show it as a link or QR code
    #[command(
        after_help = "Examples:\n  bitchat channel export friends --out friends.chat\n  bitchat channel export friends --qr"
    )]
    Export(Export),
    /// Show a channel's link, to send instead of the file
    #[command(
        after_help = "Examples:\n  bitchat channel link friends\n  bitchat channel link friends --qr"
    )]
    Link {
        #[command(flatten)]
        of: OfChannel,
        /// Show it as a QR code
        #[arg(long)]
        qr: bool,
    },
    /// Change a channel's trackers, or announce to them now
    #[command(subcommand)]
    Tracker(tracker::Command),
    /// Dial an address of a member that you know
    #[command(after_help = "Example:\n  bitchat channel connect friends 192.0.2.7:40000")]
    Connect {
        #[command(flatten)]
        of: OfChannel,
        /// IP address and port
        #[arg(value_name = "ADDR")]
        address: SocketAddr,
    },
}

/// A new channel.
#[derive(Debug, Args)]
pub(super) struct Create {
    /// Its name; 1 to 128 bytes
    name: String,
    /// A relay at which members meet who cannot reach each other directly; may be repeated. `bitchat relay` prints its own
    #[arg(long, value_name = "MULTIADDR")]
    relay: Vec<String>,
    /// A tracker through which members find each other; may be repeated [default: the setting `trackers`]
    #[arg(long, value_name = "URL")]
    tracker: Vec<String>,
    /// Add the public trackers that this program knows: their operators see the members' addresses
    #[arg(long)]
    default_trackers: bool,
    /// A DHT node from which members can bootstrap; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    node: Vec<String>,
    /// Who may link: anyone who holds the file, or those on the roster
    #[arg(long, value_enum, default_value_t = Rule::Open)]
    policy: Rule,
    /// How often the hash changes under which members find each other. It cannot be changed later
    #[arg(long, value_enum, default_value_t = Rotate::Daily)]
    rotate: Rotate,
    /// Where to write the channel file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace that file if it exists
    #[arg(long)]
    force: bool,
}

/// The form in which a channel is exported.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("form").required(true).args(["out", "link", "qr"]))]
pub(super) struct Export {
    #[command(flatten)]
    of: OfChannel,
    /// Write the channel file there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long)]
    force: bool,
    /// Show it as a link
    #[arg(long)]
    link: bool,
    /// Show it as a QR code
    #[arg(long)]
    qr: bool,
}

impl Command {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(home, out).await,
            Self::Join { source } => join(home, &source, out).await,
            Self::List => {
                let channels = Client::of(home)?.channels().await?;
                out.show_each(&channels, list)
            }
            Self::Info(of) => {
                let channel = Client::of(home)?.channel(&of.channel).await?;
                out.show(&channel, text::info)
            }
            Self::Leave(of) => {
                let left = Client::of(home)?.leave(&of.channel).await?;
                out.show(&left, |left| {
                    format!(
                        "left {}, and deleted its messages from this machine",
                        left.id
                    )
                })
            }
            Self::Export(export) => export.run(home, out).await,
            Self::Link { of, qr } => {
                let file = fetch(&Client::of(home)?, &of.channel).await?;
                file::show_link(&file, qr, out)
            }
            Self::Tracker(command) => command.run(home, out).await,
            Self::Connect { of, address } => {
                let address = Address {
                    addr: address.to_string(),
                };
                let client = Client::of(home)?;
                let dialled = client.connect(&of.channel, &address).await?;
                out.show(&dialled, |dialled| {
                    format!(
                        "dialling {}; `bitchat{} members {}` shows whether a member answers",
                        dialled.addr,
                        home.flag(),
                        format::pasted(&of.channel, &dialled.id)
                    )
                })
            }
        }
    }
}

/// A channel that was created, and the file that it was written to.
#[derive(Serialize)]
struct Written {
    #[serde(flatten)]
    created: Created,
    out: PathBuf,
}

impl Create {
    async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        // Before the channel is created, so that none is created in vain.
        file::check_target(&self.out, self.force)?;
        let trackers = if self.tracker.is_empty() {
            home.config()?.trackers
        } else {
            self.tracker
        };
        let hinted = self.default_trackers || !self.node.is_empty() || !self.relay.is_empty();
        let alone = trackers.is_empty() && !hinted;
        let created = client
            .create(&NewChannel {
                name: self.name,
                policy: self.policy,
                trackers: Some(trackers),
                default_trackers: self.default_trackers,
                rotate: self.rotate,
                nodes: self.node,
                relays: self.relay,
            })
            .await?;
        let parsed = ChannelFile::parse_link(&created.link)
            .map_err(|e| Failure::new("internal", e.to_string()))?;
        file::write(&self.out, &parsed, self.force).map_err(|e| {
            Failure::new(
                e.code,
                format!(
                    "{}. The channel was created all the same: `bitchat{} channel export {} --out FILE` writes its file",
                    e.message,
                    home.flag(),
                    created.id
                ),
            )
        })?;
        let written = Written {
            created,
            out: self.out,
        };
        out.show(&written, |Written { created, out }| {
            let mut lines = format!(
                "created the channel {} ({})\n{}",
                inert(&created.name),
                created.id,
                format::wrote(out)
            );
            if alone {
                lines.push_str(
                    "\nIts file names no tracker, DHT node or relay: members find each other in the DHT, or through `bitchat channel connect`. `--default-trackers` adds public trackers; `bitchat channel tracker add` adds one later.",
                );
            }
            lines
        })
    }
}

async fn join(home: &Home, source: &str, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let bytes = if source.starts_with("bitchat:") {
        source.as_bytes().to_vec()
    } else if source == "-" {
        file::capped(stdin().lock(), Path::new("standard input"))?
    } else {
        let path = Path::new(source);
        let file = File::open(path).map_err(|e| Failure::io("read", path, &e))?;
        file::capped(file, path)?
    };
    out.show(&client.join(bytes).await?, |joined| {
        let (name, id) = (&joined.channel.name, &joined.channel.id);
        let (flag, pasted) = (home.flag(), format::pasted(name, id));
        format!(
            "joined {} ({id})\nNext: `bitchat{flag} send {pasted} \"Hello!\"` and `bitchat{flag} log {pasted} --follow`",
            inert(name)
        )
    })
}

impl Export {
    async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let client = Client::of(home)?;
        let Some(path) = &self.out else {
            let file = fetch(&client, &self.of.channel).await?;
            return file::show_link(&file, self.qr, out);
        };
        file::check_target(path, self.force)?;
        let file = fetch(&client, &self.of.channel).await?;
        file::write(path, &file, self.force)?;
        let value = json!({"id": file.id().to_string(), "name": file.info().name, "out": path});
        out.show(&value, |_| format::wrote(path))
    }
}

async fn fetch(client: &Client, channel: &str) -> Result<ChannelFile, Failure> {
    ChannelFile::parse(&client.channel_file(channel).await?)
        .map_err(|e| Failure::new("internal", e.to_string()))
}
