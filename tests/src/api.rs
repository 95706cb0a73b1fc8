//! A client of a running node's local API.

use anyhow::{Context, Result};
use bitchat::{
    client::{self, Client},
    error::Failure,
    home::Home,
    shapes::{Info, LogQuery, NewMessage, StreamEvent, StreamQuery},
};
use serde_json::Value;

use crate::process::NodeProcess;

/// The API of one node.
pub struct Api(Client);

impl Api {
    /// Connects to a node that is ready.
    pub fn of(node: &NodeProcess) -> Result<Self> {
        let home = Home::find(Some(node.home())).map_err(failed)?;
        Ok(Self(Client::of(&home).map_err(failed)?))
    }

    /// Sends a message; returns when the node has accepted it.
    pub async fn say(&self, channel: &str, text: &str) -> Result<()> {
        let message = NewMessage {
            text: text.to_owned(),
            key: None,
            reply_to: None,
        };
        self.0.send(channel, &message).await.map_err(failed)?;
        Ok(())
    }

    /// Details of a channel.
    pub async fn channel(&self, channel: &str) -> Result<Info> {
        self.0.channel(channel).await.map_err(failed)
    }

    /// Whether the channel is linked with all of this many members, oneself included.
    pub async fn is_full(&self, channel: &str, members: usize) -> Result<bool> {
        let info = self.channel(channel).await?.channel;
        Ok(info.mesh == "full" && info.online == members)
    }

    /// The texts of a channel, in its order: at most the newest 1,000.
    pub async fn texts(&self, channel: &str) -> Result<Vec<String>> {
        let query = LogQuery {
            limit: Some(1_000),
            ..LogQuery::default()
        };
        let messages = self.0.messages(channel, &query).await.map_err(failed)?;
        Ok(messages.into_iter().map(|message| message.text).collect())
    }

    /// The members of a channel with their paths, as JSON.
    pub async fn members(&self, channel: &str) -> Result<Vec<Value>> {
        let members = self.0.members(channel).await.map_err(failed)?;
        members
            .iter()
            .map(|member| Ok(serde_json::to_value(member)?))
            .collect()
    }

    /// Opens the stream of events from now on.
    pub async fn events(&self) -> Result<Events> {
        let query = StreamQuery::default();
        let mut events = self.0.events(&query).await.map_err(failed)?;
        events.begin().await.map_err(failed)?;
        Ok(Events(events))
    }
}

/// A node's event stream.
pub struct Events(client::Events);

impl Events {
    /// Reads until a message with this text has arrived.
    pub async fn until(&mut self, text: &str) -> Result<()> {
        loop {
            let event = self.0.next().await.map_err(failed)?;
            match event.context("the event stream ended")? {
                StreamEvent::Message(message) if message.text == text => return Ok(()),
                _ => {}
            }
        }
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::Error::msg(failure.to_string())
}
