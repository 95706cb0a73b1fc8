//! The handle to a channel.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitchat_wire::{
    channel::{ChannelFile, ChannelId, EpochKeys},
    event::EventId,
};

use super::{
    actor::{COMMANDS, Shell},
    api::{ChannelError, Signal, State},
    command::Command,
    config::ChannelConfig,
};
use crate::{
    kit::{Addr, Reply, Scope},
    link::LinkHandle,
};

/// Time limit for stopping a channel.
const GOODBYE: Duration = Duration::from_millis(1_500);

/// A handle to a channel. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    addr: Addr<Command>,
    config: Arc<ChannelConfig>,
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
            scope,
        }
    }

    /// The channel's id.
    pub fn id(&self) -> ChannelId {
        self.config.cid()
    }

    /// The channel file as it was at the start.
    pub fn file(&self) -> &ChannelFile {
        &self.config.file
    }

    /// The channel file with the current hints.
    pub fn current_file(&self) -> ChannelFile {
        self.config.current().clone()
    }

    /// The current trackers, tier by tier.
    pub fn trackers(&self) -> Vec<Vec<String>> {
        self.config.current().trackers().to_vec()
    }

    /// Adopts the hints of a file of this channel. Trackers that stay keep their state; those removed are notified that
    /// we stop. Saving the file for the next run is up to the caller.
    pub async fn set_hints(&self, file: ChannelFile) -> Result<(), ChannelError> {
        *self.config.current() = file;
        self.ask(Command::Hints).await
    }

    /// The keys of the current epoch.
    pub fn keys(&self) -> EpochKeys {
        self.config.keys()
    }

    /// Appends an event with this body to our log; returns its id once it is on the disk. With an idempotency key that was
    /// used before, returns the id of the event that it made then.
    pub async fn append(
        &self,
        body: Vec<u8>,
        key: Option<String>,
    ) -> Result<EventId, ChannelError> {
        self.ask(|reply| Command::Append { body, key, reply })
            .await?
    }

    /// Sends an ephemeral signal to the members that are linked.
    pub async fn signal(&self, signal: Signal) -> Result<(), ChannelError> {
        self.addr
            .send(Command::Signal(signal))
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// The state of the channel at this moment. Answered only after the readers have loaded.
    pub async fn state(&self) -> Result<State, ChannelError> {
        self.ask(Command::State).await
    }

    /// The links of this moment.
    pub async fn links(&self) -> Result<Vec<LinkHandle>, ChannelError> {
        self.ask(Command::Links).await
    }

    /// Passes an address that the user entered to discovery, which dials it.
    pub async fn connect(&self, address: SocketAddr) -> Result<(), ChannelError> {
        // Through the actor, which registers the channel with discovery before it takes commands: discovery drops
        // addresses for channels that it does not know.
        self.ask(|reply| Command::Connect(address, reply)).await
    }

    /// Announces to the members that we leave, and closes the links.
    pub async fn leave(&self) -> Result<(), ChannelError> {
        self.ask(Command::Leave).await?
    }

    /// Stops the actor: closes the links and waits for the commits in flight.
    pub async fn stop(&self) {
        self.scope.stop(GOODBYE).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ChannelError> {
        self.addr.ask(command).await.map_err(|_| ChannelError::Gone)
    }
}
