//! How a channel is started and asked.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::{ChannelFile, ChannelId, EpochKeys, Policy},
    event::EventId,
};
use tokio::sync::{Mutex, broadcast};

use super::{
    ChannelError, ChannelEvent, EventView, MemberView,
    actor::{COMMANDS, Command, Shell},
    views::Snapshot,
};
use crate::{
    discovery::{Discovery, Wanted},
    kit::{Addr, Scope},
    link::{Accept, LinkHandle, Links, LocalDevice},
    relay::Relays,
    store::{LogEntry, Store},
    transport::Transport,
};

/// How long a stopping channel may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(1_500);

/// What a channel is made of.
#[derive(Clone)]
pub struct ChannelConfig {
    /// Its file, as it was at the start: its terms never change.
    pub file: ChannelFile,
    /// The trackers of this moment, which a user may change while it runs.
    pub trackers: Arc<std::sync::Mutex<Vec<Vec<String>>>>,
    /// Our device.
    pub local: Arc<LocalDevice>,
    /// The name that we sign.
    pub name: String,
    /// What `hello` says of our program.
    pub agent: String,
    /// Keeps the logs.
    pub store: Store,
    /// Runs the links.
    pub links: Links,
    /// Finds members.
    pub discovery: Discovery,
    /// Knows our PeerId.
    pub transport: Transport,
    /// Knows through whom others reach us.
    pub relays: Relays,
    /// Tell members how far we have read.
    pub read_marks: bool,
    /// Hears what happens.
    pub events: broadcast::Sender<ChannelEvent>,
    /// When trackers are asked first.
    pub announce_from: Instant,
}

impl ChannelConfig {
    pub(super) fn cid(&self) -> ChannelId {
        self.file.id()
    }

    /// The keys under which members link: of epoch 0.
    pub fn keys(&self) -> EpochKeys {
        self.file.keys()
    }

    pub(super) fn accept(&self) -> Accept {
        match self.file.info().policy {
            Policy::Open => Accept::Anyone,
            // Nobody is on the roster yet but the owner, with as many devices as it likes.
            _ => Accept::Roster(Arc::new([self.file.info().owner].into())),
        }
    }

    fn tiers(&self) -> std::sync::MutexGuard<'_, Vec<Vec<String>>> {
        self.trackers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted {
            cid: self.cid(),
            keys: self.keys(),
            tiers: self.tiers().clone(),
            nodes: self.file.nodes().to_vec(),
            // Those that cannot be read are hints of a later version.
            relays: self
                .file
                .relays()
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            not_before: self.announce_from,
        }
    }
}

/// A handle to a channel. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    pub(super) addr: Addr<Command>,
    pub(super) config: Arc<ChannelConfig>,
    /// One reaction at a time: each is the whole set, made from the one before.
    pub(super) reacting: Arc<Mutex<()>>,
    scope: Scope,
}

impl Channel {
    /// Starts the actor in a scope of its own.
    pub fn start(config: ChannelConfig, scope: &Scope) -> Self {
        let config = Arc::new(config);
        let scope = scope.layer();
        let short: String = config.cid().to_string().chars().take(8).collect();
        let span = tracing::info_span!("channel", id = short);
        let kept = Arc::clone(&config);
        let addr = scope.permanent("channel", COMMANDS, span, move || {
            Shell::new(Arc::clone(&kept))
        });
        Self {
            addr,
            config,
            reacting: Arc::default(),
            scope,
        }
    }

    /// Its file, as it was at the start.
    pub fn file(&self) -> &ChannelFile {
        &self.config.file
    }

    /// Its trackers at this moment.
    pub fn trackers(&self) -> Vec<Vec<String>> {
        self.config.tiers().clone()
    }

    /// Announces to these trackers from now on; those that stay keep their state, the others hear that we stop. For
    /// the next run, the caller keeps the file.
    pub async fn set_trackers(&self, tiers: Vec<Vec<String>>) -> Result<(), ChannelError> {
        *self.config.tiers() = tiers;
        self.addr
            .ask(Command::Trackers)
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// The keys of its present epoch.
    pub fn keys(&self) -> EpochKeys {
        self.config.keys()
    }

    /// Says a line; returns once it is on our disk. With a key that was used, returns what it made then.
    pub async fn send(&self, text: &str, key: Option<String>) -> Result<EventId, ChannelError> {
        self.tell(text, None, key).await
    }

    /// The members, oneself first.
    pub async fn members(&self) -> Result<Vec<MemberView>, ChannelError> {
        Ok(self.snapshot().await?.members)
    }

    /// The links of this moment.
    pub async fn links(&self) -> Result<Vec<LinkHandle>, ChannelError> {
        self.addr
            .ask(Command::Links)
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// The state of the channel at this moment.
    pub async fn snapshot(&self) -> Result<Snapshot, ChannelError> {
        self.addr
            .ask(Command::Snapshot)
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// Events as users see them.
    pub async fn views(&self, entries: Vec<LogEntry>) -> Result<Vec<EventView>, ChannelError> {
        let snapshot = self.snapshot().await?;
        Ok(entries
            .into_iter()
            .map(|entry| snapshot.view(entry))
            .collect())
    }

    /// Has discovery try an address that the user names. Goes through the actor, which wants members before it
    /// hears commands: discovery forgets what it is told of channels that nobody wants.
    pub async fn connect(&self, address: SocketAddr) -> Result<(), ChannelError> {
        self.addr
            .ask(|reply| Command::Connect(address, reply))
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// Tells the members that we leave, and closes the links.
    pub async fn leave(&self) -> Result<(), ChannelError> {
        self.addr
            .ask(Command::Leave)
            .await
            .map_err(|_| ChannelError::Gone)?
    }

    /// Stops the actor: links say goodbye, commits in flight end.
    pub async fn stop(&self) {
        self.scope.stop(GOODBYE).await;
    }
}
