//! Three processes send 100,000 messages as fast as they can.

use std::time::Instant;

use anyhow::Result;

use super::{child::Peer, figure::print};

const EVENTS: usize = 100_000;

/// Three processes of one channel, fully linked.
pub(crate) fn three(folder: &std::path::Path) -> Result<(Vec<Peer>, String)> {
    let mut peers: Vec<Peer> = ["a", "b", "c"]
        .iter()
        .map(|name| Peer::start(folder, name))
        .collect::<Result<_>>()?;
    let link = peers[0].ask("create")?;
    let first = peers[0].ask("address")?;
    for peer in &mut peers[1..] {
        peer.ask(&format!("join {link}"))?;
        peer.ask(&format!("connect {first}"))?;
    }
    for peer in &mut peers {
        peer.ask("full 3")?;
    }
    Ok((peers, link))
}

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut peers, _) = three(folder.path())?;
    let begin = Instant::now();
    let share = EVENTS / peers.len();
    for peer in &mut peers {
        peer.order(&format!("say {share}"))?;
    }
    for peer in &mut peers {
        peer.answer()?;
    }
    let said = begin.elapsed().as_secs_f64();
    // Each log has two other events before the messages.
    let all = share * peers.len() + 2 * peers.len();
    for peer in &mut peers {
        peer.ask(&format!("position {all}"))?;
    }
    let took = begin.elapsed().as_secs_f64();
    print("burst3_said_s", said, "s");
    print(
        "burst3_committed_per_s",
        (share * peers.len()) as f64 / took,
        "events/s",
    );
    Ok(())
}
