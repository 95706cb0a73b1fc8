//! Two members behind each kind of NAT, firewall and proxy, who know only a tracker: they talk, and how they got there is
//! printed as a table. A third member, on a public address, is linked to both and can introduce them.
//!
//! Needs root, `ip`, `nft` and python3.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "nat_lab/leaks.rs"]
mod leaks;
#[path = "nat_lab/strangers.rs"]
mod strangers;

use std::{
    fmt::Write as _,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_tests::{
    lab::{self, Kind, Lab, LabNode, path},
    process::eventually,
};
use serde_json::Value;

const CHANNEL: &str = "lab";
/// Time limit of each wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time limit for links to heal on a busy machine; the goal is 5 s, and the time that it took is printed.
const HEALED: Duration = Duration::from_secs(20);
/// Number of pairs that run at the same time.
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

/// Pairs of a kind with itself, beside each kind with each other one.
const MORE: [(Kind, Kind); 5] = [
    (Kind::Open, Kind::OwnPorts),
    (Kind::PortRestricted, Kind::OwnPorts),
    (Kind::OwnPorts, Kind::OwnPorts),
    (Kind::UdpBlocked, Kind::BlockedSymmetric),
    (Kind::BlockedSymmetric, Kind::BlockedSymmetric),
];

/// A row of the table.
struct Row {
    pair: (Kind, Kind),
    what: Result<Times>,
}

/// Times since the second member joined.
struct Times {
    /// Until it shows a message of the first.
    first: Duration,
    /// Until the two are linked, over any path.
    linked: Duration,
    /// Until a link without a relay, where one is expected.
    direct: Option<Duration>,
    /// The final path.
    path: String,
}

fn table(mut rows: Vec<Row>) -> String {
    rows.sort_by_key(|row| {
        let place = |kind| KINDS.iter().position(|one| *one == kind);
        (place(row.pair.0), place(row.pair.1))
    });
    let mut out = format!(
        "{:<16} {:<16} {:<10} {:>10} {:>10} {:>10}\n",
        "one", "other", "path", "first line", "linked", "direct"
    );
    for Row {
        pair: (one, other),
        what,
    } in rows
    {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let (path, first, linked, direct) = match what {
            Ok(times) => (
                times.path,
                seconds(times.first),
                seconds(times.linked),
                times.direct.map(seconds).unwrap_or_default(),
            ),
            Err(error) => (
                format!("FAILED: {error:#}"),
                String::new(),
                String::new(),
                String::new(),
            ),
        };
        let row = format!("{one:<16} {other:<16} {path:<10} {first:>10} {linked:>10} {direct:>10}");
        writeln!(out, "{}", row.trim_end()).unwrap();
    }
    out
}

/// The final paths that are allowed between these kinds.
fn ways((one, other): (Kind, Kind)) -> &'static [&'static str] {
    use Kind::{BlockedSymmetric, FullCone, Open, Symmetric, UdpBlocked};
    let either = |fits: fn(Kind) -> bool| fits(one) || fits(other);
    let no_udp = |kind| matches!(kind, UdpBlocked | BlockedSymmetric);
    if either(|kind| kind == Open) {
        match () {
            () if either(Kind::is_proxy) => &["proxy"],
            () if either(no_udp) => &["tcp"],
            () => &["quic"],
        }
    } else if either(Kind::is_proxy)
        || either(|kind| kind == BlockedSymmetric)
        || either(|kind| kind == Symmetric) && !either(|kind| kind == FullCone)
    {
        &["relay"]
    } else if either(no_udp) {
        // Both dial at the same moment.
        &["tcp"]
    } else {
        &["quic"]
    }
}

/// All pairs, or those that `BITCHAT_LAB_PAIRS` names, as `open x symmetric, symmetric x symmetric`.
fn pairs() -> Vec<(Kind, Kind)> {
    let only = std::env::var("BITCHAT_LAB_PAIRS").unwrap_or_default();
    let only: Vec<&str> = only.split(',').map(str::trim).collect();
    let all = KINDS.iter().enumerate();
    all.flat_map(|(n, one)| KINDS[n..].iter().map(|other| (*one, *other)))
        .chain(MORE)
        .filter(|(one, other)| only == [""] || only.contains(&format!("{one} x {other}").as_str()))
        .collect()
}

#[test]
fn every_pair_talks() {
    if !lab::enter("every_pair_talks") {
        return;
    }
    let begin = Instant::now();
    let waiting = Mutex::new(pairs().into_iter().enumerate().rev().collect::<Vec<_>>());
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
    println!("all of it took {:?}", begin.elapsed());
    assert_eq!(failed, 0, "pairs did not talk, or not as they could");
}

/// A node on a side of the lab.
fn up<'a>(lab: &'a Lab, side: usize, host: u16, folder: &Path) -> Result<LabNode<'a>> {
    let side = &lab.sides[side];
    let mut args = Vec::new();
    if let Some(proxy) = &side.proxy {
        args.extend(["--proxy", proxy.as_str()]);
    }
    LabNode::up(&side.hosts[usize::from(host)], host, folder, &args)
}

