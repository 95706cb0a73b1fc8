//! Latency of a message.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use bitchat_actors::node::{Node, NodeEvent};
use bitchat_tests::api::Api;
use bitchat_wire::channel::ChannelId;

use super::{
    figure::{median, ms, own_cpu_seconds, percentile, print},
    floor::Floor,
    node,
    program::{self, CHANNEL},
};

/// Rounds of alternating blocks, so that a slowdown of the machine affects both.
const ROUNDS: usize = 20;
/// Number of round trips in a block.
const BLOCK: usize = 500;
/// Number of messages, sent one after the other.
const WORDS: usize = 300;

pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    in_one_process(folder.path()).await?;
    by_the_api(folder.path()).await
}

/// Links beside raw QUIC; both ends in this process, so that its CPU time is that of both.
async fn in_one_process(folder: &Path) -> Result<()> {
    let (alice, bob) = (
        node::start(folder, "alice").await?,
        node::start(folder, "bob").await?,
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

    // Warm-up.
    Floor::round_trips(&connection, BLOCK).await?;
    round_trips(&alice, cid, BLOCK).await?;
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    let (mut raw, mut links) = (Vec::new(), Vec::new());
    let (mut raw_cpu, mut links_cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = own_cpu_seconds();
        let mut floors = Floor::round_trips(&connection, BLOCK).await?;
        let between = own_cpu_seconds();
        let mut ours = round_trips(&alice, cid, BLOCK).await?;
        let (floor_cpu, our_cpu) = (between - begin, own_cpu_seconds() - between);
        times.push(median(&mut ours) / median(&mut floors));
        cpus.push(our_cpu / floor_cpu);
        raw_cpu.push(floor_cpu / BLOCK as f64);
        links_cpu.push(our_cpu / BLOCK as f64);
        raw.extend(floors);
        links.extend(ours);
    }
    print("link_rtt_p50_ratio", median(&mut times), "x raw quinn");
    print("link_rtt_cpu_ratio", median(&mut cpus), "x raw quinn");
    print("link_rtt_p50_us", median(&mut links) * 1e6, "us");
    print("raw_quinn_rtt_p50_us", median(&mut raw) * 1e6, "us");
    print("link_rtt_cpu_us", median(&mut links_cpu) * 1e6, "us");
    print("raw_quinn_rtt_cpu_us", median(&mut raw_cpu) * 1e6, "us");

    let mut shown = send_to_shown(&alice, &bob, cid).await?;
    print("library_send_to_shown_p50_ms", median(&mut shown), "ms");
    alice.stop().await;
    bob.stop().await;
    Ok(())
}

/// Measures round trips of a ping through a link, echoed by the other's reader, in seconds each.
async fn round_trips(node: &Node, cid: ChannelId, count: usize) -> Result<Vec<f64>> {
    let links = node.links(cid).await?;
    let link = links.first().context("nobody is linked")?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        times.push(link.ping().await.context("the link ended")?.as_secs_f64());
    }
    Ok(times)
}

/// Measures from the call on one node to the other's event stream, committed on both, in milliseconds each.
async fn send_to_shown(from: &Node, to: &Node, cid: ChannelId) -> Result<Vec<f64>> {
    let mut events = to.subscribe();
    let mut times = Vec::with_capacity(WORDS);
    for n in 0..WORDS {
        let begin = Instant::now();
        from.chat(cid)?.send(format!("line {n}")).await?;
        while !matches!(events.recv().await?, NodeEvent::Committed { .. }) {}
        times.push(ms(begin.elapsed()));
    }
    Ok(times)
}

/// Measures the real program: from the request to one's local API to the other's event stream, in milliseconds each.
async fn by_the_api(folder: &Path) -> Result<()> {
    let nodes = program::linked(folder, &["a", "b"])?;
    let (from, to) = (Api::of(&nodes[0])?, Api::of(&nodes[1])?);
    let mut events = to.events().await?;
    let mut times = Vec::with_capacity(WORDS);
    for n in 0..WORDS {
        let word = format!("word {n} of many");
        let begin = Instant::now();
        // The response arrives when the message is committed here; the other may show it earlier.
        let (said, shown) = tokio::join!(from.say(CHANNEL, &word), events.until(&word));
        said.and(shown)?;
        times.push(ms(begin.elapsed()));
    }
    print("send_to_shown_p50_ms", median(&mut times), "ms");
    print("send_to_shown_p99_ms", percentile(&mut times, 0.99), "ms");
    Ok(())
}
