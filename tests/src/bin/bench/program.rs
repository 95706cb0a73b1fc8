//! Nodes as users run them: `bitchat up` in its own process, used through its local API.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use bitchat_tests::process::{ALONE, NodeProcess, eventually};

/// The channel's name.
pub(crate) const CHANNEL: &str = "bench";
/// Time limit for a full mesh, which takes a second or two on loopback.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts nodes of one channel without trackers, all linked with each other.
pub(crate) fn linked(folder: &Path, names: &[&str]) -> Result<Vec<NodeProcess>> {
    linked_with(folder, names, ALONE)
}

/// Starts such nodes with these settings.
pub(crate) fn linked_with(
    folder: &Path,
    names: &[&str],
    args: &[&str],
) -> Result<Vec<NodeProcess>> {
    let nodes: Vec<NodeProcess> = names
        .iter()
        .map(|name| NodeProcess::up(&folder.join(name), args))
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
