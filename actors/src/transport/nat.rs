//! Where we are: what others see of us, and what kind of NAT that shows (`docs/PROTOCOL.md`, punching). Pure.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use bitchat_wire::proto::punch::Nat as Word;

use super::address::network::{is_local, subscriber};

/// The latest words of peers that count, one a host. More would keep what a router that has started again made of us.
const MOST_VOTES: usize = 8;
/// Addresses of our own that are known.
const MOST_LOCAL: usize = 16;

/// What stands between us and the others, for one address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatKind {
    /// Too few have said where they see us.
    #[default]
    Unknown,
    /// Nothing that changes addresses: others see us where we are.
    Open,
    /// A NAT with one outer port for all targets, through which strangers come too.
    FullCone,
    /// A NAT with one outer port for all targets; strangers have not come through it.
    PortRestricted,
    /// A NAT with another port for each target.
    Symmetric,
    /// No UDP gets through.
    UdpBlocked,
    /// A proxy is the only way out.
    Proxy,
    /// We are not to be found: members are talked with through relays alone.
    Hidden,
}

impl NatKind {
    /// As a punch says it.
    pub(crate) fn word(self) -> Word {
        match self {
            Self::Unknown => Word::Unknown,
            Self::Open | Self::FullCone | Self::PortRestricted => Word::Fixed,
            Self::Symmetric => Word::Symmetric,
            Self::UdpBlocked | Self::Proxy | Self::Hidden => Word::NoUdp,
        }
    }
}

/// What is known of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatView {
    /// What stands there.
    pub kind: NatKind,
    /// Where others see us, or were told to: the port is 0 while it is not known, or is another one for each.
    pub external: Option<SocketAddr>,
    /// Whether the port is worth announcing: mapped by the router, or seen by more than one host.
    pub sure: bool,
    /// Hosts that said where they see us.
    pub observers: usize,
    /// Whether a stranger got through to us, to whom we had sent nothing.
    pub reached: bool,
    /// What the router has given us, at our wish.
    pub mapped: Option<SocketAddr>,
}

/// Both families.
#[derive(Debug, Default)]
pub(crate) struct Nat {
    sides: [Side; 2],
    only: Option<NatKind>,
}

#[derive(Debug, Default)]
struct Side {
    /// Who, a host each, and what it sees; the newest last.
    votes: VecDeque<(IpAddr, SocketAddr)>,
    /// The same of TCP, by those whom we have dialled from the port on which we listen.
    tcp: VecDeque<(IpAddr, SocketAddr)>,
    /// What most nodes of the DHT see.
    dht: Option<SocketAddr>,
    /// What a tracker sees.
    tracker: Option<IpAddr>,
    mapped: Option<SocketAddr>,
    local: Vec<IpAddr>,
    reached: bool,
    /// Dials that UDP left without an answer and TCP did not.
    only_tcp: bool,
    /// Something came by UDP that we had asked for.
    udp: bool,
}

impl Nat {
    /// With a proxy, or in hiding, nothing else is of interest, or to be told.
    pub(crate) fn set_only(&mut self, kind: NatKind) {
        self.only = Some(kind);
    }

    fn side(&mut self, ip: IpAddr) -> &mut Side {
        &mut self.sides[usize::from(ip.is_ipv6())]
    }

    /// A peer at `by` sees our UDP port at `address`. Whoever is on a network of its own with us says nothing about
    /// the rest of the world.
    pub(crate) fn observed(&mut self, by: SocketAddr, address: SocketAddr) {
        let side = self.side(address.ip());
        side.udp = true;
        if is_local(address.ip()) || by.is_ipv4() != address.is_ipv4() {
            return;
        }
        vote(&mut side.votes, by, address);
    }

    /// The same of TCP: a peer that we dialled at `by` from the port on which we listen sees that port there.
    pub(crate) fn observed_tcp(&mut self, by: SocketAddr, address: SocketAddr) {
        if !is_local(address.ip()) && by.is_ipv4() == address.is_ipv4() {
            vote(&mut self.side(address.ip()).tcp, by, address);
        }
    }

    /// Nodes of the DHT have agreed on where they see us; port 0: not on the port.
    pub(crate) fn dht(&mut self, address: SocketAddr) {
        self.side(address.ip()).dht = Some(address);
    }

    /// A tracker says from where we come, which may have been by TCP.
    pub(crate) fn tracker(&mut self, ip: IpAddr) {
        self.side(ip).tracker = Some(ip);
    }

    /// The router maps our port to that address from now on; `None`: it does not any more.
    pub(crate) fn mapped(&mut self, ipv6: bool, address: Option<SocketAddr>) {
        self.sides[usize::from(ipv6)].mapped = address;
    }

    /// That is one of our own addresses.
    pub(crate) fn local(&mut self, ip: IpAddr) {
        let local = &mut self.side(ip).local;
        if !local.contains(&ip) {
            local.truncate(MOST_LOCAL - 1);
            local.insert(0, ip);
        }
    }

