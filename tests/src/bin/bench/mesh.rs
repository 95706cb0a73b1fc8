//! Fifty nodes of one channel in one process.

use std::time::{Duration, Instant};

use anyhow::Result;
use bitchat_actors::node::{Node, NodeEvent};
use futures_util::future::try_join_all;

use super::{
    figure::{cpu_seconds, median, ms, print, resident_kib},
    floor::Floor,
    node,
};

const NODES: usize = 50;
const BROADCASTS: usize = 50;

pub(crate) async fn run() -> Result<()> {
    let floor = raw().await?;
    let folder = tempfile::tempdir()?;
    let mut nodes = Vec::new();
    for n in 0..NODES {
        nodes.push(node::start(folder.path(), &format!("n{n}")).await?);
    }
    let file = node::channel(&nodes[0]).await?;
    let cid = file.id();
    let before = resident_kib(None)?;
    let (begin, cpu) = (Instant::now(), cpu_seconds(None)?);
    try_join_all(nodes[1..].iter().map(|node| node.join(file.clone()))).await?;
    // Each knows the first: the rest is peer exchange.
    let first = node::address(&nodes[0]);
    try_join_all(nodes[1..].iter().map(|node| node.connect(cid, first))).await?;
    for node in &nodes {
        node::full(node, cid, NODES).await?;
    }
    let took = begin.elapsed().as_secs_f64();
    print("mesh50_full_s", took, "s");
    print("mesh50_raw_quinn_s", floor, "s");
    print("mesh50_full_ratio", took / floor, "x raw quinn");
    print("mesh50_cpu_s", cpu_seconds(None)? - cpu, "s");
    nodes[0].send(cid, "one message".into(), None).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ends = (NODES * (NODES - 1)) as f64;
    print("conn_end_kib", (resident_kib(None)? - before) / ends, "KiB");
    broadcast(&nodes, cid).await?;
    for node in &nodes {
        node.stop().await;
    }
    Ok(())
}

/// Time to the last commit of a word at all others.
async fn broadcast(nodes: &[Node], cid: bitchat_wire::channel::ChannelId) -> Result<()> {
    let mut last = Vec::new();
    for n in 0..BROADCASTS {
        let mut listeners: Vec<_> = nodes[1..].iter().map(Node::subscribe).collect();
        let begin = Instant::now();
        nodes[0].send(cid, format!("to all {n}"), None).await?;
        for events in &mut listeners {
            while !matches!(events.recv().await?, NodeEvent::Committed { .. }) {}
        }
        last.push(ms(begin.elapsed()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    print("broadcast50_committed_last_p50_ms", median(&mut last), "ms");
    Ok(())
}

/// All connections of a mesh in raw quinn, one stream each, echoing once.
async fn raw() -> Result<f64> {
    let floor = Floor::new()?;
    let endpoints: Vec<_> = (0..NODES)
        .map(|_| floor.endpoint())
        .collect::<Result<_>>()?;
    let begin = Instant::now();
    let dials = endpoints.iter().enumerate().map(|(n, from)| {
        let others = &endpoints[n + 1..];
        async move {
            let mut kept = Vec::new();
            // As a node does: a few at a time, or they starve each other.
            for few in others.chunks(4) {
                let linked = few.iter().map(|to| async move {
                    let connection = Floor::connect(from, to).await?;
                    Floor::round_trips(&connection, 1).await?;
                    anyhow::Ok(connection)
                });
                kept.extend(try_join_all(linked).await?);
            }
            anyhow::Ok(kept)
        }
    });
    let _kept = try_join_all(dials).await?;
    Ok(begin.elapsed().as_secs_f64())
}
