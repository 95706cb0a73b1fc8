//! What can be typed. The help texts teach: every command has an example.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use bitchat_actors::disguise::Disguise;
use clap::{Args, Parser, Subcommand};

use super::tracker::TrackerCommand;
use crate::{
    api::dto::{Rotate, Rule},
    config::{PathName, RelayFor},
    telemetry::Format,
};

const FIRST_STEPS: &str = "\
First steps:
  bitchat init --name Alice                      make an identity (or just let `up` make one)
  bitchat up                                     run the node; leave it open, go on in another terminal
  bitchat channel create friends --tracker http://tracker.example/announce --out friends.chat
  bitchat channel join friends.chat              what your friends do with that file
  bitchat send friends \"Hello!\"                  and `bitchat log friends --follow` to read

`bitchat` alone is `bitchat up`. `bitchat help COMMAND` has examples for each.";

/// Instant messaging with no server: members find each other, and talk directly.
#[derive(Debug, Parser)]
#[command(name = "bitchat", version, after_help = FIRST_STEPS, after_long_help = FIRST_STEPS)]
pub struct Cli {
    /// The folder of this profile [default: $XDG_DATA_HOME/bitchat or ~/.local/share/bitchat]
    #[arg(long, global = true, env = "BITCHAT_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// One JSON object a line on standard output; errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do; nothing: run the node
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an identity in a home that has none
    #[command(after_help = "Example:\n  bitchat init --name Alice")]
    Init(Init),
    /// Show your Bit Chat ID
    #[command(after_help = "Example:\n  bitchat id")]
    Id,
    /// Run the node in the foreground, until Ctrl-C
    #[command(after_help = UP)]
    Up(Up),
    /// Run a relay: a node without profile and channels that carries what others cannot send each other directly
    #[command(after_help = RELAY)]
    Relay(RelayArgs),
    /// Show how the running node does
    #[command(after_help = "Example:\n  bitchat status\n  bitchat status --json")]
    Status,
    /// Say what works, what does not, and what to do about it
    #[command(after_help = "Example:\n  bitchat doctor\n  bitchat doctor --json")]
    Doctor,
    /// Show how this node's part of the DHT does, or look something up there
    #[command(after_help = DHT)]
    Dht {
        /// What to do; nothing: show how it does
        #[command(subcommand)]
        command: Option<DhtCommand>,
    },
    /// Show or change settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, join, show and leave channels
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Say something in a channel
    #[command(after_help = SEND)]
    Send(Send),
    /// Answer a message
    #[command(after_help = REPLY)]
    Reply(Reply),
    /// Change a message of yours
    #[command(
        after_help = "Members see the new text, marked as edited.\n\nExample:\n  bitchat edit friends 3fa1b2c4 \"See you at nine!\""
    )]
    Edit(Edit),
    /// Take a message of yours back
    #[command(
        after_help = "Members hide it. Who has read it has read it, and the signed event stays in their logs.\n\nExample:\n  bitchat delete friends 3fa1b2c4"
    )]
    Delete(OfEvent),
    /// React to a message with an emoji
    #[command(
        after_help = "Examples:\n  bitchat react friends 3fa1b2c4 👍\n  bitchat react friends 3fa1b2c4 👍 --remove"
    )]
    React(React),
    /// Find messages by their words
    #[command(
        override_usage = "bitchat search [OPTIONS] [CH] <QUERY>",
        after_help = SEARCH
    )]
    Search(Search),
    /// Tell the members of a channel that you are writing
    #[command(
        after_help = "They hear it at most every 5 seconds, and are shown it for 10.\n\nExample:\n  bitchat typing friends"
    )]
    Typing(OfChannel),
    /// Tell the members of a channel how far you have read
    #[command(
        after_help = "Only if the setting `read_marks` is on, which it is not by itself.\n\nExamples:\n  bitchat config set read_marks true\n  bitchat read friends 3fa1b2c4"
    )]
    Read(OfEvent),
    /// Show or change what you say of yourself in all channels
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Read what was said in a channel
    #[command(after_help = LOG)]
    Log(Log),
    /// Show who is in a channel, and how each is reached
    #[command(after_help = "Example:\n  bitchat members friends")]
    Members(OfChannel),
    /// Write completions for a shell to standard output
    #[command(
        after_help = "Example:\n  bitchat completions bash > ~/.local/share/bash-completion/completions/bitchat"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
    #[command(after_help = "Example:\n  bitchat man ~/.local/share/man/man1")]
    Man {
        /// The folder; made when missing
        dir: PathBuf,
    },
}

