//! Kill -9.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use super::*;

/// Where the child keeps its database. Set in the child alone.
const CHILD: &str = "BITCHAT_TEST_STORE_CHILD";
/// What starts a line that names an acknowledged event.
const ACK: &str = "acknowledged ";

/// Not a test: the process that is killed. It appends as fast as it can, many calls in flight, and
/// says which were acknowledged.
#[tokio::test]
async fn child() {
    let Some(folder) = env::var_os(CHILD) else {
        return;
    };
    let (scope, _) = Scope::new(Metrics::default());
    let path = Path::new(&folder).join("db");
    let store = Store::open(&path, &scope, INDEXES).await.unwrap();
    store.put_channel(record(CID)).await.unwrap();
    let mut pen = Pen::new(CID, 1, 2);
    match store.heads(CID).await.unwrap().pop() {
        None => drop(store.append(CID, vec![pen.first()]).await.unwrap()),
        Some(head) => (pen.next, pen.head, pen.lamport) = (head.next, head.head, head.lamport),
    }
    let mut flying = std::collections::VecDeque::new();
    loop {
        let seq = pen.next;
        let said = pen.keyed(&format!("{seq}"), &format!("key {seq}"));
        flying.push_back((seq, Box::pin(store.append(CID, vec![said]))));
        if flying.len() > 50 {
            let (seq, call) = flying.pop_front().unwrap();
            call.await.unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "\n{ACK}{seq}").unwrap();
            out.flush().unwrap();
        }
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_acknowledged() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = 0;
    for (round, acks) in [1_usize, 40, 333, 120].into_iter().enumerate() {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::child", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < acks {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(seq) = line.strip_prefix(ACK) {
                acknowledged = seq.parse().unwrap();
                seen += 1;
            }
        }
        child.kill().unwrap();
        // What it said before it was killed counts too; the last line may be cut off.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        for line in rest.iter().rev().skip(1) {
            if let Some(seq) = line.strip_prefix(ACK) {
                acknowledged = acknowledged.max(seq.parse().unwrap());
            }
        }
        child.wait().unwrap();

        let (scope, _) = Scope::new(Metrics::default());
        let path = folder.path().join("db");
        let store = Store::open(&path, &scope, INDEXES).await.unwrap();
        let head = store.heads(CID).await.unwrap().remove(0);
        assert!(head.next > acknowledged, "round {round}");
        let mut from = 0;
        while from < head.next {
            let device = head.certificate.device;
            let events = store.events(CID, device, from, head.next, 1 << 16).await;
            for event in events.unwrap() {
                // Each is there once, whole, in its place, with its key.
                let again = Event::verify(&CID, event.raw().clone(), event.signature());
                assert_eq!(again.unwrap(), event);
                assert_eq!(event.header().seq, from);
                if from > 0 {
                    assert_eq!(text_of(&event), format!("{from}"));
                    let key = store.by_key(CID, &format!("key {from}")).await;
                    assert_eq!(key, Ok(Some(event.id())));
                }
                from += 1;
            }
        }
        let check: String = store
            .tamper(|conn| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(check, "ok");
        assert!(scope.stop(PATIENCE).await);
    }
}
