//! The running node as its owner's system sees it: signals, what a killed node leaves behind, and access
//! to its local API.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use bitchat_tests::process::{ALONE, NodeProcess, eventually, try_cli};
use rustix::process::Signal;
use serde_json::Value;

/// Generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn error(home: &Path, args: &[&str]) -> String {
    try_cli(home, args)
        .and_then(|done| done.error_code())
        .unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

#[test]
fn signals_stop_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    for signal in [Signal::INT, Signal::TERM] {
        let node = NodeProcess::up(&home, ALONE).unwrap();
        node.signal(signal).unwrap();
        // A second signal, of the same or the other kind, only speeds up the stop.
        let (status, took) = node.stop().unwrap();
        assert!(status.success(), "{status}");
        println!("stopped in {took:?}");
        assert!(!home.join("node.json").exists());
        assert_eq!(error(&home, &["status"]), "no_node");
    }
    // Killed: the files that it left behind mislead no later command.
    NodeProcess::up(&home, ALONE).unwrap().kill().unwrap();
    assert!(home.join("node.json").exists());
    assert_eq!(error(&home, &["status"]), "no_node");
    NodeProcess::up(&home, ALONE).unwrap();
}

#[test]
fn the_api_is_for_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let node = NodeProcess::up(&home, ALONE).unwrap();
    let api = node.ready["api"].as_str().unwrap();
    let host = api.strip_prefix("http://").unwrap();
    let token = std::fs::read_to_string(home.join("api.token")).unwrap();
    let ask = |request: &str, headers: &[String]| {
        let mut stream = TcpStream::connect(host).unwrap();
        let headers = headers.join("\r\n");
        write!(
            stream,
            "{request} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    };
    let own = format!("host: {host}");
    let bearer = format!("authorization: Bearer {}", token.trim());
    let good = [own.clone(), bearer.clone()];
    for path in ["/v1/status", "/v1/openapi.json", "/metrics", "/v1/channels"] {
        let request = format!("GET {path}");
        assert_eq!(ask(&request, &good).0, 200, "{path}");
        let (status, body) = ask(&request, std::slice::from_ref(&own));
        assert_eq!(status, 401, "{path}");
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap()["error"]["code"],
            "unauthorized"
        );
        let elsewhere = ["host: evil.example".to_owned(), bearer.clone()];
        assert_eq!(ask(&request, &elsewhere).0, 421, "{path}");
        let page = [
            own.clone(),
            bearer.clone(),
            "origin: http://evil.example".into(),
        ];
        assert_eq!(ask(&request, &page).0, 403, "{path}");
    }
    let (_, metrics) = ask("GET /metrics", &good);
    for name in ["bitchat_actor_restarts", "bitchat_queue_drops"] {
        assert!(metrics.contains(name), "{name} is missing");
    }
    assert_eq!(ask("GET /v1/nope", &good).0, 404);
    assert_eq!(ask("DELETE /v1/status", &good).0, 405);
    let large = [own, bearer, "content-length: 99999999".into()];
    assert_eq!(ask("POST /v1/channels", &large).0, 413);
    assert_eq!(ask("POST /v1/channels", &good).0, 415);
    assert_eq!(ask("POST /v1/channels/join", &large).0, 413);
}

#[test]
fn a_node_behind_a_proxy_listens_nowhere_and_says_that_the_proxy_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let mut args = ALONE.to_vec();
    args.extend([
        "--dht-bootstrap",
        "127.0.0.1:1",
        "--proxy",
        "socks5h://ann:secret@127.0.0.1:1",
    ]);
    let node = NodeProcess::up(&home, &args).unwrap();
    eventually("the proxy is tried", PATIENCE, || {
        let status = node.cli_one(&["status"])?;
        assert_eq!(status["listening"].as_array().map(Vec::len), Some(0));
        assert_eq!(status["dht"]["state"], "off");
        assert_eq!(status["proxy"]["url"], "socks5h://127.0.0.1:1");
        let trouble = status["proxy"]["trouble"].as_str();
        Ok(trouble.map(|trouble| assert!(trouble.contains("cannot be reached"), "{trouble}")))
    })
    .unwrap();
    assert!(!node.log().contains("secret"), "{}", node.log());
    assert_eq!(
        error(&dir.path().join("x"), &["up", "--proxy", "nonsense"]),
        "bad_config"
    );
    assert_eq!(
        error(&dir.path().join("x"), &["up", "--api", "0.0.0.0:0"]),
        "bad_config"
    );
}