const UP: &str = "\
When it listens it prints one line on standard output:
  {\"event\":\"ready\",\"id\":\"bitchat1...\",\"port\":N,\"api\":\"http://127.0.0.1:N\"}
Ctrl-C or SIGTERM stops it in order; a second one stops it at once.

Settings come from flags, then the environment (BITCHAT_PORT, BITCHAT_BIND, ...), then config.toml.

Examples:
  bitchat up
  bitchat up --port 40000 --bind 192.0.2.7
  bitchat --home /tmp/bob up --api 127.0.0.1:8080";

const RELAY: &str = "\
When it listens it prints one line on standard output:
  {\"event\":\"ready\",\"peer_id\":\"12D3Koo...\",\"port\":N,\"relays\":[\"/ip4/...\"],\"metrics\":null}
What is under `relays` goes into channel files: `bitchat channel create friends --relay MULTIADDR`. Its PeerId is
kept in relay.key of the home. It cannot read what it carries, and logs nobody's addresses.
SIGTERM lets circuits end, for 10 s at most; a second one stops it at once.

Examples:
  bitchat relay --port 4001 --port 443 --public-ip 203.0.113.7
  bitchat relay --port 4001 --metrics 127.0.0.1:9100 --circuits 100 --rate 1000000
  bitchat relay --port 4001 --check
  bitchat relay --check /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo...";

const DHT: &str = "\
The DHT is a table that the BitTorrent clients of the world keep together. Members of a channel find each other
there with no tracker; `bitchat up --no-dht` does without.

Examples:
  bitchat dht
  bitchat dht get 0123456789abcdef0123456789abcdef01234567";

const SEND: &str = "\
With --key the same command can be repeated safely, also after a crash: the line is said once.

Examples:
  bitchat send friends \"Hello!\"
  bitchat send friends -- \"- a line that begins with a dash\"
  fortune | bitchat send friends -
  bitchat send friends \"backup done\" --key backup-2026-01-31";

const REPLY: &str = "\
EVENT is the message's id, or 6 digits or more with which no other begins: `bitchat log --ids` shows them.

Examples:
  bitchat reply friends 3fa1b2c4 \"Me too!\"
  fortune | bitchat reply friends 3fa1b2c4 -";

const SEARCH: &str = "\
Every word must be in the message, as the beginning of a word at least; what stands in double quotes must be
there as it is. Case and accents do not matter. The last to arrive come first.

Examples:
  bitchat search dinner
  bitchat search friends '\"see you\" tomorrow'
  bitchat search friends dinner --limit 20 --before EVENT_ID";

const LOG: &str = "\
Messages are shown as they are now: edited, taken back, with reactions. With --follow, one that changes is shown
again.
Times are in UTC. Characters that could deceive a terminal are shown as escapes. `--json` has everything.

Examples:
  bitchat log friends
  bitchat log friends --limit 20 --follow
  bitchat log friends --limit 100 --before EVENT_ID";

/// Settings of a new identity.
#[derive(Debug, Args)]
pub struct Init {
    /// The name others see; 1 to 64 bytes [default: your user name]
    #[arg(long)]
    pub name: Option<String>,
}

/// How the node runs.
#[derive(Debug, Default, Args)]
pub struct Up {
    /// The UDP port [default: that of the last run if it is free, else any]
    #[arg(long)]
    pub port: Option<u16>,
    /// An address to listen on, instead of all; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub bind: Vec<IpAddr>,
    /// Where the local API listens; loopback only [default: 127.0.0.1:0, any port]
    #[arg(long, value_name = "ADDR:PORT")]
    pub api: Option<SocketAddr>,
    /// Do not ask the router to forward the port
    #[arg(long)]
    pub no_portmap: bool,
    /// Do not look for members in the local network
    #[arg(long)]
    pub no_lan: bool,
    /// Do not look for members in the DHT
    #[arg(long)]
    pub no_dht: bool,
    /// A node to enter the DHT by; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub dht_bootstrap: Vec<String>,
    /// Whose BitTorrent client trackers and the DHT see: transmission-4.1, transmission-3.00, qbittorrent-4.5.2 or
    /// qbittorrent-5.2 [default: that of the last run, at first transmission-4.1]
    #[arg(long, value_name = "CLIENT")]
    pub disguise: Option<Disguise>,
    /// For whom to carry what they cannot send each other directly [default: members]
    #[arg(long, value_enum)]
    pub relay: Option<RelayFor>,
    /// How members may be reached: quic, tcp, relay; repeated or with commas [default: all]. `--paths relay` hides your
    /// address from members: they are talked with through the relays that the channels' files name, and through nothing else
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_enum)]
    pub paths: Vec<PathName>,
    /// Do not look for relays that strangers offer to everybody, when there are no others
    #[arg(long)]
    pub no_public_relays: bool,
    /// Let everything go through this proxy and nothing around it: http://HOST:PORT or socks5h://HOST:PORT, with
    /// USER:PASSWORD@ before the host if it wants that
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// What to log, as in RUST_LOG, which it goes over: error, warn, info, debug, or target=level pairs
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log
    #[arg(long, value_enum)]
    pub log_format: Option<Format>,
}