    /// Our own addresses, the latest first.
    pub(crate) fn locals(&self) -> impl Iterator<Item = IpAddr> {
        self.sides.iter().flat_map(|side| &side.local).copied()
    }

    /// A stranger got through to our UDP port.
    pub(crate) fn reached(&mut self, ipv6: bool) {
        self.sides[usize::from(ipv6)].reached = true;
    }

    /// A dial got there by TCP, and UDP was tried as well.
    pub(crate) fn only_tcp(&mut self, ip: IpAddr) {
        if !is_local(ip) {
            self.side(ip).only_tcp = true;
        }
    }

    /// We are somewhere else now, and know nothing of it.
    pub(crate) fn moved(&mut self) {
        self.sides = <[Side; 2]>::default();
    }

    /// What is known.
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

    /// Where others see what we dial by TCP from the port `local`, on which we listen; `None` where that is not known, or
    /// is another place for each.
    pub(crate) fn tcp(&self, ipv6: bool, local: u16) -> Option<SocketAddr> {
        match self.only {
            Some(_) => None,
            None => self.sides[usize::from(ipv6)].tcp(local),
        }
    }

    /// The port to announce, if that is another than our own: IPv4 first, which most are looked for by.
    pub(crate) fn port(&self) -> Option<u16> {
        [false, true].into_iter().find_map(|ipv6| {
            let view = self.view(ipv6);
            let external = view.external.filter(|at| view.sure && at.port() != 0);
            external.map(|at| at.port())
        })
    }

