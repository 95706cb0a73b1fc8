//! `bitchat doctor`: what works, what does not, and what to do about it, for each way to reach others. Pure.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::time::Instant;

use bitchat_actors::{
    node::NodeStatus,
    status::{DhtState, NatKind, NatView, PathKind, PortmapStatus},
};

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
                       (`bitchat status` shows the port, `--port` fixes it), or enable UPnP in the router.";
const WAIT: &str = "Wait until members or DHT nodes have answered, then run this again.";

/// Examines a node.
pub fn examine(status: &NodeStatus) -> Diagnosis {
    let mut findings = Vec::new();
    if let Some(proxy) = &status.proxy {
        findings.push(match &proxy.trouble {
            None => finding(
                "proxy",
                Health::Works,
                format!("All traffic goes through {}: nothing is sent any other way, and nobody can dial this node. \
                         UDP, the DHT, the local network and port mapping are off.", proxy.url),
                "",
            ),
            Some(trouble) => finding(
                "proxy",
                Health::Fails,
                format!("{}: {trouble}. Until it works, nothing is sent.", proxy.url),
                "Check the proxy's address, user and password (`bitchat config get proxy`), and that it is running and accepts this machine.",
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
        let advice = "Restart the node. If it happens again, report it together with the log.";
        findings.push(finding("node", Health::Fails, death.clone(), advice));
    }
    Diagnosis { findings }
}

fn hidden(status: &NodeStatus) -> Finding {
    let what = "This node's address is hidden from members: it dials only the relays that the channels' files name, and nobody can dial it. \
                UDP, trackers, the DHT and the local network are off (`bitchat config get paths`).";
    if status.connections > 0 {
        return finding("hidden", Health::Works, what, "");
    }
    let what = format!("{what} No relay is connected.");
    let advice = "Create or join a channel whose file names a relay (`bitchat channel create --relay`), and check that the relay is running; \
                  or allow more paths (`bitchat config set paths quic,tcp,relay`).";
    finding("hidden", Health::Fails, what, advice)
}

fn family(about: &str, bound: bool, nat: &NatView, ipv6: bool) -> Finding {
    let name = if ipv6 { "IPv6" } else { "IPv4" };
    if !bound {
        let what = format!("This machine has no {name}, or the node is configured not to use it.");
        return finding(about, Health::Off, what, "");
    }
    let at = match nat.external {
        Some(at) if at.port() != 0 => format!(" Peers see it at {at}."),
        Some(at) => format!(" Peers see it at {}.", at.ip()),
        None => String::new(),
    };
    let (health, what, advice) = match nat.kind {
        NatKind::Unknown if ipv6 && nat.external.is_none() => {
            let what =
                "No peer has been reached over IPv6 yet, or none has reported this node's address.";
            (Health::Unknown, what, "")
        }
        NatKind::Unknown => (
            Health::Unknown,
            "Too few peers have reported this node's address to tell what kind of NAT it is behind.",
            WAIT,
        ),
        NatKind::Open if nat.reached => (
            Health::Works,
            "UDP works, and others can dial this node.",
            "",
        ),
        NatKind::Open => (
            Health::Works,
            "UDP works, and there is no NAT. A firewall may still block peers that this node has not dialled.",
            "If this machine has a firewall, open the node's port for UDP and TCP.",
        ),
        NatKind::FullCone => (
            Health::Works,
            "UDP works, and others can dial this node through its NAT.",
            "",
        ),
        NatKind::PortRestricted => (
            Health::Limited,
            "UDP works behind a NAT that keeps one external port for all peers. Others can connect when both sides try at once, which a member or a relay coordinates.",
            if nat.mapped.is_some() { "" } else { FORWARD },
        ),
        NatKind::Symmetric => (
            Health::Limited,
            "UDP works behind a NAT that uses a different external port for each peer. Members who can be dialled are reached directly, the others through a relay.",
            FORWARD,
        ),
        NatKind::UdpBlocked => (
            Health::Fails,
            "UDP is blocked. Members who can be dialled are reached over TCP, the others through a relay.",
            "If the firewall is yours, allow outgoing UDP. Otherwise the channel needs a relay, or a member that relays.",
        ),
        _ => (Health::Unknown, "The kind of NAT is not known.", WAIT),
    };
    finding(about, health, format!("{what}{at}"), advice)
}

fn tcp(status: &NodeStatus) -> Finding {
    let over_tcp = status.paths.iter().filter(|path| **path == PathKind::Tcp);
    match over_tcp.count() {
        _ if status.listening.is_empty() => {
            finding("tcp", Health::Off, "The node is not listening.", "")
        }
        0 => finding(
            "tcp",
            Health::Unknown,
            "Not needed so far: TCP is used where UDP is blocked.",
            "",
        ),
        n => finding(
            "tcp",
            Health::Works,
            format!("{n} of the connections use TCP."),
            "",
        ),
    }
}

fn router(status: &NodeStatus) -> Finding {
    if let PortmapStatus::Mapped(mapping) = &status.portmap {
        let (at, protocol) = (mapping.external, mapping.protocol);
        let until = match mapping.until.map(left) {
            Some(minutes) => format!("for {minutes} min, and will be renewed"),
            None => "until it is removed".to_owned(),
        };
        if status.nat[0].mapped.is_none() {
            let what = format!(
                "The router forwards {at} to this node through {protocol}, but peers see the node at another address: there is a second \
                 router between this one and the Internet, which forwards nothing."
            );
            return finding("router", Health::Limited, what, FORWARD);
        }
        let what = match mapping.tcp {
            true => {
                format!(
                    "The router forwards {at} to this node, UDP and TCP, through {protocol} {until}."
                )
            }
            false => format!(
                "The router forwards {at} to this node, UDP only, through {protocol} {until}; it could not map TCP to that port."
            ),
        };
        return finding("router", Health::Works, what, "");
    }
    let open = |nat: &NatView| matches!(nat.kind, NatKind::Open | NatKind::FullCone);
    if status.nat.iter().any(open) {
        return finding("router", Health::Off, "No port mapping is needed.", "");
    }
    match &status.portmap {
        PortmapStatus::Asking => finding(
            "router",
            Health::Unknown,
            "The router is being asked to forward the port.",
            WAIT,
        ),
        PortmapStatus::Failed { why, next_try } => {
            let what = format!(
                "No router has mapped the node's port ({why}). The next try is in {} min, or when the network changes.",
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
            "The state of the port mapping is not known.",
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
        let what = "Switched off: members are found through trackers, other members, or addresses that you enter.";
        return finding("dht", Health::Off, what, "");
    };
    match dht.state() {
        DhtState::Working => finding("dht", Health::Works, "DHT nodes answer.", ""),
        DhtState::Failing => finding(
            "dht",
            Health::Fails,
            "No DHT node answers.",
            "Check that outgoing UDP is allowed. `bitchat up --dht-bootstrap HOST:PORT` uses other bootstrap nodes; without the DHT, channels need a tracker.",
        ),
        _ => finding("dht", Health::Unknown, "It is starting.", WAIT),
    }
}

fn members(status: &NodeStatus) -> Finding {
    if status.channels.is_empty() {
        let advice = "Create one with `bitchat channel create`, or join a friend's with `bitchat channel join`.";
        return finding("members", Health::Off, "There are no channels yet.", advice);
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
        let advice = "They may be away. If they are not, compare the channel's trackers with theirs (`bitchat channel info`), or enter an \
                      address by hand (`bitchat channel connect`).";
        return finding(
            "members",
            Health::Unknown,
            "No other member is linked in any channel.",
            advice,
        );
    }
    let what = if missing == 0 {
        format!("All known members are linked: {ways}")
    } else {
        format!(
            "{missing} known members are not linked, because they are away or cannot be reached: {ways}"
        )
    };
    finding("members", Health::Works, what, "")
}
