//! Where we are: how others see us, and what kind of NAT that implies (`docs/PROTOCOL.md`, punching). Pure.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use bitchat_wire::proto::punch::Nat as WireNat;

use super::address::network::{is_local, subscriber};

/// Observations that count: the latest, one per host. With more, those from before a router's restart would linger.
const MOST_VOTES: usize = 8;
/// Most local addresses that are remembered.
const MOST_LOCAL: usize = 16;

/// The kind of NAT between us and others, for one address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatKind {
    /// Too few peers have reported how they see us.
    #[default]
    Unknown,
    /// No translation: others see our own address.
    Open,
    /// A NAT with one outer port for all targets, which lets strangers in.
    FullCone,
    /// A NAT with one outer port for all targets; no stranger has come through it.
    PortRestricted,
    /// A NAT with a different outer port for each target.
    Symmetric,
    /// UDP does not get through.
    UdpBlocked,
    /// Everything goes through a proxy.
    Proxy,
    /// Our address is hidden: members are reached through relays alone.
    Hidden,
}

impl NatKind {
    /// The value sent in punch messages.
    pub(crate) fn wire(self) -> WireNat {
        match self {
            Self::Unknown => WireNat::Unknown,
            Self::Open | Self::FullCone | Self::PortRestricted => WireNat::Fixed,
            Self::Symmetric => WireNat::Symmetric,
            Self::UdpBlocked | Self::Proxy | Self::Hidden => WireNat::NoUdp,
        }
    }
}

/// What is known of one address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatView {
    /// The kind of NAT.
    pub kind: NatKind,
    /// Where others see us, or where the router maps us. The port is 0 while unknown, or if it differs for each target.
    pub external: Option<SocketAddr>,
    /// Whether the port is worth announcing: mapped by the router, or seen by more than one host.
    pub sure: bool,
    /// The number of hosts that have reported how they see us.
    pub observers: usize,
    /// Whether a stranger, to whom we had sent nothing, got through to us.
    pub reached: bool,
    /// The outer address that the router has mapped for us; `None` without a mapping, or if peers see us elsewhere.
    pub mapped: Option<SocketAddr>,
}

/// What is known of both address families.
#[derive(Debug, Default)]
pub(crate) struct Nat {
    sides: [Side; 2],
    only: Option<NatKind>,
}

#[derive(Debug, Default)]
struct Side {
    /// The observing hosts and what they see, newest last.
    votes: VecDeque<(IpAddr, SocketAddr)>,
    /// The same for TCP, from peers that we dialled from our listening port.
    tcp: VecDeque<(IpAddr, SocketAddr)>,
    /// What most nodes of the DHT see; the port is 0 if they disagree on it.
    dht: Option<SocketAddr>,
    /// What a tracker sees.
    tracker: Option<IpAddr>,
    mapped: Option<SocketAddr>,
    local: Vec<IpAddr>,
    reached: bool,
    /// A dial got no answer over UDP and one over TCP.
    only_tcp: bool,
    /// We have received over UDP what we had asked for.
    udp: bool,
}

impl Nat {
    /// Fixes the kind, for a node behind a proxy or in hiding: nothing else matters then, or may be revealed.
    pub(crate) fn set_only(&mut self, kind: NatKind) {
        self.only = Some(kind);
    }

    fn side(&mut self, ip: IpAddr) -> &mut Side {
        &mut self.sides[usize::from(ip.is_ipv6())]
    }

    /// Records that a peer at `by` sees our UDP port at `address`. A peer on a local network with us reveals nothing
    /// about the rest of the world.
    pub(crate) fn observed(&mut self, by: SocketAddr, address: SocketAddr) {
        let side = self.side(address.ip());
        side.udp = true;
        if is_local(address.ip()) || by.is_ipv4() != address.is_ipv4() {
            return;
        }
        vote(&mut side.votes, by, address);
    }

    /// Records that a peer at `by`, which we dialled over TCP from our listening port, sees that port at `address`.
    pub(crate) fn observed_tcp(&mut self, by: SocketAddr, address: SocketAddr) {
        if !is_local(address.ip()) && by.is_ipv4() == address.is_ipv4() {
            vote(&mut self.side(address.ip()).tcp, by, address);
        }
    }

    /// Records where nodes of the DHT agree that they see us; port 0 if they disagree on the port.
    pub(crate) fn dht(&mut self, address: SocketAddr) {
        self.side(address.ip()).dht = Some(address);
    }

    /// Records where a tracker sees us; it may have seen a TCP connection.
    pub(crate) fn tracker(&mut self, ip: IpAddr) {
        self.side(ip).tracker = Some(ip);
    }

    /// Records the outer address to which the router maps our port; `None` ends the mapping.
    pub(crate) fn mapped(&mut self, ipv6: bool, address: Option<SocketAddr>) {
        self.sides[usize::from(ipv6)].mapped = address;
    }

    /// Records one of our own addresses.
    pub(crate) fn local(&mut self, ip: IpAddr) {
        let local = &mut self.side(ip).local;
        if !local.contains(&ip) {
            local.truncate(MOST_LOCAL - 1);
            local.insert(0, ip);
        }
    }

    /// Our own addresses, the latest first of each family.
    pub(crate) fn locals(&self) -> impl Iterator<Item = IpAddr> {
        self.sides.iter().flat_map(|side| &side.local).copied()
    }

    /// Records that a stranger got through to our UDP port.
    pub(crate) fn reached(&mut self, ipv6: bool) {
        self.sides[usize::from(ipv6)].reached = true;
    }

