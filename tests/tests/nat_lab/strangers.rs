//! With the DHT alone: two nodes behind symmetric NATs, whose channel names no tracker and no relay, find in it a public
//! relay of a stranger, meet there, and talk.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitchat_tests::{
    lab::{self, Kind, Lab, Namespace},
    process::{NodeProcess, eventually},
};

const CHANNEL: &str = "far";
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn two_find_a_strangers_relay_in_the_dht_alone() {
    if !lab::enter("strangers::two_find_a_strangers_relay_in_the_dht_alone") {
        return;
    }
    let kinds = [Kind::Symmetric, Kind::Symmetric].into_iter();
    let kinds: Vec<Kind> = kinds.chain([Kind::Open; 5]).collect();
    let lab = Lab::new("dht", &kinds).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = format!("{}:6881", lab.sides[2].external);
    let home = |host: &Namespace| folder.path().join(host.name());
    let up = |side: usize| {
        let host = &lab.sides[side].hosts[0];
        let args = ["--no-lan", "--no-portmap", "--port", "6881"];
        let more = ["--dht-bootstrap", &first, "--log", "bitchat_actors=debug"];
        host.within(|| NodeProcess::up(&home(host), &[&args[..], &more].concat()))
            .unwrap()
    };
    let cli = |side: usize, node: &NodeProcess, args: &[&str]| {
        lab.sides[side].hosts[0].within(|| node.cli(args)).unwrap()
    };
    let dht: Vec<NodeProcess> = (2..6).map(up).collect();

    let host = &lab.sides[6].hosts[0];
    let args = ["--port", "7001", "--announce", "--dht-bootstrap", &first];
    // Trackers that do not exist, so that it does not use the well-known public ones.
    let args = [&args[..], &["--tracker", "http://192.0.2.1/announce"]].concat();
    let _relay = host
        .within(|| NodeProcess::relay(&home(host), &args))
        .unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hash = bitchat_wire::relay::public_keys().announced(now.as_secs())[0].to_string();
    let at = format!("{}:7001", lab.sides[6].external);
    eventually("the relay is in the DHT", PATIENCE, || {
        let found = cli(3, &dht[1], &["dht", "get", &hash]);
        Ok(found[0].to_string().contains(&at).then_some(()))
    })
    .unwrap();

    let (a, b) = (up(0), up(1));
    let file = folder.path().join("far.chat");
    let file = file.to_str().unwrap();
    cli(0, &a, &["channel", "create", CHANNEL, "--out", file]);
    cli(1, &b, &["channel", "join", file]);
    let begin = Instant::now();
    let linked = eventually("the two are linked", PATIENCE, || {
        let members = cli(0, &a, &["members", CHANNEL]);
        let others = members.iter().filter(|one| !one["path"].is_null());
        let kinds: Vec<String> = others.map(|one| one["path"]["kind"].to_string()).collect();
        Ok((!kinds.is_empty()).then_some(kinds))
    });
    if linked.is_err() {
        println!("{}\n\n{}", a.log(), b.log());
    }
    assert_eq!(linked.unwrap(), ["\"relay\""]);
    println!("linked {:?} after joining", begin.elapsed());
    cli(0, &a, &["send", CHANNEL, "found"]);
    eventually("the line is there", PATIENCE, || {
        let log = cli(1, &b, &["log", CHANNEL]);
        Ok(log.iter().any(|one| one["text"] == "found").then_some(()))
    })
    .unwrap();
}
