//! Where others see us: each node that answers may say so, and most of them are believed (BEP 42).

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

use super::network::{Host, host};

/// The latest votes that count.
const MOST_VOTES: usize = 32;
/// So many hosts must agree before anything is believed.
const LEAST_AGREEING: usize = 3;
/// And so many before we announce a port that nobody told us: a few liars would make us unreachable.
const LEAST_FOR_ANNOUNCES: usize = 8;

/// The votes of one family.
#[derive(Default)]
pub(super) struct Votes {
    votes: VecDeque<(Host, SocketAddr)>,
}

impl Votes {
    /// A node at `voter` that answered a question of ours sees us at `address`. Each host has one vote.
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

    /// The IP that more than half of the voters see.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        most(
            self.votes.iter().map(|(_, address)| address.ip()),
            LEAST_AGREEING,
        )
    }

    /// The address with port that more than half of them see: behind a NAT that gives each
    /// destination another port, there is none.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        most(
            self.votes.iter().map(|(_, address)| *address),
            LEAST_AGREEING,
        )
    }

    /// The port at which others reach us, if so many say so that it is worth announcing.
    pub(super) fn port(&self) -> Option<u16> {
        let address = most(
            self.votes.iter().map(|(_, address)| *address),
            LEAST_FOR_ANNOUNCES,
        )?;
        Some(address.port())
    }
}

fn most<T: Ord + Copy>(votes: impl ExactSizeIterator<Item = T>, least: usize) -> Option<T> {
    let all = votes.len();
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for vote in votes {
        *counts.entry(vote).or_default() += 1;
    }
    let (vote, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= least && count * 2 > all).then_some(vote)
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
        // Another family's address says nothing; a new home shows once most say so.
        votes.add(at("8.8.8.3:1"), at("[2a00::1]:5"));
        assert_eq!(votes.address(), Some(at("5.5.5.5:5")));
        for host in 0..40 {
            votes.add(at(&format!("7.7.7.{host}:1")), at("4.4.4.4:4"));
        }
        assert_eq!(votes.address(), Some(at("4.4.4.4:4")));
        assert_eq!(votes.port(), Some(4));
        assert!(votes.votes.len() <= MOST_VOTES);
    }
}
