//! A newcomer gets 100,000 events from three members.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    burst::three,
    child::Peer,
    figure::{ms, percentile, print},
};

const EVENTS: usize = 99_999;

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut peers, link) = three(folder.path())?;
    for peer in &mut peers {
        peer.order(&format!("say {}", EVENTS / 3))?;
    }
    for peer in &mut peers {
        peer.answer()?;
    }
    for peer in &mut peers {
        peer.ask(&format!("position {}", EVENTS + 6))?;
    }
    let mut newcomer = Peer::start(folder.path(), "newcomer")?;
    let begin = Instant::now();
    newcomer.ask(&format!("join {link}"))?;
    for peer in &mut peers {
        let address = peer.ask("address")?;
        newcomer.ask(&format!("connect {address}"))?;
    }
    newcomer.order(&format!("position {}", EVENTS + 8))?;
    // Meanwhile the others talk on, among themselves.
    let mut live = Vec::new();
    for _ in 0..50 {
        let at: u64 = peers[1].ask("at")?.parse()?;
        let say = Instant::now();
        peers[0].ask("say 1")?;
        peers[1].ask(&format!("position {}", at + 1))?;
        live.push(ms(say.elapsed()));
        std::thread::sleep(Duration::from_millis(50));
    }
    newcomer.answer()?;
    print("sync100k_s", begin.elapsed().as_secs_f64(), "s");
    print("sync100k_live_p99_ms", percentile(&mut live, 0.99), "ms");
    Ok(())
}