/// How a relay runs.
#[derive(Debug, Default, Args)]
pub struct RelayArgs {
    /// The UDP and TCP port [default: any]; may be repeated, for TCP ports besides: some proxies allow 443 alone
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// An address to listen on, instead of all; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub bind: Vec<IpAddr>,
    /// The address at which others reach it, only to be printed; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub public_ip: Vec<IpAddr>,
    /// Say in public that it serves everybody: at the trackers named, else at public ones, and in the DHT
    #[arg(long)]
    pub announce: bool,
    /// A tracker to announce it to; may be repeated
    #[arg(long, value_name = "URL", requires = "announce")]
    pub tracker: Vec<String>,
    /// Do not announce it in the DHT
    #[arg(long, requires = "announce")]
    pub no_dht: bool,
    /// A node to enter the DHT by; may be repeated
    #[arg(long, value_name = "HOST:PORT", requires = "announce")]
    pub dht_bootstrap: Vec<String>,
    /// Where to serve metrics for Prometheus, at /metrics; anybody who gets there may read them
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Do not run a relay, but ask one whether it serves, by QUIC and by TCP: the one that runs in this home with that --port,
    /// or any other, as channel files name it. Exit status 1 when it gives no reservation
    #[arg(long, value_name = "RELAY", num_args = 0..=1, default_missing_value = "")]
    pub check: Option<String>,
    /// Reservations in all [default: 512]
    #[arg(long, value_name = "N")]
    pub reservations: Option<usize>,
    /// Circuits in all [default: 512]
    #[arg(long, value_name = "N")]
    pub circuits: Option<usize>,
    /// Reservations, and circuits, of one address [default: 32]
    #[arg(long, value_name = "N")]
    pub per_address: Option<usize>,
    /// Circuits of one peer [default: 32]
    #[arg(long, value_name = "N")]
    pub per_peer: Option<usize>,
    /// Bytes a second of one circuit, both directions together; 0: as many as get through [default: 2 MiB]
    #[arg(long, value_name = "BYTES")]
    pub rate: Option<u64>,
    /// Bytes that one circuit may carry; 0: as many as it likes [default: 1 GiB]
    #[arg(long, value_name = "BYTES")]
    pub circuit_bytes: Option<u64>,
    /// Seconds that a circuit may last; 0: as long as it likes [default: 6 hours]
    #[arg(long, value_name = "SECONDS")]
    pub circuit_seconds: Option<u64>,
    /// What to log, as in RUST_LOG, which it goes over
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log
    #[arg(long, value_enum)]
    pub log_format: Option<Format>,
}

