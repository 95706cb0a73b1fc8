//! Three nodes talk while the paths between them are cut, one after the other. They keep talking, and every message
//! is in all logs, exactly once.
//!
//! The nodes have their own network, since packets are dropped and sockets are killed in it: that takes root,
//! `ip`, `ss` and `nft`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bitchat_tests::{
    process::{ALONE, NodeProcess, cli, eventually, log_ids},
    skip::skip,
};

/// Set for the run inside its own network.
const INSIDE: &str = "PATHS_TEST_INSIDE";
const PATIENCE: Duration = Duration::from_secs(60);
/// Limit for a busy machine; the goal is 3 s, and the time that it took is printed.
const BOUND: Duration = Duration::from_secs(20);
const CHANNEL: &str = "mesh";
/// Shown when the test fails.
const LOG: &[&str] = &["--log", "info,bitchat_actors=debug"];

#[test]
fn talk_continues_whatever_path_is_cut() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !rustix::process::geteuid().is_root() {
        skip("only root can make the network in which paths are cut");
        return;
    }
    // Builds the program, if necessary, while there is still a network.
    bitchat_tests::process::binary();
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "talk_continues_whatever_path_is_cut"])
        .args(["--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare, of util-linux");
    assert!(status.success(), "{status}");
}

/// Runs a system command that must succeed, and returns its output.
fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; ./test says what the tests need"));
    assert!(done.status.success(), "{program} {args:?}: {done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Drops all packets of a protocol between the nodes until [`mend`] is called.
fn block(protocol: &str, nodes: &[NodeProcess]) {
    let ports: Vec<String> = nodes.iter().map(|node| node.port().to_string()).collect();
    let ports = format!("{{ {} }}", ports.join(", "));
    run("nft", &["add", "table", "inet", "cut"]);
    let chain = "add chain inet cut packets { type filter hook input priority 0 ; }";
    run("nft", &[chain]);
    for end in ["sport", "dport"] {
        run(
            "nft",
            &[&format!(
                "add rule inet cut packets {protocol} {end} {ports} drop"
            )],
        );
    }
}

fn mend() {
    run("nft", &["delete", "table", "inet", "cut"]);
}

/// Kills the sockets of a node's port, as the kernel does when a network interface disappears.
fn kill_sockets(kind: &str, node: &NodeProcess) {
    let of_node = format!("( sport = :{0} or dport = :{0} )", node.port());
    // Listening sockets stay.
    let state = match kind {
        "--tcp" => "established",
        _ => "all",
    };
    let killed = run(
        "ss",
        &[
            "--kill",
            "--no-header",
            "--numeric",
            kind,
            "state",
            state,
            &of_node,
        ],
    );
    assert!(!killed.trim().is_empty(), "no socket was killed");
    println!("killed:\n{killed}");
}

struct Talk {
    homes: Vec<PathBuf>,
    /// Ids of the acknowledged messages.
    said: BTreeSet<String>,
}

impl Talk {
    fn say(&mut self, home: &Path, text: &str) {
        let sent = cli(home, &["send", CHANNEL, text]).unwrap();
        let id = sent[0]["event_id"].as_str().unwrap().to_owned();
        assert!(self.said.insert(id), "an id is given once");
    }

    /// Waits until all logs hold all messages, each once, and nothing else.
    fn is_everywhere(&self) {
        eventually("all that was said is everywhere", PATIENCE, || {
            for home in &self.homes {
                let log = log_ids(home, CHANNEL)?;
                let ids: BTreeSet<String> = log.iter().cloned().collect();
                assert_eq!(ids.len(), log.len(), "nothing is there twice");
                assert!(ids.is_subset(&self.said), "what nobody said");
                if ids != self.said {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .unwrap();
    }

    /// All send before and after something is done to them.
    fn through(&mut self, what: &str, act: impl FnOnce()) {
        let homes = self.homes.clone();
        for home in &homes {
            self.say(home, &format!("before: {what}"));
        }
        act();
        let cut = Instant::now();
        for home in &homes {
            self.say(home, &format!("after: {what}"));
        }
        self.is_everywhere();
        let took = cut.elapsed();
        println!(
            "{what}: all is everywhere after {:.2} s",
            took.as_secs_f64()
        );
        assert!(took < BOUND, "{what}: {took:?}");
    }

    /// Waits until all links use that kind of path and no other.
    fn goes_by(&self, kind: &str) {
        let mut last = Vec::new();
        let end = eventually(&format!("everybody talks by {kind}"), PATIENCE, || {
            last.clear();
            for home in &self.homes {
                let members = cli(home, &["members", CHANNEL])?;
                let others = members.into_iter().filter(|member| member["me"] != true);
                last.extend(others.map(|member| member["path"].clone()));
            }
            let all = last.len() == 6 && last.iter().all(|path| path["kind"] == kind);
            Ok(all.then_some(()))
        });
        assert!(end.is_ok(), "not by {kind}: {last:#?}");
    }

    fn is_full(&self) {
        eventually("everyone is linked with everyone", PATIENCE, || {
            for home in &self.homes {
                let info = &cli(home, &["channel", "info", CHANNEL])?[0];
                if info["mesh"] != "full" || info["online"] != 3 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .unwrap();
    }
}

fn inside() {
    run("ip", &["link", "set", "lo", "up"]);
    let dir = tempfile::tempdir().unwrap();
    let homes: Vec<PathBuf> = ["a", "b", "c"].iter().map(|n| dir.path().join(n)).collect();
    let mut nodes: Vec<NodeProcess> = homes
        .iter()
        .map(|home| NodeProcess::up(home, &[ALONE, LOG].concat()).unwrap())
        .collect();
    let file = dir.path().join("mesh.chat");
    let file = file.to_str().unwrap();
    nodes[0]
        .cli(&["channel", "create", CHANNEL, "--out", file])
        .unwrap();
    let hub = format!("127.0.0.1:{}", nodes[0].port());
    for node in &nodes[1..] {
        node.cli(&["channel", "join", file]).unwrap();
        node.cli(&["channel", "connect", CHANNEL, &hub]).unwrap();
    }
    let mut talk = Talk {
        homes,
        said: BTreeSet::new(),
    };
    talk.is_full();
    talk.goes_by("quic");
    talk.through("nothing is cut", || {});

    talk.through("UDP is blocked", || block("udp", &nodes));
    talk.goes_by("tcp");
    talk.through("TCP sockets are killed", || {
        kill_sockets("--tcp", &nodes[0]);
    });
    talk.goes_by("tcp");
    // Where TCP was faster than QUIC, QUIC is awaited for a while and would take over.
    std::thread::sleep(Duration::from_secs(12));
    mend();
    talk.goes_by("tcp");

    talk.through("TCP is blocked", || block("tcp", &nodes));
    talk.goes_by("quic");
    mend();

    talk.through("a UDP socket is killed", || {
        kill_sockets("--udp", &nodes[1]);
    });
    talk.is_full();

    talk.through("a node restarts on another port", || {
        let old = nodes.pop().unwrap();
        let (home, port) = (old.home().to_owned(), old.port());
        let (status, _) = old.stop().unwrap();
        assert!(status.success(), "{status}");
        // A free port: without a port, the node would take its old one again.
        let args = [ALONE, LOG, &["--port", "0"]].concat();
        nodes.push(NodeProcess::up(&home, &args).unwrap());
        assert_ne!(nodes[nodes.len() - 1].port(), port);
    });
    talk.is_full();
    talk.is_everywhere();
    for node in nodes {
        let (status, _) = node.stop().unwrap();
        assert!(status.success(), "{status}");
    }
}
