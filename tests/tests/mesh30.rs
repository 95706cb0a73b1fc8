//! Thirty real processes of one channel, and a real tracker: all link with each other, and receive all messages.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Instant};

use bitchat_tests::{opentracker::OpenTracker, party::Party};

const NODES: usize = 30;

#[tokio::test]
async fn thirty_processes_form_a_full_mesh_and_talk() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = OpenTracker::start(&[]).unwrap();
    let begin = Instant::now();
    let party = Party::start(folder.path(), NODES, &tracker).unwrap();
    println!("started and joined in {:?}", begin.elapsed());
    let took = party.full().await.unwrap();
    println!("435 links {took:?} after the last join");
    let begin = Instant::now();
    let log = party.talk("hello", NODES).await.unwrap();
    println!("a line of each reached all in {:?}", begin.elapsed());
    let different: BTreeSet<_> = log.iter().collect();
    assert_eq!(
        different.len(),
        NODES,
        "something was lost or doubled: {log:?}"
    );
}
