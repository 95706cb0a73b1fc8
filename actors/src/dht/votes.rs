//! Votes on our address: each node that answers may report where it sees us, and the majority is believed (BEP 42).

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

use super::network::{Host, host};

/// The latest votes that count.
const MOST_VOTES: usize = 32;
/// The number of hosts that must agree before anything is believed.
const LEAST_AGREEING: usize = 3;
/// The number of hosts, and they must be at least three quarters of all, that must agree before a port is announced
/// that we did not choose: liars could make us unreachable. They draw lookups to themselves, so that more of those who
/// answer lie than of all nodes: where one node in twenty lies, one node in a hundred receives more lies than truths,
/// but none three times as many.
const LEAST_FOR_ANNOUNCES: usize = 8;

/// The votes of one family.
#[derive(Default)]
pub(super) struct Votes {
    votes: VecDeque<(Host, SocketAddr)>,
}

impl Votes {
    /// Records that a node at `voter`, which answered one of our queries, sees us at `address`. Each host has one vote.
    pub(super) fn add(&mut self, voter: SocketAddr, address: SocketAddr) {
        if voter.is_ipv4() != address.is_ipv4() || address.port() == 0 {
            return;
        }
        let voter = host(voter);
        self.votes.retain(|(host, _)| *host != voter);
        if self.votes.len() >= MOST_VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, address));
    }

    /// The IP address that more than half of the voters see.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        let (ip, count) = most(self.votes.iter().map(|(_, address)| address.ip()))?;
        self.are_most(count).then_some(ip)
    }

    /// The address with port that more than half of the voters see; `None` behind a NAT that gives each destination
    /// another port.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let (address, count) = most(self.votes.iter().map(|(_, address)| *address))?;
        self.are_most(count).then_some(address)
    }

    fn are_most(&self, count: usize) -> bool {
        count >= LEAST_AGREEING && count * 2 > self.votes.len()
    }

    /// The port at which others reach us, if enough voters agree to announce it.
    fn port(&self) -> Option<u16> {
        let (address, count) = most(self.votes.iter().map(|(_, address)| *address))?;
        (count >= LEAST_FOR_ANNOUNCES && count * 4 >= self.votes.len() * 3).then(|| address.port())
    }

    /// The ports to announce to nodes that report to see us at the ports `seen`, in their order; `own` is the one on
    /// which we listen. A node is sent the port that it reports, so that a liar spoils only its own records; but not a
    /// port that few report, since behind a NAT that gives each destination another port it is valid for no other peer.
    pub(super) fn announced(&self, own: u16, seen: &[Option<u16>]) -> Vec<u16> {
        let usual = self.port().unwrap_or(own);
        let shared = |port: &u16| {
            seen.iter().filter(|other| **other == Some(*port)).count() >= LEAST_AGREEING
        };
        seen.iter()
            .map(|port| port.filter(shared).unwrap_or(usual))
            .collect()
    }
}

/// The most frequent vote, and its count.
fn most<T: Ord + Copy>(votes: impl Iterator<Item = T>) -> Option<(T, usize)> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for vote in votes {
        *counts.entry(vote).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn most_hosts_decide_and_each_has_one_vote() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mut votes = Votes::default();
        for port in 1..=9 {
            votes.add(at(&format!("9.9.9.9:{port}")), at("6.6.6.6:6"));
        }
        assert_eq!(votes.ip(), None, "one host alone");
        for host in 1..=2 {
            votes.add(at(&format!("8.8.8.{host}:1")), at("5.5.5.5:5"));
        }
        assert_eq!(votes.ip(), None, "two");
        votes.add(at("8.8.8.3:1"), at("5.5.5.5:7"));
        assert_eq!(votes.ip(), Some(at("5.5.5.5:5").ip()));
        assert_eq!(votes.address(), None, "they differ on the port");
        votes.add(at("8.8.8.3:1"), at("5.5.5.5:5"));
        assert_eq!(votes.address(), Some(at("5.5.5.5:5")));
        assert_eq!(votes.port(), None, "too few to announce it");
        // Another family's address does not count; a new address wins once most report it.
        votes.add(at("8.8.8.3:1"), at("[2a00::1]:5"));
        assert_eq!(votes.address(), Some(at("5.5.5.5:5")));
        for host in 0..40 {
            votes.add(at(&format!("7.7.7.{host}:1")), at("4.4.4.4:4"));
        }
        assert_eq!(votes.address(), Some(at("4.4.4.4:4")));
        assert_eq!(votes.port(), Some(4));
        assert!(votes.votes.len() <= MOST_VOTES);
        // A third of them lies: our address is certain, but no port is announced.
        for host in 0..10 {
            votes.add(at(&format!("6.6.6.{host}:1")), at("6.6.6.6:6"));
        }
        assert_eq!(votes.address(), Some(at("4.4.4.4:4")));
        assert_eq!(votes.port(), None);
    }

    #[test]
    fn a_node_is_sent_the_port_that_it_sees() {
        let mut votes = Votes::default();
        let (own, nat, lie) = (1, 4, 6);
        let all = [Some(nat), Some(lie), None, Some(nat), Some(lie), Some(nat)];
        assert_eq!(votes.announced(own, &all), [nat, own, own, nat, own, nat]);
        // A port per destination is of no use to others.
        let each: Vec<_> = (20..28).map(Some).collect();
        assert_eq!(votes.announced(own, &each), [own; 8]);
        for host in 0..8 {
            let voter = SocketAddr::from(([7, 7, 7, host], 1));
            votes.add(voter, SocketAddr::from(([4, 4, 4, 4], nat)));
        }
        assert_eq!(votes.announced(own, &all), [nat; 6]);
        assert_eq!(votes.announced(own, &[None]), [nat]);
    }
}
