//! Nodes within the benchmark's own process.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use bitchat_actors::{
    chat::Mesh,
    node::{ChannelRequest, Node},
};
use bitchat_wire::{
    channel::{ChannelFile, ChannelId, Policy, Rotation},
    identity::IdentityKey,
};

/// Time limit for a mesh, which takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a node on loopback with its own database.
pub(crate) async fn start(folder: &Path, name: &str) -> Result<Node> {
    let identity = IdentityKey::generate(&mut rand::rng());
    let builder = Node::builder(folder.join(format!("{name}.db")), identity)
        .name(name)
        .bind([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    Ok(builder.start().await?)
}

/// Creates a channel without trackers.
pub(crate) async fn channel(node: &Node) -> Result<ChannelFile> {
    let request = ChannelRequest {
        name: "bench".into(),
        policy: Policy::Open,
        rotation: Rotation::Daily,
        trackers: Vec::new(),
        nodes: Vec::new(),
        relays: Vec::new(),
    };
    Ok(node.create_channel(request).await?)
}

/// The address on which a node listens.
pub(crate) fn address(node: &Node) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, node.port()))
}

/// Waits until a node is linked with `members - 1` others.
pub(crate) async fn full(node: &Node, cid: ChannelId, members: usize) -> Result<()> {
    let begin = Instant::now();
    loop {
        let summary = node.channel(cid).await?.summary;
        if summary.mesh == Mesh::Full && summary.online >= members {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            let details = node.channel(cid).await?;
            let members = node.chat(cid)?.members().await?;
            let lacking: Vec<_> = members.iter().filter(|member| !member.online).collect();
            bail!(
                "no full mesh at {}: {details:?}, lacking {lacking:?}",
                node.port()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a node's store has reached a position.
pub(crate) async fn position(node: &Node, position: u64) -> Result<()> {
    let mut events = node.subscribe();
    loop {
        if node.chats().last_position().await? >= position {
            return Ok(());
        }
        // A lagging receiver is a reason to look, too.
        let _ = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
    }
}
