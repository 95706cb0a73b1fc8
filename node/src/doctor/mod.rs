//! `bitchat doctor`: what works, what does not, and what to do, for each way to reach others. Pure.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use bitchat_actors::{
    dht::DhtState,
    node::NodeStatus,
    portmap::PortmapStatus,
    transport::{NatKind, NatView, PathKind},
};
use std::time::Instant;

use crate::shapes::{Diagnosis, Finding, Health};

fn finding(about: &str, health: Health, what: impl Into<String>, advice: &str) -> Finding {
    Finding {
        about: about.to_owned(),
        health,
        what: what.into(),
        advice: advice.to_owned(),
    }
}

const FORWARD: &str = "If you can, forward the node's port, UDP and TCP, in your router to this machine \
                       (`bitchat status` shows the port, `--port` fixes it), or let the router do it by UPnP.";
const WAIT: &str = "Wait until members, or nodes of the DHT, have answered; then ask again.";

/// Looks at a node.
pub fn examine(status: &NodeStatus) -> Diagnosis {
    let mut findings = Vec::new();
    if let Some(proxy) = &status.proxy {
        findings.push(match &proxy.trouble {
            None => finding(
                "proxy",
                Health::Works,
                format!("All goes through {}: nothing leaves any other way, and nobody can dial this node. \
                         UDP, the DHT, the local network and port mapping are off.", proxy.url),
                "",
            ),
            Some(trouble) => finding(
                "proxy",
                Health::Fails,
                format!("{}: {trouble}. Until it works, nothing leaves.", proxy.url),
                "Check the proxy's address, user and password (`bitchat config get proxy`), and that it runs and lets this machine in.",
            ),
        });
    }
    if status.allowed.is_hidden() {
        findings.push(hidden(status));
    }
    if status.proxy.is_none() && !status.allowed.is_hidden() {
        for (n, about) in ["ipv4", "ipv6"].into_iter().enumerate() {
            let bound = status.listening.iter().any(|at| at.is_ipv6() == (n == 1));
            findings.push(family(about, bound, &status.nat[n], n == 1));
        }
        findings.push(tcp(status));
        findings.push(router(status));
        findings.push(dht(status));
    }
    findings.push(members(status));
    for death in &status.deaths {
        let advice = "Start the node again. If it comes back, please report it, with the log.";
        findings.push(finding("node", Health::Fails, death.clone(), advice));
    }
    Diagnosis { findings }
}

fn hidden(status: &NodeStatus) -> Finding {
    let what = "Members do not learn this node's address: it dials nobody but the relays that channels' files name, and nobody can dial it. \
                UDP, trackers, the DHT and the local network are off (`bitchat config get paths`).";
    if status.connections > 0 {
        return finding("hidden", Health::Works, what, "");
    }
    let what = format!("{what} No relay is connected.");
    let advice = "Make or join a channel whose file names a relay (`bitchat channel create --relay`), and see that it runs; or allow more \
                  paths (`bitchat config set paths quic,tcp,relay`).";
    finding("hidden", Health::Fails, what, advice)
}

fn family(about: &str, bound: bool, nat: &NatView, ipv6: bool) -> Finding {
    let name = if ipv6 { "IPv6" } else { "IPv4" };
    if !bound {
        let what = format!("There is no {name} here, or the node was told not to use it.");
        return finding(about, Health::Off, what, "");
    }
    let at = match nat.external {
        Some(at) if at.port() != 0 => format!(" Others see it at {at}."),
        Some(at) => format!(" Others see it at {}.", at.ip()),
        None => String::new(),
    };
    let (health, what, advice) = match nat.kind {
        NatKind::Unknown if ipv6 && nat.external.is_none() => {
            let what = "Nobody has been reached by IPv6, or nobody has said so.";
            (Health::Unknown, what, "")
        }
        NatKind::Unknown => (
            Health::Unknown,
            "Too few have said where they see this node to tell what stands between.",
            WAIT,
        ),
        NatKind::Open if nat.reached => (
            Health::Works,
            "UDP works, and others can dial this node.",
            "",
        ),
        NatKind::Open => (
            Health::Works,
            "UDP works, and there is no NAT. A firewall may still keep out those whom this node has not dialled.",
            "If a firewall runs here, let the node's port in, UDP and TCP.",
        ),
        NatKind::FullCone => (
            Health::Works,
            "UDP works, and others can dial this node through its NAT.",
            "",
        ),
        NatKind::PortRestricted => (
            Health::Limited,
            "UDP works behind a NAT with one outer port for all. Others get in when both sides try at once, which a member or a relay arranges.",
            if nat.mapped.is_some() { "" } else { FORWARD },
        ),
        NatKind::Symmetric => (
            Health::Limited,
            "UDP works behind a NAT with another port for each target. Members who can be dialled are reached directly, the others through a relay.",
            FORWARD,
        ),
        NatKind::UdpBlocked => (
            Health::Fails,
            "UDP does not get through; members who can be dialled are reached by TCP, the others through a relay.",
            "If you run the firewall, let UDP out. Else a relay in the channel, or a member that relays, is needed.",
        ),
        _ => (Health::Unknown, "What stands between is not known.", WAIT),
    };
    finding(about, health, format!("{what}{at}"), advice)
}

