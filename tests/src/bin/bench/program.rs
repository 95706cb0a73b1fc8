//! Nodes as users run them: `bitchat up` in processes of their own, asked through their local API.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use bitchat::{client::Client, home::Home};
use bitchat_tests::process::{ALONE, NodeProcess, eventually};
use serde_json::json;

/// The channel's name.
const CHANNEL: &str = "bench";
/// A full mesh on loopback takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes of one channel without trackers, each linked with each.
pub(crate) fn linked(folder: &Path, names: &[&str]) -> Result<Vec<NodeProcess>> {
    let nodes: Vec<NodeProcess> = names
        .iter()
        .map(|name| NodeProcess::up(&folder.join(name), ALONE))
        .collect::<Result<_>>()?;
    let file = folder.join("bench.chat");
    let file = file.to_str().context("a path that is no text")?;
    let first = nodes.first().context("no node")?;
    first.cli(&["channel", "create", CHANNEL, "--out", file])?;
    let address = format!("127.0.0.1:{}", first.port());
    for node in &nodes[1..] {
        node.cli(&["channel", "join", file])?;
        node.cli(&["channel", "connect", CHANNEL, &address])?;
    }
    eventually("the mesh is full", PATIENCE, || {
        for node in &nodes {
            let info = node.cli_one(&["channel", "info", CHANNEL])?;
            if info["mesh"] != "full" || info["online"] != nodes.len() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    Ok(nodes)
}

/// A program's connection to a node's API.
pub(crate) struct Api(Client);

impl Api {
    pub(crate) fn of(node: &NodeProcess) -> Result<Self> {
        let home = Home::find(Some(node.home())).map_err(failed)?;
        Ok(Self(Client::of(&home).map_err(failed)?))
    }

    /// Says a line; returns when the node has accepted it.
    pub(crate) async fn say(&self, text: &str) -> Result<()> {
        let segments = ["v1", "channels", CHANNEL, "messages"];
        let request = self.0.post(&segments, &json!({"text": text}));
        let request = request.map_err(failed)?;
        self.0.json(request).await.map_err(failed)?;
        Ok(())
    }

    /// What happens from now on.
    pub(crate) async fn events(&self) -> Result<Events> {
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
pub(crate) struct Events {
    response: reqwest::Response,
    unread: Vec<u8>,
}

impl Events {
    /// Reads until this text has come.
    pub(crate) async fn until(&mut self, text: &str) -> Result<()> {
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

fn failed(failure: bitchat::error::Failure) -> anyhow::Error {
    anyhow::Error::msg(failure.to_string())
}