/// The DHT.
#[derive(Debug, Subcommand)]
pub enum DhtCommand {
    /// Look up who announces an infohash; takes up to 40 s
    #[command(after_help = "Example:\n  bitchat dht get 0123456789abcdef0123456789abcdef01234567")]
    Get {
        /// 40 hexadecimal digits; `bitchat channel info` shows those of a channel
        #[arg(value_name = "HASH")]
        hash: String,
    },
}

/// Settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show all settings, or one
    #[command(after_help = "Examples:\n  bitchat config get\n  bitchat config get port")]
    Get {
        /// Which
        key: Option<String>,
    },
    /// Change a setting; a running node takes it over at its next start
    #[command(
        after_help = "Examples:\n  bitchat config set name Alice\n  bitchat config set port 40000\n  bitchat config set trackers http://a.example/announce,udp://b.example:6969"
    )]
    Set {
        /// Which
        key: String,
        /// To what; several values of a list are separated by commas
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Put a setting back to its default
    #[command(after_help = "Example:\n  bitchat config unset port")]
    Unset {
        /// Which
        key: String,
    },
}

/// A channel.
#[derive(Debug, Args)]
pub struct OfChannel {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
}

/// Channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Make a channel, join it, and write its file for your friends
    #[command(
        after_help = "The file is the key to the channel: give it only to those who may come in.\n\nExample:\n  bitchat channel create friends --tracker http://tracker.example/announce --out friends.chat"
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
    /// Show all about a channel: hashes, trackers, mesh
    #[command(after_help = "Example:\n  bitchat channel info friends")]
    Info(OfChannel),
    /// Leave a channel, and forget it and all that was said in it
    #[command(after_help = "Example:\n  bitchat channel leave friends")]
    Leave(OfChannel),
    /// Write a channel's file, or show it as a link or QR code
    #[command(
        after_help = "Examples:\n  bitchat channel export friends --out friends.chat\n  bitchat channel export friends --qr"
    )]
    Export(Export),
    /// Show a channel's link, to be sent instead of the file
    #[command(
        after_help = "Examples:\n  bitchat channel link friends\n  bitchat channel link friends --qr"
    )]
    Link {
        /// The channel's name, or a prefix of its id
        #[arg(value_name = "CH")]
        channel: String,
        /// As a QR code
        #[arg(long)]
        qr: bool,
    },
    /// Change a channel's trackers, or have them asked now
    #[command(subcommand)]
    Tracker(TrackerCommand),
    /// Try a member's address that you were told
    #[command(after_help = "Example:\n  bitchat channel connect friends 192.0.2.7:40000")]
    Connect {
        /// The channel's name, or a prefix of its id
        #[arg(value_name = "CH")]
        channel: String,
        /// IP address and port
        #[arg(value_name = "ADDR")]
        address: SocketAddr,
    },
}

/// A new channel.
#[derive(Debug, Args)]
pub struct Create {
    /// Its name; 1 to 128 bytes
    pub name: String,
    /// A relay at which members that cannot reach each other meet; may be repeated. `bitchat relay` prints its own
    #[arg(long, value_name = "MULTIADDR")]
    pub relay: Vec<String>,
    /// A tracker that members find each other by; may be repeated [default: the setting `trackers`]
    #[arg(long, value_name = "URL")]
    pub tracker: Vec<String>,
    /// Besides, the public trackers that this program knows: their operators see the members' addresses
    #[arg(long)]
    pub default_trackers: bool,
    /// A DHT node that members may begin at; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub node: Vec<String>,
    /// Who may link: whoever holds the file, or those on the roster
    #[arg(long, value_enum, default_value_t = Rule::Open)]
    pub policy: Rule,
    /// How often the hash changes under which members find each other. It cannot be changed later
    #[arg(long, value_enum, default_value_t = Rotate::Daily)]
    pub rotate: Rotate,
    /// Where to write the channel file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace that file if it exists
    #[arg(long)]
    pub force: bool,
}