fn tcp(status: &NodeStatus) -> Finding {
    let by_tcp = status.paths.iter().filter(|path| **path == PathKind::Tcp);
    match by_tcp.count() {
        _ if status.listening.is_empty() => {
            finding("tcp", Health::Off, "The node listens nowhere.", "")
        }
        0 => finding(
            "tcp",
            Health::Unknown,
            "Not needed so far: it is used where UDP does not get through.",
            "",
        ),
        n => finding(
            "tcp",
            Health::Works,
            format!("{n} of the connections go by TCP."),
            "",
        ),
    }
}

fn router(status: &NodeStatus) -> Finding {
    if let PortmapStatus::Mapped(mapping) = &status.portmap {
        let (at, protocol) = (mapping.external, mapping.protocol);
        let until = match mapping.until.map(left) {
            Some(minutes) => format!("for {minutes} min, renewed before"),
            None => "until it is taken back".to_owned(),
        };
        if status.nat[0].mapped.is_none() {
            let what = format!(
                "The router has mapped {at} to the node by {protocol}, but others see the node elsewhere: there is a second router behind it, \
                                whose mapping is missing."
            );
            return finding("router", Health::Limited, what, FORWARD);
        }
        let what = match mapping.tcp {
            true => {
                format!("The router lets others in at {at}, UDP and TCP, by {protocol} {until}.")
            }
            false => format!(
                "The router lets others in at {at}, UDP alone, by {protocol} {until}; it has no room for TCP at that port."
            ),
        };
        return finding("router", Health::Works, what, "");
    }
    let open = |nat: &NatView| matches!(nat.kind, NatKind::Open | NatKind::FullCone);
    if status.nat.iter().any(open) {
        return finding(
            "router",
            Health::Off,
            "No mapping in a router is needed.",
            "",
        );
    }
    match &status.portmap {
        PortmapStatus::Asking => finding(
            "router",
            Health::Unknown,
            "The router is being asked to let others in.",
            WAIT,
        ),
        PortmapStatus::Failed { why, next_try } => {
            let what = format!(
                "No router has mapped the node's port ({why}). It is asked again in {} min, or when the network changes.",
                left(*next_try)
            );
            finding("router", Health::Limited, what, FORWARD)
        }
        PortmapStatus::Off(why) => {
            let what = format!("No router is asked to map the node's port: {why}.");
            finding("router", Health::Off, what, FORWARD)
        }
        _ => finding(
            "router",
            Health::Unknown,
            "How it stands is not known.",
            WAIT,
        ),
    }
}

/// Minutes from now, rounded up.
fn left(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    left.as_secs().div_ceil(60)
}

fn dht(status: &NodeStatus) -> Finding {
    let Some(dht) = &status.dht else {
        let what = "Switched off: members are found by trackers, other members, or addresses that you name.";
        return finding("dht", Health::Off, what, "");
    };
    match dht.state() {
        DhtState::Working => finding("dht", Health::Works, "Nodes of the DHT answer.", ""),
        DhtState::Failing => finding(
            "dht",
            Health::Fails,
            "No node of the DHT answers.",
            "Check that UDP gets out. `--dht-bootstrap HOST:PORT` names other nodes to begin at; without the DHT, channels need a tracker.",
        ),
        _ => finding("dht", Health::Unknown, "It only begins.", WAIT),
    }
}

fn members(status: &NodeStatus) -> Finding {
    if status.channels.is_empty() {
        let advice =
            "`bitchat channel create` makes one, `bitchat channel join` takes a friend's file.";
        return finding("members", Health::Off, "There is no channel.", advice);
    }
    let missing: usize = status
        .channels
        .iter()
        .map(|one| one.members - one.online.min(one.members))
        .sum();
    let relayed = status
        .paths
        .iter()
        .filter(|path| **path == PathKind::Relayed)
        .count();
    let direct = status.paths.len() - relayed;
    let ways = format!("{direct} direct connections, {relayed} through relays.");
    if status.channels.iter().all(|one| one.online <= 1) {
        let advice = "They may be away. If they are not: compare the channel's trackers (`bitchat channel info`), or tell your node an \
                      address (`bitchat channel connect`).";
        return finding(
            "members",
            Health::Unknown,
            "Nobody else is linked in any channel.",
            advice,
        );
    }
    let what = if missing == 0 {
        format!("All known members are linked: {ways}")
    } else {
        format!(
            "{missing} known members are not linked, since they are away or cannot be reached: {ways}"
        )
    };
    finding("members", Health::Works, what, "")
}
