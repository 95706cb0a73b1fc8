//! Nodes are killed at random moments while three of them talk. What `send` acknowledged is in all logs,
//! exactly once.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bitchat_tests::process::{ALONE, NodeProcess, cli, eventually, log_ids, try_cli};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Messages sent by the three together.
const MESSAGES: usize = 1_000;
/// Number of kills.
const KILLS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn nothing_acknowledged_is_lost_or_duplicated() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let homes: Vec<PathBuf> = ["a", "b", "c"].iter().map(|n| dir.path().join(n)).collect();
    let mut nodes: Vec<NodeProcess> = homes
        .iter()
        .map(|home| NodeProcess::up(home, ALONE).unwrap())
        .collect();
    let file = dir.path().join("stress.chat");
    let file = file.to_str().unwrap();
    nodes[0]
        .cli(&["channel", "create", "stress", "--out", file])
        .unwrap();
    for node in &nodes[1..] {
        node.cli(&["channel", "join", file]).unwrap();
    }
    // Two are given the third's address, and learn of each other from it.
    let hub = format!("127.0.0.1:{}", nodes[0].port());
    for node in &nodes[1..] {
        node.cli(&["channel", "connect", "stress", &hub]).unwrap();
    }
    eventually("everyone is linked with everyone", PATIENCE, || {
        for home in &homes {
            let info = &cli(home, &["channel", "info", "stress"])?[0];
            if info["mesh"] != "full" || info["online"] != 3 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .unwrap();

    let begun = Instant::now();
    let done = AtomicUsize::new(0);
    let acknowledged: Vec<(String, String)> = std::thread::scope(|scope| {
        let senders: Vec<_> = homes
            .iter()
            .enumerate()
            .map(|(who, home)| {
                let step = homes.len();
                let done = &done;
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for number in (who..MESSAGES).step_by(step) {
                        let text = format!("message {number}");
                        let key = format!("key-{number}");
                        // Killed before or after the message was sent: sending again with the key sends it once.
                        let id = eventually("a line is said", PATIENCE, || {
                            let said = try_cli(home, &["send", "stress", &text, "--key", &key])?;
                            Ok(match said.code {
                                Some(0) => said.lines()?[0]["event_id"].as_str().map(str::to_owned),
                                _ => None,
                            })
                        })
                        .unwrap();
                        acknowledged.push((id, text));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    acknowledged
                })
            })
            .collect();
        for kill in 1..=KILLS {
            // Spread over the whole run, whatever its speed.
            let at = MESSAGES * kill / (KILLS + 1);
            while done.load(Ordering::Relaxed) < at && !senders.iter().all(|s| s.is_finished()) {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
            let victim = rng.random_range(0..nodes.len());
            nodes.remove(victim).kill().unwrap();
            std::thread::sleep(Duration::from_millis(rng.random_range(0..1_000)));
            // It takes its old port again, or another one if the kernel has given that to a command.
            nodes.insert(victim, NodeProcess::up(&homes[victim], ALONE).unwrap());
            println!("killed {victim} at {:?}", begun.elapsed());
        }
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect()
    });
    println!("{MESSAGES} lines acknowledged in {:?}", begun.elapsed());

    let begun = Instant::now();
    let log = eventually("all logs are equal", PATIENCE, || {
        let logs = homes
            .iter()
            .map(|home| log_ids(home, "stress"))
            .collect::<Result<Vec<_>, _>>()?;
        let equal = logs.iter().all(|log| *log == logs[0]) && logs[0].len() >= MESSAGES;
        std::thread::sleep(Duration::from_millis(200));
        Ok(equal.then(|| logs[0].clone()))
    })
    .unwrap_or_else(|error| {
        for home in &homes {
            println!(
                "{}: {} lines; {:?}",
                home.display(),
                log_ids(home, "stress").map_or(0, |log| log.len()),
                cli(home, &["members", "stress"]),
            );
        }
        panic!("{error}")
    });
    println!("all logs equal after {:?}", begun.elapsed());

    let ids: BTreeSet<&String> = log.iter().collect();
    assert_eq!(ids.len(), log.len(), "an event is shown twice");
    for (id, text) in &acknowledged {
        assert!(ids.contains(id), "{text} was acknowledged and is lost");
    }
    let texts: Vec<String> = cli(&homes[0], &["log", "stress"])
        .unwrap()
        .iter()
        .map(|event| event["text"].as_str().unwrap().to_owned())
        .collect();
    let distinct: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(distinct.len(), texts.len(), "a line was said twice");
    assert_eq!(texts.len(), MESSAGES);
}
