//! A channel whose trackers are broken in every way: the node survives, and `channel info` shows each one's state.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bitchat_tests::process::{ALONE, NodeProcess, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// Answers every request with the output of `write`, on its own port, until the test ends.
fn serve(
    write: impl Fn(&mut TcpStream, SocketAddr) -> std::io::Result<()> + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4_096];
            // The request fits one read on loopback; its content does not matter here. A client is expected to
            // disconnect in the middle of an endless answer.
            if stream.read(&mut request).is_ok() {
                let _ = write(&mut stream, own);
            }
        }
    });
    format!("http://{own}/announce")
}

fn page(status: &'static str, body: Vec<u8>) -> String {
    serve(move |stream, _| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)
    })
}

fn redirect(to: impl Fn(SocketAddr) -> String + Send + 'static) -> String {
    serve(move |stream, own| {
        let to = to(own);
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    })
}

fn dead() -> String {
    // Bound and dropped: nothing listens there.
    let own = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    format!("http://{own}/announce")
}

fn endless() -> String {
    serve(|stream, _| {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nd5:peers"
        )?;
        loop {
            stream.write_all(&[b'1'; 64 * 1024])?;
        }
    })
}

fn many_peers() -> String {
    // 10,000 compact peers at a documentation address (RFC 5737), where nothing answers.
    let mut body = b"d8:intervali1800e5:peers60000:".to_vec();
    for n in 0..10_000_u16 {
        body.extend_from_slice(&[192, 0, 2, 1]);
        body.extend_from_slice(&(n + 1_000).to_be_bytes());
    }
    body.push(b'e');
    page("200 OK", body)
}

#[test]
fn broken_trackers_are_survived_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let nested = [vec![b'l'; 100_000], vec![b'e'; 100_000]].concat();
    let trackers = [
        ("a dead host", dead()),
        (
            "an error page",
            page("500 Internal Server Error", b"oh no".to_vec()),
        ),
        (
            "HTML",
            page("200 OK", b"<html>Welcome to our hotel</html>".to_vec()),
        ),
        ("an endless body", endless()),
        ("100,000 levels", page("200 OK", nested)),
        (
            "a failure reason",
            page(
                "200 OK",
                b"d14:failure reason16:not for you, sir"
                    .to_vec()
                    .into_iter()
                    .chain(*b"e")
                    .collect(),
            ),
        ),
        (
            "a loop of redirects",
            redirect(|own| format!("http://{own}/announce")),
        ),
        (
            "a redirect into another private network",
            redirect(|_| "http://10.255.255.1/announce".into()),
        ),
    ];
    let mut args = vec!["channel", "create", "faults", "--out"];
    let file = dir.path().join("faults.chat");
    args.push(file.to_str().unwrap());
    let good = many_peers();
    for url in trackers.iter().map(|(_, url)| url).chain([&good]) {
        args.extend(["--tracker", url]);
    }
    let node = NodeProcess::up(&dir.path().join("node"), ALONE).unwrap();
    node.cli(&args).unwrap();

    let info = eventually("every tracker was tried", PATIENCE, || {
        let info = node.cli_one(&["channel", "info", "faults"])?;
        let tried = info["trackers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|tracker| tracker["state"] != "waiting");
        Ok(tried.then_some(info))
    })
    .unwrap();
    let state = |url: &str| -> Value {
        let trackers = info["trackers"].as_array().unwrap();
        trackers
            .iter()
            .find(|tracker| tracker["url"] == url)
            .unwrap()
            .clone()
    };
    for (what, url) in &trackers {
        let state = state(url);
        println!("{what}: {}", state["error"]);
        assert_eq!(state["state"], "failing", "{what}: {state}");
        assert!(
            state["error"]
                .as_str()
                .is_some_and(|text| text.len() > 5 && !text.contains('\n')),
            "{what}: {state}"
        );
        assert!(
            state["next_announce_s"]
                .as_u64()
                .is_some_and(|next| next >= 1),
            "{what} is tried again: {state}"
        );
    }
    let errors: std::collections::HashSet<String> = trackers
        .iter()
        .map(|(_, url)| state(url)["error"].to_string())
        .collect();
    assert!(
        errors.len() >= trackers.len() - 1,
        "the faults are told apart: {errors:?}"
    );
    let good = state(&good);
    assert_eq!(good["state"], "working", "{good}");
    assert!(
        good["peers"]
            .as_u64()
            .is_some_and(|peers| (1..=1_000).contains(&peers)),
        "{good}"
    );

    // The node still works, and stops in time although no tracker can be notified.
    node.cli(&["send", "faults", "still here"]).unwrap();
    let (status, took) = node.stop().unwrap();
    assert!(status.success());
    println!("stopped in {took:?}");
}
