//! Our DHT node among those of the crate `mainline`, as in `dht_libtorrent.rs`. That crate accepts only messages with
//! transaction ids of four bytes, which Transmission uses and libtorrent does not; so only a node disguised as
//! Transmission (the default) can talk with it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bitchat_actors::internals::dht::{Id, Profile};
use bitchat_tests::dht::{
    PATIENCE, Swarm, among_twenty, three_programs_meet, who_knows_only_us_knows_the_others,
};
use futures_util::StreamExt;
use mainline::async_dht::AsyncDht;

/// Each swarm has its own network, 127.0.N.0/24, since nodes of this crate keep no two neighbours of one address, and swarms
/// must not share nodes.
static NETWORK: AtomicU8 = AtomicU8::new(100);

/// The crate's nodes, each a thread of this process.
struct Mainline {
    members: Vec<AsyncDht>,
    nodes: Vec<String>,
}

impl Swarm for Mainline {
    async fn start(count: usize, entry: Option<SocketAddr>) -> Result<Self> {
        let network = NETWORK.fetch_add(1, Ordering::Relaxed);
        let mut swarm = Self {
            members: Vec::new(),
            nodes: Vec::new(),
        };
        for number in 1..=u8::try_from(count)? {
            let mut builder = mainline::Dht::builder();
            builder
                .server_mode()
                .bind_address(Ipv4Addr::new(127, 0, network, number))
                .port(0);
            match entry {
                Some(entry) => builder.bootstrap(&[entry]),
                // Two nodes that started before it.
                None if swarm.nodes.is_empty() => builder.no_bootstrap(),
                None => {
                    let last = swarm.nodes.len() - 1;
                    builder.bootstrap(&[&swarm.nodes[last / 2], &swarm.nodes[last]])
                }
            };
            let node = builder.build()?.as_async();
            let address = node.info().await.local_addr();
            swarm.nodes.push(address.to_string());
            swarm.members.push(node);
        }
        // Again, since this crate bootstraps only once at its start, when the first nodes found nobody.
        for node in &swarm.members {
            ensure!(node.bootstrapped().await, "a node of theirs stays alone");
        }
        Ok(swarm)
    }

    fn nodes(&self) -> &[String] {
        &self.nodes
    }

    async fn tables(&mut self) -> Result<Vec<usize>> {
        let mut tables = Vec::new();
        for node in &self.members {
            tables.push(node.to_bootstrap().await.len());
        }
        Ok(tables)
    }

    async fn announce(&mut self, hash: Id) -> Result<SocketAddr> {
        // Without a port, the source port of the query counts.
        self.members[0].announce_peer(hash.0.into(), None).await?;
        Ok(self.nodes[0].parse()?)
    }

    async fn get(&mut self, hash: Id) -> Result<Vec<SocketAddr>> {
        let begin = Instant::now();
        loop {
            let mut answers = self.members[1].get_peers(hash.0.into());
            let first = tokio::time::timeout(PATIENCE, answers.next()).await?;
            if let Some(peers) = first {
                return Ok(peers.into_iter().map(SocketAddr::V4).collect());
            }
            ensure!(begin.elapsed() < PATIENCE, "they find nobody");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_twenty_of_mainline() -> Result<()> {
    among_twenty::<Mainline>(Profile::Transmission, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_only_us_find_each_other() -> Result<()> {
    who_knows_only_us_knows_the_others::<Mainline>(21).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_programs_with_a_trackerless_file_meet() -> Result<()> {
    three_programs_meet::<Mainline>().await
}