/// Creates the channel on a node and waits until the tracker has its hash; returns the file for the others.
fn create(lab: &Lab, maker: &LabNode<'_>, folder: &Path) -> Result<String> {
    let file = folder.join("lab.chat");
    let file = file.to_str().context("a path that is no text")?.to_owned();
    let url = lab.tracker();
    let command = ["channel", "create", CHANNEL, "--tracker", &url, "--out"];
    maker.cli(&[&command[..], &[&file]].concat())?;
    lab.serve(&maker.hashes(CHANNEL)?)?;
    maker.is_announced(CHANNEL, PATIENCE)?;
    Ok(file)
}

/// Both send a hundred messages at the same time, and both show all of them, each once.
fn converse(a: &LabNode<'_>, b: &LabNode<'_>, before: &[String]) -> Result<()> {
    std::thread::scope(|scope| {
        let one = scope.spawn(|| a.say(CHANNEL, "one", LINES));
        let other = scope.spawn(|| b.say(CHANNEL, "other", LINES));
        one.join().unwrap().and(other.join().unwrap())
    })?;
    let mut lines = before.to_vec();
    for word in ["one", "other"] {
        lines.extend((0..LINES).map(|n| format!("{word} {n}")));
    }
    a.shows(CHANNEL, &lines, PATIENCE)?;
    b.shows(CHANNEL, &lines, PATIENCE)?;
    Ok(())
}

fn is_linked(members: &[Value], id: &str) -> bool {
    let linked = |member: &Value| member["id"] == id && member["online"] == true;
    members.iter().any(linked)
}

/// Has two members of these kinds talk, with a third one that both can reach.
fn talk(name: &str, pair: (Kind, Kind)) -> Result<Times> {
    let lab = Lab::new(name, &[pair.0, pair.1, Kind::Open])?;
    let folder = tempfile::tempdir()?;
    let up = |side| up(&lab, side, 0, folder.path());
    let (a, b, c) = (up(0)?, up(1)?, up(2)?);
    let file = create(&lab, &c, folder.path())?;
    let times = meet(&file, &a, &b, &c, ways(pair));
    keep_logs(name, &[&a, &b, &c]);
    times
}

/// The second joins while the first is linked with a third one, and they talk over one of these paths.
fn meet(
    file: &str,
    a: &LabNode<'_>,
    b: &LabNode<'_>,
    c: &LabNode<'_>,
    ways: &[&str],
) -> Result<Times> {
    let (id_a, id_b, id_c) = (id_of(a)?, id_of(b)?, id_of(c)?);
    a.cli(&["channel", "join", file])?;
    a.members(CHANNEL, PATIENCE, |members| is_linked(members, &id_c))
        .context("the first meets nobody")?;
    a.say(CHANNEL, "first", 1)?;
    b.cli(&["channel", "join", file])?;
    let joined = Instant::now();
    let before = ["first 0".to_owned()];
    let until = |way: &(dyn Fn(&str) -> bool + Sync)| {
        let took = b.members(CHANNEL, PATIENCE, |members| {
            path(members, &id_a).is_some_and(|kind| way(&kind))
        });
        took.map(|_| joined.elapsed())
    };
    let relayed = ways == ["relay"];
    let (first, linked, direct) = std::thread::scope(|scope| {
        let first = scope.spawn(|| b.shows(CHANNEL, &before, PATIENCE));
        let linked = scope.spawn(|| until(&|_| true));
        let direct = scope.spawn(|| match relayed {
            true => Ok(None),
            false => until(&|kind| kind != "relay").map(Some),
        });
        let (first, linked) = (first.join().unwrap(), linked.join().unwrap());
        (first, linked, direct.join().unwrap())
    });
    let (first, linked) = (first?, linked.context("they have no link")?);
    let direct = direct.context("they have no direct link")?;
    converse(a, b, &before)?;
    // Both sides report the same path.
    a.members(CHANNEL, PATIENCE, |members| path(members, &id_b).is_some())?;
    let kinds = [(a, &id_b), (b, &id_a)]
        .map(|(node, other)| node.api(async |api| Ok(path(&api.members(CHANNEL).await?, other))));
    let [at_a, at_b] = kinds.map(|kind| kind.ok().flatten().unwrap_or_default());
    // The other end cannot see that a path goes through a proxy.
    let path = if at_b == "proxy" { at_b } else { at_a };
    ensure!(ways.contains(&path.as_str()), "the way is {path:?}");
    Ok(Times {
        first,
        linked,
        direct,
        path,
    })
}

