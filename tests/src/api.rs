//! A program's connection to the local API of a node that runs.

use anyhow::{Context, Result};
use bitchat::{client::Client, error::Failure, home::Home};
use serde_json::{Value, json};

use crate::process::NodeProcess;

/// The API of one node.
pub struct Api(Client);

impl Api {
    /// Of a node that is ready.
    pub fn of(node: &NodeProcess) -> Result<Self> {
        let home = Home::find(Some(node.home())).map_err(failed)?;
        Ok(Self(Client::of(&home).map_err(failed)?))
    }

    /// Says a line; returns when the node has accepted it.
    pub async fn say(&self, channel: &str, text: &str) -> Result<()> {
        let segments = ["v1", "channels", channel, "messages"];
        let request = self.0.post(&segments, &json!({"text": text}));
        self.0
            .json(request.map_err(failed)?)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// All about a channel.
    pub async fn channel(&self, channel: &str) -> Result<Value> {
        self.get(&["v1", "channels", channel], &[]).await
    }

    /// Whether the channel is linked with all of so many members, oneself included.
    pub async fn is_full(&self, channel: &str, members: usize) -> Result<bool> {
        let info = self.channel(channel).await?;
        Ok(info["mesh"] == "full" && info["online"] == members)
    }

    /// What was said in a channel, in its order: at most the newest 1,000 lines.
    pub async fn texts(&self, channel: &str) -> Result<Vec<String>> {
        let path = ["v1", "channels", channel, "messages"];
        let page = self.get(&path, &[("limit", "1000".into())]).await?;
        let messages = page["messages"].as_array().context("no messages")?;
        let texts = messages.iter().map(|message| message["text"].as_str());
        Ok(texts.flatten().map(str::to_owned).collect())
    }

    /// Who is in a channel, and how they are reached.
    pub async fn members(&self, channel: &str) -> Result<Vec<Value>> {
        let members = self
            .get(&["v1", "channels", channel, "members"], &[])
            .await?;
        let members = members["members"].as_array().context("no members")?;
        Ok(members.clone())
    }

    async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value> {
        let request = self.0.get(path, query).map_err(failed)?;
        self.0.json(request).await.map_err(failed)
    }

    /// What happens from now on.
    pub async fn events(&self) -> Result<Events> {
        let request = self.0.get(&["v1", "events"], &[]).map_err(failed)?;
        let mut events = Events {
            response: request.send().await?.error_for_status()?,
            unread: Vec::new(),
        };
        // It begins by saying where it stands.
        events.until("event: position").await?;
        Ok(events)
    }
}

/// A node's event stream.
pub struct Events {
    response: reqwest::Response,
    unread: Vec<u8>,
}

impl Events {
    /// Reads until this text has come.
    pub async fn until(&mut self, text: &str) -> Result<()> {
        let text = text.as_bytes();
        loop {
            let found = self.unread.windows(text.len()).position(|at| at == text);
            if let Some(at) = found {
                self.unread.drain(..at + text.len());
                return Ok(());
            }
            let chunk = self.response.chunk().await?;
            self.unread
                .extend_from_slice(&chunk.context("the event stream ended")?);
        }
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow::Error::msg(failure.to_string())
}
