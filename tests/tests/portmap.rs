//! A node behind a NAT asks its router to map its port, with each protocol that routers know: strangers then dial it
//! directly, the mapping is renewed, and it is removed when the node stops.
//!
//! Needs root, `ip`, `nft`, python3 and Debian's miniupnpd.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitchat_tests::{
    lab::{self, Kind, Lab, LabNode, PORT, PortMapper, Speaks, path},
    process::eventually,
};
use serde_json::Value;

const CHANNEL: &str = "mapped";
/// Time limit of each wait, generous for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum lifetime of PCP and NAT-PMP mappings, in seconds; the node renews them after half of it.
const LIFETIME: u32 = 40;
/// A network that miniupnpd considers public.
const PUBLIC: [u8; 3] = [5, 45, 96];

#[test]
fn routers_let_strangers_in() {
    if !lab::enter("routers_let_strangers_in") {
        return;
    }
    std::thread::scope(|scope| {
        let all = [
            ("mp", Speaks::All, "PCP"),
            ("mn", Speaks::NatPmp, "NAT-PMP"),
            ("mu", Speaks::Upnp, "UPnP"),
        ];
        let all = all.map(|(name, speaks, protocol)| {
            scope.spawn(move || lets_in(name, speaks, protocol).with_context(|| protocol))
        });
        let behind = scope.spawn(no_way_in);
        for one in all {
            one.join().unwrap().unwrap();
        }
        behind.join().unwrap().unwrap();
    });
}

fn router(node: &LabNode<'_>) -> Result<Value> {
    let status = node.cli(&["status"])?;
    Ok(status.first().context("no status")?["router"].clone())
}

fn lets_in(name: &str, speaks: Speaks, protocol: &str) -> Result<()> {
    let sides = [
        (Kind::PortRestricted, 2),
        (Kind::Open, 1),
        (Kind::UdpBlocked, 1),
    ];
    let lab = Lab::numbered(name, &sides, PUBLIC)?;
    let folder = tempfile::tempdir()?;
    let mapper = PortMapper::start(&lab.sides[0], speaks, LIFETIME)?;
    let host = |side: usize| &lab.sides[side].hosts[0];
    let a = LabNode::up_mapped(host(0), 0, folder.path(), &[])?;
    let b = LabNode::up(host(1), 0, folder.path(), &[])?;
    let c = LabNode::up(host(2), 0, folder.path(), &[])?;
    let mapped = eventually("the router lets others in", PATIENCE, || {
        let router = router(&a)?;
        Ok((router["state"] == "mapped").then_some(router))
    });
    let mapped = mapped
        .with_context(|| format!("{:?}\n{}\n{}", router(&a), mapper.log(), a.process().log()))?;
    ensure!(mapped["protocol"] == protocol, "{mapped}");
    ensure!(mapped["tcp"] == true, "{mapped}");
    let address = format!("{}:{PORT}", lab.sides[0].external);
    ensure!(mapped["addr"] == address.as_str(), "{mapped}");
    ensure!(mapper.mappings()?.len() == 2, "{:?}", mapper.mappings());
    let doctor = a.cli(&["doctor"])?;
    let doctor = doctor.first().context("no doctor")?.to_string();
    let words = format!("forwards {address} to this node, UDP and TCP, through {protocol}");
    ensure!(doctor.contains(&words), "{doctor}");

    // Another node behind the router requests the same port, and gets another one.
    let e = LabNode::up_mapped(&lab.sides[0].hosts[1], 0, folder.path(), &[])?;
    let other = eventually("the router lets others in to the second", PATIENCE, || {
        let router = router(&e)?;
        Ok((router["state"] == "mapped").then_some(router))
    });
    let other = other.with_context(|| format!("{:?}\n{}", router(&e), mapper.log()))?;
    ensure!(other["addr"] != address.as_str(), "{other}");
    ensure!(other["tcp"] == true, "{other}");
    ensure!(mapper.mappings()?.len() == 4, "{:?}", mapper.mappings());

    // Only these two know of it: no tracker, no DHT, and the node inside learns of them when they connect.
    let file = folder.path().join("mapped.chat");
    let file = file.to_str().context("a path that is no text")?;
    a.cli(&["channel", "create", CHANNEL, "--out", file])?;
    for (node, kind) in [(&b, "quic"), (&c, "tcp")] {
        node.cli(&["channel", "join", file])?;
        node.cli(&["channel", "connect", CHANNEL, &address])?;
        let id = a.cli(&["id"])?;
        let id = id
            .first()
            .and_then(|id| id["id"].as_str())
            .context("no id")?
            .to_owned();
        node.members(CHANNEL, PATIENCE, |members| {
            path(members, &id).as_deref() == Some(kind)
        })
        .with_context(|| format!("no way in by {kind}: {}", mapper.log()))?;
        node.say(CHANNEL, kind, 1)?;
    }
    a.shows(
        CHANNEL,
        &["quic 0".to_owned(), "tcp 0".to_owned()],
        PATIENCE,
    )?;

    if speaks == Speaks::All {
        // Longer than the lifetime of one mapping.
        std::thread::sleep(Duration::from_secs(u64::from(LIFETIME) + 5));
        eventually("mappings are renewed", PATIENCE, || {
            let mapped = router(&a)?["state"] == "mapped";
            Ok((mapped && mapper.mappings()?.len() == 4).then_some(()))
        })
        .with_context(|| mapper.log())?;
    }
    a.stop()?;
    ensure!(
        mapper.mappings()?.len() == 2,
        "{:?}\n{}",
        mapper.mappings(),
        mapper.log()
    );
    e.stop()?;
    ensure!(
        mapper.mappings()?.is_empty(),
        "left behind: {:?}\n{}",
        mapper.mappings(),
        mapper.log()
    );
    Ok(())
}

/// A router that reports an outer address that is not public, so that nobody can reach it.
fn no_way_in() -> Result<()> {
    let lab = Lab::new("mx", &[Kind::PortRestricted])?;
    let folder = tempfile::tempdir()?;
    let mapper = PortMapper::start(&lab.sides[0], Speaks::All, LIFETIME)?;
    let a = LabNode::up_mapped(&lab.sides[0].hosts[0], 0, folder.path(), &[])?;
    let failed = eventually("the router maps nothing", PATIENCE, || {
        let router = router(&a)?;
        Ok((router["state"] == "failed").then_some(router))
    })?;
    println!("{failed}");
    ensure!(
        failed["about"]
            .as_str()
            .is_some_and(|why| why.contains("UPnP")),
        "{failed}"
    );
    ensure!(mapper.mappings()?.is_empty(), "{}", mapper.log());
    let doctor = a.cli(&["doctor"])?;
    let doctor = doctor.first().context("no doctor")?.to_string();
    ensure!(
        doctor.contains("No router has mapped the node's port"),
        "{doctor}"
    );
    Ok(())
}