    /// Whether others see us at that IP: who is seen there too is our neighbour.
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

/// What several see of us together.
struct Seen {
    ip: Option<IpAddr>,
    /// The port that two or more, and most, see.
    agreed: Option<u16>,
    /// What one sees, or some.
    best: Option<u16>,
    /// Each sees another port.
    differ: bool,
}

impl Seen {
    fn by(votes: &VecDeque<(IpAddr, SocketAddr)>) -> Self {
        let ip = most(votes.iter().map(|(_, at)| at.ip())).map(|(ip, _)| ip);
        // Those who see us at another address came another way, and their ports say nothing.
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

/// What most say, and how many do.
fn most<T: PartialEq + Copy>(all: impl Iterator<Item = T> + Clone) -> Option<(T, usize)> {
    let count = |one: &T| all.clone().filter(|other| other == one).count();
    // Of equals the last, which is the newest.
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
        // A router whose outer address several see us at another than has another one behind it, whatever it says.
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
        // None that we dialled by TCP says so. A NAT that keeps the port of UDP keeps that of TCP as well.
        let udp = self.view();
        let kept = |at: &SocketAddr| at.port() == local && udp.mapped.is_none();
        udp.external.filter(kept)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn nat(votes: &[(&str, &str)]) -> Nat {
        let mut nat = Nat::default();
        nat.local("192.168.1.2".parse().unwrap());
        for (by, sees) in votes {
            nat.observed(at(by), at(sees));
        }
        nat
    }

    fn kind(votes: &[(&str, &str)]) -> NatKind {
        nat(votes).view(false).kind
    }

    #[test]
    fn kinds_follow_from_what_others_see() {
        assert_eq!(kind(&[]), NatKind::Unknown);
        let one = [("1.1.1.1:5", "9.9.9.9:7000")];
        assert_eq!(kind(&one), NatKind::Unknown);
        assert_eq!(nat(&one).view(false).external, Some(at("9.9.9.9:7000")));
        assert!(!nat(&one).view(false).sure);
        let same_host = [("1.1.1.1:5", "9.9.9.9:7000"), ("1.1.1.1:6", "9.9.9.9:7001")];
        assert_eq!(kind(&same_host), NatKind::Unknown, "a host has one word");
        let two = [("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")];
        let restricted = nat(&two);
        assert_eq!(restricted.view(false).kind, NatKind::PortRestricted);
        assert_eq!(restricted.port(), Some(7000));
        assert!(restricted.is_ours("9.9.9.9".parse().unwrap()));
        let differ = [("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7001")];
        let symmetric = nat(&differ);
        assert_eq!(symmetric.view(false).kind, NatKind::Symmetric);
        assert_eq!(symmetric.view(false).external, Some(at("9.9.9.9:0")));
        assert_eq!(symmetric.port(), None);
        let liar = [&two[..], &[("3.3.3.3:5", "9.9.9.9:1")]].concat();
        assert_eq!(kind(&liar), NatKind::PortRestricted, "one against two");
        let neighbour = [("192.168.1.9:5", "192.168.1.2:7000")];
        assert_eq!(nat(&neighbour).view(false).external, None);
    }

    #[test]
    fn other_words_count_as_well() {
        let mut open = nat(&[("1.1.1.1:5", "9.9.9.9:7000")]);
        open.local("9.9.9.9".parse().unwrap());
        assert_eq!(open.view(false).kind, NatKind::Open);

        let mut cone = nat(&[("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")]);
        cone.reached(false);
        assert_eq!(cone.view(false).kind, NatKind::FullCone);
        assert_eq!(cone.view(true).kind, NatKind::Unknown);

        let mut blocked = nat(&[]);
        blocked.only_tcp("192.168.1.1".parse().unwrap());
        assert_eq!(blocked.view(false).kind, NatKind::Unknown, "at home");
        blocked.only_tcp("1.1.1.1".parse().unwrap());
        assert_eq!(blocked.view(false).kind, NatKind::UdpBlocked);
        blocked.observed(at("1.1.1.1:5"), at("9.9.9.9:7000"));
        assert_eq!(blocked.view(false).kind, NatKind::Unknown);

        let mut mapped = nat(&[("1.1.1.1:5", "9.9.9.9:7000")]);
        mapped.mapped(false, Some(at("9.9.9.9:4001")));
        assert_eq!(mapped.port(), Some(4001));
        mapped.mapped(false, None);
        assert_eq!(mapped.port(), None);
        let mut twice = nat(&[("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")]);
        twice.mapped(false, Some(at("8.8.8.8:4001")));
        assert_eq!(
            twice.port(),
            Some(7000),
            "the router has another one behind it"
        );
        assert_eq!(twice.view(false).mapped, None);

        let mut dht = nat(&[]);
        dht.dht(at("9.9.9.9:0"));
        assert_eq!(dht.view(false).kind, NatKind::Unknown);
        dht.dht(at("9.9.9.9:7000"));
        assert_eq!(dht.view(false).kind, NatKind::PortRestricted);
        assert_eq!(dht.port(), Some(7000));

        let mut told = nat(&[]);
        told.tracker("9.9.9.9".parse().unwrap());
        assert_eq!(told.view(false).external, Some(at("9.9.9.9:0")));
        told.moved();
        assert_eq!(told.view(false), NatView::default());
        told.set_only(NatKind::Proxy);
        assert_eq!(told.view(true).kind, NatKind::Proxy);
    }

    #[test]
    fn tcp_is_judged_by_what_was_dialled_from_our_port() {
        let of = |votes: &[(&str, &str)]| {
            let mut nat = nat(&[]);
            for (by, sees) in votes {
                nat.observed_tcp(at(by), at(sees));
            }
            assert_eq!(
                nat.view(false),
                NatView::default(),
                "it says nothing of UDP"
            );
            nat.tcp(false, 7_001)
        };
        assert_eq!(of(&[]), None);
        let one = ("1.1.1.1:5", "9.9.9.9:7005");
        assert_eq!(of(&[one]), Some(at("9.9.9.9:7005")));
        let same = ("2.2.2.2:5", "9.9.9.9:7005");
        assert_eq!(of(&[one, same]), Some(at("9.9.9.9:7005")));
        let other = ("2.2.2.2:5", "9.9.9.9:7006");
        assert_eq!(of(&[one, other]), None, "symmetric");
        assert_eq!(
            of(&[one, other, ("3.3.3.3:5", "9.9.9.9:7005")]),
            Some(at("9.9.9.9:7005"))
        );
        let home = ("192.168.1.9:5", "192.168.1.2:7001");
        assert_eq!(of(&[home]), None);

        // As long as nobody says, a NAT is taken to do with TCP as it does with UDP.
        let kept = nat(&[("1.1.1.1:5", "9.9.9.9:7001")]);
        assert_eq!(kept.tcp(false, 7_001), Some(at("9.9.9.9:7001")));
        assert_eq!(kept.tcp(false, 7_002), None);
        assert_eq!(kept.tcp(true, 7_001), None);
        let each = nat(&[("1.1.1.1:5", "9.9.9.9:7001"), ("2.2.2.2:5", "9.9.9.9:7002")]);
        assert_eq!(each.tcp(false, 7_001), None);
        let mut proxied = kept;
        proxied.set_only(NatKind::Proxy);
        assert_eq!(proxied.tcp(false, 7_001), None);
    }

    proptest! {
        #[test]
        fn no_two_hosts_alone_make_us_announce_what_none_sees(
            votes in proptest::collection::vec((1_u8..12, 1_u8..4, 1_u16..6), 0..40),
        ) {
            let mut nat = Nat::default();
            for (by, ip, port) in &votes {
                nat.observed(
                    SocketAddr::from(([1, 1, 1, *by], 1)),
                    SocketAddr::from(([9, 9, 9, *ip], *port)),
                );
            }
            let view = nat.view(false);
            prop_assert!(view.observers <= MOST_VOTES);
            if let Some(port) = nat.port() {
                let sees = |(_, ip, seen): &&(u8, u8, u16)| {
                    *seen == port && view.external.unwrap().ip() == IpAddr::from([9, 9, 9, *ip])
                };
                prop_assert!(votes.iter().filter(sees).count() >= 2);
            }
        }
    }
}
