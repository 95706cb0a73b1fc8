//! A node that crashes and comes back on its port.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Runs a node on a tokio runtime of its own, which can be torn down as in a crash.
fn doomed(port: u16) -> (tokio::runtime::Runtime, Node) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let node = std::thread::scope(|threads| {
        threads
            .spawn(|| runtime.block_on(Node::with(config(V4, port))))
            .join()
            .unwrap()
    });
    (runtime, node)
}

/// Kills a node without sending a packet, and starts another on its port with the same reset key. What the node's owner
/// held is lost with it.
async fn crash_and_restart(
    runtime: tokio::runtime::Runtime,
    node: (Node, (StreamKind, Stream)),
) -> Node {
    let port = node.0.transport.port();
    // Nothing runs any more when the rest is dropped, so nothing is sent.
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE))
        .await
        .unwrap();
    drop(node);
    let (scope, _) = Scope::new(Metrics::default());
    within(async {
        loop {
            let (sender, events) = mpsc::channel(EVENTS);
            // The old socket closes when the last task of the old runtime is dropped.
            match Transport::start(config(V4, port), &scope, sender).await {
                Ok(transport) => {
                    break Node {
                        transport,
                        events,
                        scope,
                    };
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_is_noticed_by_the_next_packet() {
    for dialler_dies in [false, true] {
        let mut survivor = Node::start().await;
        let (runtime, mut victim) = doomed(0);
        let connection = if dialler_dies {
            let (transport, to) = (victim.transport.clone(), survivor.address());
            runtime
                .spawn(async move { transport.dial(to, None).await })
                .await
                .unwrap()
                .unwrap();
            survivor.connected().await
        } else {
            let connection = survivor.dial(&victim).await;
            victim.connected().await;
            connection
        };
        let mut stream = connection.open(StreamKind::Link).await.unwrap();
        let mut theirs = victim.stream().await;
        // The victim's data comes after the connection ids and reset tokens that it sent at first.
        theirs.1.send.write_all(b"!").await.unwrap();
        assert_eq!(within(stream.recv.read_u8()).await.unwrap(), b'!');

        let reborn = crash_and_restart(runtime, (victim, theirs)).await;
        assert!(!connection.is_closed(), "it died without a word");
        let begin = Instant::now();
        stream.send.write_all(b"are you there?").await.unwrap();
        assert_eq!(survivor.closed().await, "the peer has restarted");
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "long before an idle time-out of a minute"
        );
        let again = survivor.dial(&reborn).await;
        assert_ne!(again.peer(), connection.peer(), "a new run, a new PeerId");
        reborn.stop().await;
        survivor.stop().await;
    }
}
