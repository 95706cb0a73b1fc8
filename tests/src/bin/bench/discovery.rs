//! Time from a member's start to its first link, for each source of addresses. The other member is already running and
//! has announced itself.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::{
    node::{Builder, ChannelRequest, Node},
    status::SourceState,
};
use bitchat_tests::opentracker::OpenTracker;
use bitchat_wire::{
    channel::{ChannelFile, ChannelId, Policy, Rotation},
    identity::IdentityKey,
};

use super::{
    figure::{median, ms, print},
    node::{address, full},
};

/// Number of measured starts per source.
const ROUNDS: usize = 5;
/// Number of DHT nodes beside the two.
const SWARM: usize = 12;
/// Time limit for a source to become ready, which takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Polling interval.
const LOOK: Duration = Duration::from_millis(2);

/// The source through which the two find each other.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Cache,
    Http,
    Udp,
    Dht,
    Lan,
}

pub(crate) async fn run() -> Result<()> {
    for (by, name) in [
        (By::Cache, "cache"),
        (By::Http, "http"),
        (By::Udp, "udp"),
        (By::Dht, "dht"),
        (By::Lan, "lan"),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(ms(one(by).await.with_context(|| format!("by {name}"))?));
        }
        print(&format!("discovery_{name}_ms"), median(&mut times), "ms");
    }
    Ok(())
}

fn builder(folder: &Path, name: &str, seed: u8) -> Builder {
    let identity = IdentityKey::from_seed(&[seed; 32]);
    Node::builder(folder.join(format!("{name}.db")), identity)
        .name(name)
        .bind([Ipv4Addr::LOCALHOST.into()])
}

async fn one(by: By) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let tracker = match by {
        By::Http | By::Udp => Some(OpenTracker::start(&[])?),
        _ => None,
    };
    let trackers = tracker.iter().map(|tracker| match by {
        By::Udp => format!("udp://{}/announce", tracker.address()),
        _ => tracker.url(),
    });
    let mut swarm: Vec<Node> = Vec::new();
    if by == By::Dht {
        for n in 0..SWARM {
            let node = builder(folder, &format!("n{n}"), n as u8 + 10)
                .dht(true)
                .dht_bootstrap(swarm.iter().take(3).map(|n| address(n).to_string()));
            swarm.push(node.start().await?);
        }
        for node in &swarm {
            let known = async || {
                Ok(node
                    .dht()
                    .await?
                    .families()
                    .any(|f| f.table.good >= SWARM / 2))
            };
            until("the DHT is warm", known).await?;
        }
    }
    let first = |swarm: &[Node]| {
        builder(folder, "first", 1)
            .dht(by == By::Dht)
            .lan(by == By::Lan)
            .dht_bootstrap(swarm.iter().map(|n| address(n).to_string()))
    };
    let second = |swarm: &[Node]| {
        builder(folder, "second", 2)
            .dht(by == By::Dht)
            .lan(by == By::Lan)
            .dht_bootstrap(swarm.iter().map(|n| address(n).to_string()))
    };
    // The second has the channel, and has met nobody, except for the cache.
    let maker = builder(folder, "first", 1).start().await?;
    let file = maker
        .create_channel(ChannelRequest {
            name: "bench".into(),
            policy: Policy::Open,
            rotation: Rotation::Daily,
            trackers: trackers.collect(),
            nodes: Vec::new(),
            relays: Vec::new(),
        })
        .await?;
    let cid = file.id();
    if let Some(tracker) = &tracker {
        let hashes = maker.channel(cid).await?.rendezvous;
        tracker.serve(&hashes.map(|hash| hash.to_string()))?;
    }
    if by != By::Cache {
        maker.stop().await;
    }
    let joiner = builder(folder, "second", 2).start().await?;
    joiner.join(file.clone()).await?;
    if by == By::Cache {
        joiner.connect(cid, address(&maker)).await?;
        full(&joiner, cid, 2).await?;
        full(&maker, cid, 2).await?;
    }
    joiner.stop().await;

    let waiting = if by == By::Cache {
        maker
    } else {
        first(&swarm).start().await?
    };
    ready(&waiting, by, &file).await?;
    let begin = Instant::now();
    let late = second(&swarm).start().await?;
    until("the two are linked", async || online(&late, cid).await).await?;
    let took = begin.elapsed();
    late.stop().await;
    waiting.stop().await;
    for node in swarm {
        node.stop().await;
    }
    Ok(took)
}

async fn online(node: &Node, cid: ChannelId) -> Result<bool> {
    Ok(node.channel(cid).await?.summary.online == 2)
}

/// Waits until a node has announced itself.
async fn ready(node: &Node, by: By, file: &ChannelFile) -> Result<()> {
    let is_ready = async || {
        let known = node.channel(file.id()).await?.discovery;
        Ok(match by {
            By::Http | By::Udp => known.sources.iter().any(|source| {
                matches!(source.kind, bitchat_actors::status::SourceKind::Tracker(_))
                    && source.state == SourceState::Working
            }),
            By::Dht => known.dht.is_some_and(|dht| dht.announced_to > 0),
            By::Cache | By::Lan => true,
        })
    };
    until("the first has announced itself", is_ready).await?;
    // By then, the ended link and the announce are complete.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    Ok(())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !holds().await? {
        ensure!(begin.elapsed() < PATIENCE, "it never came true: {what}");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
