//! Two members behind each kind of NAT, firewall and proxy, who know nothing but a tracker: they talk, and how they
//! come to is printed as a table. A third member, on a public address, is linked to both and can bring them together.
//!
//! It takes root, `ip`, `nft`, and python3.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fmt::Write as _,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bitchat_tests::lab::{self, Kind, Lab, LabNode, direct};

const CHANNEL: &str = "lab";
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for a direct path where there may be none.
const DIRECT: Duration = Duration::from_secs(8);
/// Pairs at a time.
const TOGETHER: usize = 6;
const LINES: usize = 100;

const KINDS: [Kind; 7] = [
    Kind::Open,
    Kind::FullCone,
    Kind::PortRestricted,
    Kind::Symmetric,
    Kind::UdpBlocked,
    Kind::HttpProxy,
    Kind::Socks5,
];

/// A line of the table.
struct Row {
    pair: (Kind, Kind),
    what: Result<Times>,
}

struct Times {
    /// From the second one's joining to a line of the first at it.
    first: Duration,
    /// To a direct path, and which; `None`: there is none.
    direct: Option<(Duration, String)>,
}

fn table(mut rows: Vec<Row>) -> String {
    rows.sort_by_key(|row| {
        let place = |kind| KINDS.iter().position(|one| *one == kind);
        (place(row.pair.0), place(row.pair.1))
    });
    let mut out = format!(
        "{:<16} {:<16} {:<10} {:>14} {:>12}\n",
        "one", "other", "path", "first line", "direct"
    );
    for Row {
        pair: (one, other),
        what,
    } in rows
    {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let (path, first, direct) = match what {
            Ok(Times { first, direct }) => {
                let (time, kind) = match direct {
                    Some((time, kind)) => (seconds(time), kind),
                    None => ("-".to_owned(), "member".to_owned()),
                };
                (kind, seconds(first), time)
            }
            Err(error) => (format!("FAILED: {error:#}"), String::new(), String::new()),
        };
        writeln!(
            out,
            "{one:<16} {other:<16} {path:<10} {first:>14} {direct:>12}"
        )
        .unwrap();
    }
    out
}

/// Not yet: a proxy is no way out so far.
fn works(pair: (Kind, Kind)) -> bool {
    !pair.0.is_proxy() && !pair.1.is_proxy()
}

/// All, or those that `BITCHAT_LAB_PAIRS` names, as `open x symmetric, symmetric x symmetric`.
fn pairs() -> Vec<(Kind, Kind)> {
    let only = std::env::var("BITCHAT_LAB_PAIRS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').map(str::trim).collect();
    let all = KINDS.iter().enumerate();
    all.flat_map(|(n, one)| KINDS[n..].iter().map(|other| (*one, *other)))
        .filter(|(one, other)| only == [""] || only.contains(&format!("{one} x {other}").as_str()))
        .collect()
}

#[test]
fn every_pair_talks() {
    if !lab::enter("every_pair_talks") {
        return;
    }
    let begin = Instant::now();
    let (now, later): (Vec<_>, Vec<_>) = pairs().into_iter().partition(|pair| works(*pair));
    let waiting = Mutex::new(now.into_iter().enumerate().rev().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some((n, pair)) = next else { break };
                    let what = talk(&format!("l{n}"), pair);
                    done.lock().unwrap().push(Row { pair, what });
                }
            });
        }
    });
    let rows = done.into_inner().unwrap();
    let failed = rows.iter().filter(|row| row.what.is_err()).count();
    println!("{}", table(rows));
    for (one, other) in later {
        println!("{one:<16} {other:<16} not yet");
    }
    println!("all of it took {:?}", begin.elapsed());
    assert_eq!(failed, 0, "pairs did not talk");
}

/// Two members of these kinds talk, with a third one that both can reach.
fn talk(name: &str, pair: (Kind, Kind)) -> Result<Times> {
    let lab = Lab::new(name, &[pair.0, pair.1, Kind::Open])?;
    let folder = tempfile::tempdir()?;
    let up = |side: usize| -> Result<LabNode<'_>> {
        let side = &lab.sides[side];
        let mut args = Vec::new();
        if let Some(proxy) = &side.proxy {
            args.extend(["--proxy", proxy.as_str()]);
        }
        LabNode::up(&side.hosts[0], 0, folder.path(), &args)
    };
    let (a, b, c) = (up(0)?, up(1)?, up(2)?);
    let file = folder.path().join("lab.chat");
    let file = file.to_str().context("a path that is no text")?;
    let url = lab.tracker();
    c.cli(&[
        "channel",
        "create",
        CHANNEL,
        "--tracker",
        &url,
        "--out",
        file,
    ])?;
    lab.serve(&c.hashes(CHANNEL)?)?;
    c.is_announced(CHANNEL, PATIENCE)?;
    let ids = [&a, &b, &c].map(|node| id_of(node));
    let [id_a, id_b, id_c] = ids;
    let (id_a, id_b, id_c) = (id_a?, id_b?, id_c?);
    a.cli(&["channel", "join", file])?;
    let linked = |members: &[serde_json::Value], id: &str| {
        members
            .iter()
            .any(|member| member["id"] == id && member["online"] == true)
    };
    a.members(CHANNEL, PATIENCE, |members| linked(members, &id_c))
        .context("the first meets nobody")?;
    a.say(CHANNEL, "first", 1)?;
    b.cli(&["channel", "join", file])?;
    let joined = Instant::now();
    let (first, direct) = std::thread::scope(|scope| {
        let first = scope.spawn(|| b.shows(CHANNEL, &["first 0".to_owned()], PATIENCE));
        let direct = scope.spawn(|| {
            let took = a.members(CHANNEL, DIRECT, |members| direct(members, &id_b).is_some());
            took.ok().map(|_| joined.elapsed())
        });
        (first.join().unwrap(), direct.join().unwrap())
    });
    let first = first?;
    std::thread::scope(|scope| {
        let one = scope.spawn(|| a.say(CHANNEL, "one", LINES));
        let other = scope.spawn(|| b.say(CHANNEL, "other", LINES));
        one.join().unwrap().and(other.join().unwrap())
    })?;
    let mut lines = vec!["first 0".to_owned()];
    for word in ["one", "other"] {
        lines.extend((0..LINES).map(|n| format!("{word} {n}")));
    }
    a.shows(CHANNEL, &lines, PATIENCE)?;
    b.shows(CHANNEL, &lines, PATIENCE)?;
    // Both see it, and alike.
    let kind = a.api(async |api| {
        let members = api.members(CHANNEL).await?;
        Ok(self::direct(&members, &id_b))
    })?;
    if direct.is_some() {
        b.members(CHANNEL, PATIENCE, |members| {
            self::direct(members, &id_a).is_some()
        })?;
    }
    keep_logs(name, &[&a, &b, &c]);
    Ok(Times {
        first,
        direct: direct.zip(kind),
    })
}

/// Where the nodes' logs are to be kept, if anywhere.
fn keep_logs(name: &str, nodes: &[&LabNode<'_>]) {
    let Some(folder) = std::env::var_os("BITCHAT_LAB_LOGS") else {
        return;
    };
    for (n, node) in nodes.iter().enumerate() {
        let file = std::path::Path::new(&folder).join(format!("{name}-{n}.log"));
        std::fs::write(file, node.process().log()).unwrap();
    }
}

fn id_of(node: &LabNode<'_>) -> Result<String> {
    let profile = node.cli(&["id"])?;
    let id = profile.first().and_then(|profile| profile["id"].as_str());
    Ok(id.context("no id")?.to_owned())
}
