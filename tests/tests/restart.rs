//! The trackers are gone and all nodes restart: they find each other through remembered addresses.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use bitchat_tests::{opentracker::OpenTracker, party::Party};

const NODES: usize = 5;
/// Limit from the last node's start to the full mesh. The goal is 2 s, and the time that it took is printed; the limit is
/// for a busy machine, and still less than the interval of any tracker.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn without_trackers_the_mesh_forms_again_from_the_peer_cache() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = OpenTracker::start(&[]).unwrap();
    let party = Party::start(folder.path(), NODES, &tracker).unwrap();
    party.full().await.unwrap();
    party.talk("before", NODES).await.unwrap();

    drop(tracker);
    for node in party.nodes {
        let (status, _) = node.stop().unwrap();
        assert!(status.success(), "{status}");
    }
    let party = Party::again(folder.path(), NODES).unwrap();
    let took = party.full().await.unwrap();
    println!("the mesh of {NODES} formed again {took:?} after the last node was ready");
    assert!(took < BOUND, "that took {took:?}");
    party.talk("after", 2 * NODES).await.unwrap();

    // The same after they were killed, without time to clean up.
    for node in party.nodes {
        node.kill().unwrap();
    }
    let party = Party::again(folder.path(), NODES).unwrap();
    let took = party.full().await.unwrap();
    println!("and {took:?} after all of them had been killed");
    assert!(took < BOUND, "that took {took:?}");
    party.talk("at last", 3 * NODES).await.unwrap();
}