#[test]
fn two_behind_one_nat_talk_at_home() {
    if !lab::enter("two_behind_one_nat_talk_at_home") {
        return;
    }
    let lab = Lab::with_hosts("home", &[(Kind::PortRestricted, 2), (Kind::Open, 1)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let a = up(&lab, 0, 0, folder.path()).unwrap();
    let b = up(&lab, 0, 1, folder.path()).unwrap();
    let c = up(&lab, 1, 0, folder.path()).unwrap();
    let file = create(&lab, &c, folder.path()).unwrap();
    let times = meet(&file, &a, &b, &c, &["quic"]);
    keep_logs("home", &[&a, &b, &c]);
    println!("two behind one NAT: {:?}", times.unwrap().direct);
    let id_b = id_of(&b).unwrap();
    let at_home = |members: &[Value]| {
        let member = members.iter().find(|member| member["id"] == id_b.as_str());
        let address = member.and_then(|member| member["path"]["addr"].as_str());
        address.is_some_and(|address| address.starts_with("192.168."))
    };
    a.members(CHANNEL, PATIENCE, at_home).unwrap();
}

#[test]
fn two_behind_nats_meet_with_the_help_of_nobody() {
    if !lab::enter("two_behind_nats_meet_with_the_help_of_nobody") {
        return;
    }
    let lab = Lab::new("alone", &[Kind::PortRestricted, Kind::PortRestricted]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let a = up(&lab, 0, 0, folder.path()).unwrap();
    let b = up(&lab, 1, 0, folder.path()).unwrap();
    let file = create(&lab, &a, folder.path()).unwrap();
    b.cli(&["channel", "join", &file]).unwrap();
    let dials = |node: &LabNode<'_>, side: usize| {
        let there = format!("dialling address={}:", lab.sides[side].external);
        node.process().log().contains(&there)
    };
    eventually("the second hears of the first", PATIENCE, || {
        Ok(dials(&b, 0).then_some(()))
    })
    .unwrap();
    // It probes in vain, and less and less often. The tracker does not inform the first for a quarter of an hour, unless
    // it restarts.
    std::thread::sleep(Duration::from_secs(40));
    drop(a);
    let a = up(&lab, 0, 0, folder.path()).unwrap();
    let known = eventually("the first hears of the second", PATIENCE, || {
        Ok(dials(&a, 1).then(Instant::now))
    })
    .unwrap();
    let id_b = id_of(&b).unwrap();
    let linked = a.members(CHANNEL, PATIENCE, |members| is_linked(members, &id_b));
    keep_logs("alone", &[&a, &b]);
    linked.unwrap();
    let took = known.elapsed();
    println!("with the help of nobody: {took:?} after both knew of each other");
    assert!(took < Duration::from_secs(35), "{took:?}");
    converse(&a, &b, &[]).unwrap();
}

/// Copies the nodes' logs to the folder that the environment names, if it does.
fn keep_logs(name: &str, nodes: &[&LabNode<'_>]) {
    let Some(folder) = std::env::var_os("BITCHAT_LAB_LOGS") else {
        return;
    };
    for (n, node) in nodes.iter().enumerate() {
        let file = Path::new(&folder).join(format!("{name}-{n}.log"));
        std::fs::write(file, node.process().log()).unwrap();
    }
}

fn id_of(node: &LabNode<'_>) -> Result<String> {
    let profile = node.cli(&["id"])?;
    let id = profile.first().and_then(|profile| profile["id"].as_str());
    Ok(id.context("no id")?.to_owned())
}

/// A node behind a NAT and one on a public address keep talking, whatever happens to the network between them.
#[test]
fn links_heal_when_the_network_is_back() {
    if !lab::enter("links_heal_when_the_network_is_back") {
        return;
    }
    let lab = Lab::new("heal", &[Kind::PortRestricted, Kind::Open]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let a = up(&lab, 0, 0, folder.path()).unwrap();
    let c = up(&lab, 1, 0, folder.path()).unwrap();
    let file = create(&lab, &c, folder.path()).unwrap();
    let id_c = id_of(&c).unwrap();
    a.cli(&["channel", "join", &file]).unwrap();
    a.members(CHANNEL, PATIENCE, |members| is_linked(members, &id_c))
        .unwrap();
    let mut lines = Vec::new();
    let mut talk = |what: &str| {
        let back = Instant::now();
        for (node, who) in [(&a, "inside"), (&c, "outside")] {
            node.say(CHANNEL, &format!("{what}, {who}"), 1).unwrap();
            lines.push(format!("{what}, {who} 0"));
        }
        let healed = a
            .shows(CHANNEL, &lines, PATIENCE)
            .and(c.shows(CHANNEL, &lines, PATIENCE));
        keep_logs("heal", &[&a, &c]);
        healed.unwrap();
        println!("{what}: all is everywhere after {:?}", back.elapsed());
        assert!(back.elapsed() < HEALED, "{what}: {:?}", back.elapsed());
    };
    talk("nothing has happened");
    lab.sides[0].flush().unwrap();
    talk("the router has started again");
    let host = &lab.sides[0].hosts[0];
    host.ip(
        "addr del 192.168.1.2/24 dev eth0\naddr add 192.168.1.77/24 dev eth0\nroute add default via 192.168.1.1\n",
    )
    .unwrap();
    talk("another address");
    lab.cut(0, true).unwrap();
    std::thread::sleep(Duration::from_secs(60));
    lab.cut(0, false).unwrap();
    talk("a minute without a network");
}
