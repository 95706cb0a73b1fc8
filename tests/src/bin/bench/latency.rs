//! How long a word takes.

use std::time::Instant;

use anyhow::{Context, Result};
use bitchat_actors::node::{Node, NodeEvent};
use bitchat_wire::channel::ChannelId;

use super::{
    figure::{median, ms, percentile, print},
    floor::Floor,
    node,
};

/// Alternating blocks, so that a machine that slows down slows both.
const ROUNDS: usize = 12;
const BLOCK: usize = 200;

pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (alice, bob) = (
        node::start(folder.path(), "alice").await?,
        node::start(folder.path(), "bob").await?,
    );
    let file = node::channel(&alice).await?;
    let cid = file.id();
    bob.join(file).await?;
    bob.connect(cid, node::address(&alice)).await?;
    node::full(&alice, cid, 2).await?;
    node::full(&bob, cid, 2).await?;

    let floor = Floor::new()?;
    let (near, far) = (floor.endpoint()?, floor.endpoint()?);
    let connection = Floor::connect(&near, &far).await?;

    let (mut shown, mut raw, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut links = round_trips(&alice, cid, BLOCK).await?;
        let mut floors = Floor::round_trips(&connection, BLOCK).await?;
        ratios.push(median(&mut links) / median(&mut floors));
        raw.extend(floors);
        shown.extend(send_to_shown(&alice, &bob, cid, BLOCK / 4).await?);
    }
    print("link_rtt_p50_ratio", median(&mut ratios), "x raw quinn");
    print("raw_quinn_rtt_p50_us", median(&mut raw) * 1e6, "us");
    print("send_to_shown_p50_ms", median(&mut shown), "ms");
    print("send_to_shown_p99_ms", percentile(&mut shown, 0.99), "ms");
    alice.stop().await;
    bob.stop().await;
    Ok(())
}

/// Round trips of a ping through a link and its echo in the other's reader, in seconds each.
async fn round_trips(node: &Node, cid: ChannelId, count: usize) -> Result<Vec<f64>> {
    let links = node.links(cid).await?;
    let link = links.first().context("nobody is linked")?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(link.ping().await.context("the link ended")?.as_secs_f64());
    }
    Ok(times)
}

/// From the call at one to the other's event stream, committed at both, in milliseconds each.
async fn send_to_shown(from: &Node, to: &Node, cid: ChannelId, count: usize) -> Result<Vec<f64>> {
    let mut events = to.subscribe();
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let begin = Instant::now();
        from.send(cid, format!("line {n}"), None).await?;
        loop {
            if matches!(events.recv().await?, NodeEvent::Committed { .. }) {
                break;
            }
        }
        times.push(ms(begin.elapsed()));
    }
    Ok(times)
}
