//! Several real nodes of one channel with a real tracker.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    api::Api,
    opentracker::OpenTracker,
    process::{ALONE, NodeProcess, eventually},
};

/// The name of their channel.
pub const CHANNEL: &str = "party";
/// Time limit of each wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes that share a channel's file and a tracker, not necessarily linked yet.
pub struct Party {
    /// The nodes, the channel's creator first.
    pub nodes: Vec<NodeProcess>,
    /// The nodes' APIs, in the same order.
    pub apis: Vec<Api>,
}

impl Party {
    /// Starts that many nodes, which join one after the other and know only the file.
    pub fn start(folder: &Path, count: usize, tracker: &OpenTracker) -> Result<Self> {
        let nodes = (0..count)
            .map(|n| NodeProcess::up(&folder.join(format!("n{n}")), ALONE))
            .collect::<Result<Vec<_>>>()?;
        let first = nodes.first().context("a party of nobody")?;
        let file = folder.join("party.chat");
        let file = file.to_str().context("a path that is no text")?;
        let url = tracker.url();
        first.cli(&[
            "channel",
            "create",
            CHANNEL,
            "--tracker",
            &url,
            "--out",
            file,
        ])?;
        // The tracker reads its list of hashes a moment after it was changed.
        let info = first.cli_one(&["channel", "info", CHANNEL])?;
        tracker.serve(&serde_json::from_value::<Vec<String>>(
            info["rendezvous"].clone(),
        )?)?;
        eventually("the tracker answers", PATIENCE, || {
            let info = first.cli_one(&["channel", "info", CHANNEL])?;
            Ok((info["trackers"][0]["state"] == "working").then_some(()))
        })?;
        for node in &nodes[1..] {
            node.cli(&["channel", "join", file])?;
        }
        Self::of(nodes)
    }

    /// Starts the nodes of a party again, from their homes.
    pub fn again(folder: &Path, count: usize) -> Result<Self> {
        let nodes = (0..count).map(|n| NodeProcess::up(&folder.join(format!("n{n}")), ALONE));
        Self::of(nodes.collect::<Result<_>>()?)
    }

    fn of(nodes: Vec<NodeProcess>) -> Result<Self> {
        let apis = nodes.iter().map(Api::of).collect::<Result<_>>()?;
        Ok(Self { nodes, apis })
    }

    /// Waits until all are linked with each other; returns how long that took from now.
    pub async fn full(&self) -> Result<Duration> {
        let begin = Instant::now();
        for api in &self.apis {
            while !api.is_full(CHANNEL, self.apis.len()).await? {
                ensure!(
                    begin.elapsed() < PATIENCE,
                    "no full mesh: {:?}",
                    api.channel(CHANNEL).await?
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(begin.elapsed())
    }

    /// Sends a message from each node, and waits until all logs are equal with that many messages; returns the log.
    pub async fn talk(&self, round: &str, lines: usize) -> Result<Vec<String>> {
        for (n, api) in self.apis.iter().enumerate() {
            api.say(CHANNEL, &format!("{round}: {n}")).await?;
        }
        let begin = Instant::now();
        loop {
            let mut logs = Vec::new();
            for api in &self.apis {
                logs.push(api.texts(CHANNEL).await?);
            }
            let first = logs.swap_remove(0);
            if first.len() == lines && logs.iter().all(|log| *log == first) {
                return Ok(first);
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "not all logs are equal, of {lines} lines: {first:?}, {logs:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