/// How a channel is exported.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("form").required(true).args(["out", "link", "qr"]))]
pub struct Export {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// Write the channel file there
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace that file if it exists
    #[arg(long)]
    pub force: bool,
    /// Show it as a link
    #[arg(long)]
    pub link: bool,
    /// Show it as a QR code
    #[arg(long)]
    pub qr: bool,
}

/// A line to be said.
#[derive(Debug, Args)]
pub struct Send {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// What to say, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub text: String,
    /// The same key says it only once, however often the command runs
    #[arg(long)]
    pub key: Option<String>,
}

/// An event of a channel.
#[derive(Debug, Args)]
pub struct OfEvent {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// The message's id, or 6 digits or more of it
    pub event: String,
}

/// An answer.
#[derive(Debug, Args)]
pub struct Reply {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// The message that is answered: its id, or 6 digits or more of it
    pub event: String,
    /// What to say, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub text: String,
    /// The same key says it only once, however often the command runs
    #[arg(long)]
    pub key: Option<String>,
}

/// A message's new text.
#[derive(Debug, Args)]
pub struct Edit {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// The message: its id, or 6 digits or more of it
    pub event: String,
    /// What it is to say, at most 65,536 bytes; - reads it from standard input
    #[arg(allow_negative_numbers = true)]
    pub text: String,
    /// The same key changes it only once, however often the command runs
    #[arg(long)]
    pub key: Option<String>,
}

/// A reaction.
#[derive(Debug, Args)]
pub struct React {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// The message: its id, or 6 digits or more of it
    pub event: String,
    /// An emoji
    pub emoji: String,
    /// Take it away again
    #[arg(long)]
    pub remove: bool,
}

/// What to find.
#[derive(Debug, Args)]
pub struct Search {
    /// The channel (all, if left out), and what to search for
    #[arg(value_names = ["CH", "QUERY"], num_args = 1..=2, required = true)]
    pub words: Vec<String>,
    /// At most this many [default: 50]
    #[arg(long)]
    pub limit: Option<usize>,
    /// Only what arrived before that event
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
}

/// One's own profile.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Show it
    #[command(after_help = "Example:\n  bitchat profile show")]
    Show,
    /// Set the line about you; an empty one takes it away
    #[command(
        after_help = "Examples:\n  bitchat profile status \"At sea until June\"\n  bitchat profile status \"\""
    )]
    Status {
        /// At most 256 bytes
        line: String,
    },
    /// Set your picture, or take it away
    #[command(
        after_help = "Examples:\n  bitchat profile picture me.png\n  bitchat profile picture --remove"
    )]
    Picture {
        /// A PNG, JPEG or WebP file of at most 49,152 bytes
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        file: Option<PathBuf>,
        /// Take it away
        #[arg(long)]
        remove: bool,
    },
}

/// What to read.
#[derive(Debug, Args)]
pub struct Log {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// Go on, line by line, as more is said
    #[arg(long, conflicts_with = "before")]
    pub follow: bool,
    /// Only this many of the newest [default: all]
    #[arg(long)]
    pub limit: Option<usize>,
    /// Only what comes before that event
    #[arg(long, value_name = "ID")]
    pub before: Option<String>,
    /// Also what is no talk: joins, names, leavings
    #[arg(long)]
    pub all: bool,
    /// Show the beginning of each message's id, for reply, edit, delete and react
    #[arg(long)]
    pub ids: bool,
}