    /// Records that a dial succeeded over TCP where UDP got no answer.
    pub(crate) fn only_tcp(&mut self, ip: IpAddr) {
        if !is_local(ip) {
            self.side(ip).only_tcp = true;
        }
    }

    /// Forgets everything: we are on another network.
    pub(crate) fn moved(&mut self) {
        self.sides = <[Side; 2]>::default();
    }

    /// What is known of one family.
    pub(crate) fn view(&self, ipv6: bool) -> NatView {
        let side = &self.sides[usize::from(ipv6)];
        if let Some(kind) = self.only {
            return NatView {
                kind,
                ..NatView::default()
            };
        }
        side.view()
    }

    /// The outer address of TCP dials from our listening port `local`; `None` if it is unknown or differs for each
    /// target.
    pub(crate) fn tcp(&self, ipv6: bool, local: u16) -> Option<SocketAddr> {
        match self.only {
            Some(_) => None,
            None => self.sides[usize::from(ipv6)].tcp(local),
        }
    }

    /// The port to announce if it is not our own. IPv4 goes first, since most peers look for us there.
    pub(crate) fn port(&self) -> Option<u16> {
        [false, true].into_iter().find_map(|ipv6| {
            let view = self.view(ipv6);
            let external = view.external.filter(|at| view.sure && at.port() != 0);
            external.map(|at| at.port())
        })
    }

    /// Whether others see us at that IP, in which case whoever is seen there too is our neighbour.
    pub(crate) fn is_ours(&self, ip: IpAddr) -> bool {
        let external = self.view(ip.is_ipv6()).external;
        external.is_some_and(|at| at.ip() == ip)
    }
}

fn vote(votes: &mut VecDeque<(IpAddr, SocketAddr)>, by: SocketAddr, address: SocketAddr) {
    let by = subscriber(by.ip());
    votes.retain(|(other, _)| *other != by);
    if votes.len() >= MOST_VOTES {
        votes.pop_front();
    }
    votes.push_back((by, address));
}

/// What several observers see together.
struct Seen {
    ip: Option<IpAddr>,
    /// The port seen by at least two observers and by the majority.
    agreed: Option<u16>,
    /// The port seen most often, even if by a single observer.
    best: Option<u16>,
    /// Every observer sees another port.
    differ: bool,
}

impl Seen {
    fn by(votes: &VecDeque<(IpAddr, SocketAddr)>) -> Self {
        let ip = most(votes.iter().map(|(_, at)| at.ip())).map(|(ip, _)| ip);
        // Observers that see another IP were reached along another path, and their ports reveal nothing.
        let ports = votes.iter().filter(|(_, at)| Some(at.ip()) == ip);
        let ports = ports.map(|(_, at)| at.port());
        let (all, best) = (ports.clone().count(), most(ports));
        let agreed = best.filter(|(_, count)| *count >= 2 && count * 2 > all);
        Self {
            ip,
            agreed: agreed.map(|(port, _)| port),
            best: best.map(|(port, _)| port),
            differ: all >= 2 && best.is_some_and(|(_, count)| count == 1),
        }
    }
}

/// The most frequent value and its count.
fn most<T: PartialEq + Copy>(all: impl Iterator<Item = T> + Clone) -> Option<(T, usize)> {
    let count = |one: &T| all.clone().filter(|other| other == one).count();
    // Of equally frequent ones the last, which is the newest.
    all.clone()
        .map(|one| (one, count(&one)))
        .max_by_key(|(_, count)| *count)
}

impl Side {
    fn view(&self) -> NatView {
        let votes = Seen::by(&self.votes);
        let seen = votes.ip;
        let ip = seen
            .or(self.dht.map(|at| at.ip()))
            .or(self.mapped.map(|at| at.ip()))
            .or(self.tracker);
        let dht_port = self.dht.map(|at| at.port()).filter(|port| *port != 0);
        let agreed = votes.agreed.or(dht_port);
        let differ = agreed.is_none() && votes.differ;
        let port = match (agreed, votes.best) {
            (Some(port), _) => port,
            (None, Some(port)) if !differ => port,
            _ => 0,
        };
        // If several see us at an address other than the router's outer one, there is another NAT behind the router.
        let several = self.votes.len() >= 2;
        let believed = |at: &SocketAddr| !several || seen == Some(at.ip());
        let mapped = self.mapped.filter(believed);
        let external = mapped.or(ip.map(|ip| SocketAddr::new(ip, port)));
        let here = ip.is_some_and(|ip| self.local.contains(&ip));
        let kind = match () {
            () if here => NatKind::Open,
            () if differ => NatKind::Symmetric,
            () if self.reached && (agreed.or(votes.best).is_some()) => NatKind::FullCone,
            () if agreed.is_some() => NatKind::PortRestricted,
            () if self.only_tcp && !self.udp && self.dht.is_none() => NatKind::UdpBlocked,
            () => NatKind::Unknown,
        };
        NatView {
            kind,
            external,
            sure: mapped.is_some() || agreed.is_some(),
            observers: self.votes.len(),
            reached: self.reached,
            mapped,
        }
    }

    fn tcp(&self, local: u16) -> Option<SocketAddr> {
        let seen = Seen::by(&self.tcp);
        if let Some(ip) = seen.ip {
            let port = seen.agreed.or(seen.best).filter(|_| !seen.differ)?;
            return Some(SocketAddr::new(ip, port));
        }
        // No TCP observation yet. A NAT that keeps our port for UDP is assumed to keep it for TCP as well.
        let udp = self.view();
        let kept = |at: &SocketAddr| at.port() == local && udp.mapped.is_none();
        udp.external.filter(kept)
    }
}

#[cfg(test)]
mod tests;
