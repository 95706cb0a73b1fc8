//! Fifty nodes of one channel in one process.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::node::{Node, NodeEvent};
use bitchat_wire::channel::ChannelId;
use futures_util::future::{join_all, try_join_all};

use super::{
    figure::{median, ms, own_cpu_seconds, percentile, print, resident_kib},
    floor::Floor,
    node,
    watch::Seen,
};

/// The first argument of a child that measures memory and broadcasts, in its own process so that its memory is not shared.
pub(crate) const CHILD: &str = "mesh-child";
const NODES: usize = 50;
/// Rounds of a raw mesh and one of nodes.
const ROUNDS: usize = 10;
const BROADCASTS: usize = 100;
/// Interval between messages: each is measured alone, after the acknowledgements of the last one.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run() -> Result<()> {
    let floor = Floor::new()?;
    let (mut ratios, mut cpus) = (Vec::new(), Vec::new());
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let raw = raw(&floor).await?;
        let folder = tempfile::tempdir()?;
        let nodes = start(folder.path()).await?;
        let (begin, cpu) = (Instant::now(), own_cpu_seconds());
        let _cid = mesh(&nodes).await?;
        let took = begin.elapsed().as_secs_f64();
        cpus.push(own_cpu_seconds() - cpu);
        ratios.push(took / raw);
        floors.push(raw);
        ours.push(took);
        join_all(nodes.iter().map(Node::stop)).await;
    }
    print("mesh50_full_ratio", median(&mut ratios), "x raw quinn");
    print("mesh50_cpu_s", median(&mut cpus), "s");
    print("mesh50_full_s", median(&mut ours), "s");
    print("mesh50_raw_quinn_s", median(&mut floors), "s");
    let child = Command::new(std::env::current_exe()?).arg(CHILD).status()?;
    ensure!(child.success(), "the child failed");
    Ok(())
}

async fn start(folder: &Path) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for n in 0..NODES {
        nodes.push(node::start(folder, &format!("n{n}")).await?);
    }
    Ok(nodes)
}

/// Creates a channel that all join, and waits for the full mesh. Each is given the first one's address; the rest is
/// peer exchange.
async fn mesh(nodes: &[Node]) -> Result<ChannelId> {
    let file = node::channel(&nodes[0]).await?;
    let cid = file.id();
    try_join_all(nodes[1..].iter().map(|node| node.join(file.clone()))).await?;
    let first = node::address(&nodes[0]);
    try_join_all(nodes[1..].iter().map(|node| node.connect(cid, first))).await?;
    for node in nodes {
        node::full(node, cid, NODES).await?;
    }
    Ok(cid)
}

/// Opens all connections of a mesh in raw quinn, with one stream each that echoes once.
async fn raw(floor: &Floor) -> Result<f64> {
    let endpoints: Vec<_> = (0..NODES)
        .map(|_| floor.endpoint())
        .collect::<Result<_>>()?;
    let begin = Instant::now();
    let dials = endpoints.iter().enumerate().map(|(n, from)| {
        let others = &endpoints[n + 1..];
        async move {
            let mut kept = Vec::new();
            // A few at a time, as a node does; otherwise they starve each other.
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
    let kept = try_join_all(dials).await?;
    let took = begin.elapsed().as_secs_f64();
    drop(kept);
    for endpoint in &endpoints {
        endpoint.close(0u32.into(), b"");
    }
    join_all(endpoints.iter().map(quinn::Endpoint::wait_idle)).await;
    Ok(took)
}

/// Measures memory, then broadcasts, in its own process.
pub(crate) async fn child() -> Result<()> {
    let seen = Seen::begin()?;
    let folder = tempfile::tempdir()?;
    let empty = resident_kib(None)?;
    let nodes = start(folder.path()).await?;
    let started = resident_kib(None)?;
    let cid = mesh(&nodes).await?;
    for (n, node) in nodes.iter().enumerate() {
        node.chat(cid)?.send(format!("one message of {n}")).await?;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let ends = (NODES * (NODES - 1)) as f64;
    let now = resident_kib(None)?;
    // Gross: what the nodes themselves use (databases above all) is divided among their connections.
    print("conn_end_kib", (now - empty) / ends, "KiB");
    print("conn_end_without_nodes_kib", (now - started) / ends, "KiB");
    broadcast(&nodes, cid, &seen).await?;
    join_all(nodes.iter().map(Node::stop)).await;
    Ok(())
}

/// Measures messages of one to all others: when the last has verified it, when the last has committed it, and how many
/// copies were sent.
async fn broadcast(nodes: &[Node], cid: ChannelId, seen: &Seen) -> Result<()> {
    let (mut verified, mut committed) = (Vec::new(), Vec::new());
    let before = seen.copies();
    for n in 0..BROADCASTS {
        let (from, others) = (&nodes[n % NODES], nodes.len() - 1);
        let copies = seen.copies();
        let mut listeners: Vec<_> = nodes.iter().map(Node::subscribe).collect();
        let begin = Instant::now();
        from.chat(cid)?.send(format!("to all {n}")).await?;
        for events in &mut listeners {
            while !matches!(events.recv().await?, NodeEvent::Committed { .. }) {}
        }
        committed.push(ms(begin.elapsed()));
        ensure!(
            seen.copies() - copies >= others as u64,
            "an event was committed that no link has verified"
        );
        let last = seen.last().context("nothing was verified")?;
        verified.push(ms(last.duration_since(begin)));
        tokio::time::sleep(PAUSE).await;
    }
    // Late copies, from members that believe it is missing, count as well.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let needed = (BROADCASTS * (NODES - 1)) as f64;
    print(
        "broadcast50_verified_last_p50_ms",
        median(&mut verified),
        "ms",
    );
    print(
        "broadcast50_committed_last_p50_ms",
        median(&mut committed),
        "ms",
    );
    print(
        "broadcast50_committed_last_p99_ms",
        percentile(&mut committed, 0.99),
        "ms",
    );
    print(
        "broadcast50_copies",
        (seen.copies() - before) as f64 / needed,
        "copies an event",
    );
    Ok(())
}
