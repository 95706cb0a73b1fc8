//! A newcomer gets 100,000 events from three members, which keep talking.

use std::time::{Duration, Instant};

use anyhow::Result;
use bitchat_tests::process::eventually;

use super::{
    burst::three,
    child::Peer,
    figure::{percentile, print},
};

const EVENTS: usize = 99_999;
/// Interval between live messages.
const EVERY_MS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut peers, link) = three(folder.path())?;
    for peer in &mut peers {
        peer.order(&format!("say {}", EVENTS / 3))?;
    }
    for peer in &mut peers {
        peer.answer()?;
    }
    // Each log has two other events before the messages.
    for peer in &mut peers {
        peer.ask(&format!("position {}", EVENTS + 6))?;
    }
    let mut newcomer = Peer::start(folder.path(), "newcomer")?;
    for peer in &mut peers[1..] {
        peer.ask("listen")?;
    }
    let begin = Instant::now();
    newcomer.ask(&format!("join {link}"))?;
    for peer in &mut peers {
        let address = peer.ask("address")?;
        newcomer.ask(&format!("connect {address}"))?;
    }
    peers[0].ask(&format!("chat {EVERY_MS}"))?;
    newcomer.ask(&format!("position {}", EVENTS + 8))?;
    let said: usize = peers[0].ask("hush")?.parse()?;
    // Messages sent meanwhile are in the count, too: now it is complete.
    newcomer.ask(&format!("position {}", EVENTS + 8 + said))?;
    print("sync100k_s", begin.elapsed().as_secs_f64(), "s");
    let mut live: Vec<f64> = Vec::new();
    for peer in &mut peers[1..] {
        peer.ask(&format!("position {}", EVENTS + 8 + said))?;
        // It reads its store a moment after the events that wake it.
        let heard = eventually("all is heard", PATIENCE, || {
            let heard: Vec<f64> = serde_json::from_str(&peer.ask("heard")?)?;
            Ok((heard.len() == said).then_some(heard))
        })?;
        live.extend(heard);
    }
    print("sync100k_live_words", live.len() as f64, "words heard");
    print("sync100k_live_p50_ms", percentile(&mut live, 0.5), "ms");
    print("sync100k_live_p99_ms", percentile(&mut live, 0.99), "ms");
    Ok(())
}
