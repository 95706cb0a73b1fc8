//! Peers that others have announced here, for all who ask. Bounded in every direction.
//!
//! When room runs out, infohashes far from our own id are dropped first: other nodes ask us for those near it, while an
//! attacker announces anything.
//! floods us announces anything.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::{
    Family, Id,
    network::{Host, host, is_local},
};

/// How long a peer is kept after its last announce.
pub(super) const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Infohashes that are kept.
const MOST_HASHES: usize = 2_000;
/// Peers that are kept per infohash and family.
const MOST_PEERS: usize = 300;
/// Peers that are kept in all: about 2 MB.
const MOST_IN_ALL: usize = 20_000;
/// Peers of one host per infohash: several clients behind one address.
const MOST_OF_A_HOST: usize = 8;
/// Peers in one answer: 8 bytes each for IPv4, 21 for IPv6, which fit into one datagram with nodes and token.
const MOST_GIVEN: [usize; 2] = [60, 30];

#[derive(Clone, Copy)]
struct Stored {
    address: SocketAddr,
    host: Host,
    until: Instant,
}

/// The announced peers.
#[derive(Default)]
pub(super) struct Peers {
    hashes: BTreeMap<Id, [Vec<Stored>; 2]>,
    stored: usize,
    /// The infohash that is farthest from an id of ours, as last searched for: a flood of farther infohashes is refused
    /// without another search.
    farthest: Option<(Id, Id)>,
}

impl Peers {
    /// Records an announce of a peer. `own` is our id in its family.
    pub(super) fn announce(&mut self, own: &Id, hash: Id, address: SocketAddr, now: Instant) {
        let family = Family::of(address).index();
        let host = host(address);
        let until = now + LIFETIME;
        if !self.hashes.contains_key(&hash)
            && self.hashes.len() >= MOST_HASHES
            && !self.make_room(own, &hash)
        {
            return;
        }
        if self.stored >= MOST_IN_ALL && !self.make_room(own, &hash) {
            return;
        }
        if self
            .farthest
            .is_some_and(|(of, far)| of.distance(&hash) > of.distance(&far))
        {
            self.farthest = None;
        }
        let peers = &mut self.hashes.entry(hash).or_default()[family];
        if let Some(known) = peers.iter_mut().find(|known| known.address == address) {
            known.until = until;
            return;
        }
        let crowded = peers.iter().filter(|known| known.host == host).count() >= MOST_OF_A_HOST;
        let new = Stored {
            address,
            host,
            until,
        };
        if crowded || peers.len() >= MOST_PEERS || self.stored >= MOST_IN_ALL {
            // The oldest is dropped, of the same host if that has its share; a peer that is still there announces
            // itself again.
            let mut rivals = peers
                .iter_mut()
                .filter(|known| !crowded || known.host == host);
            if let Some(first) = rivals.next() {
                let oldest = rivals.fold(first, |a, b| if b.until < a.until { b } else { a });
                *oldest = new;
            }
        } else {
            peers.push(new);
            self.stored += 1;
        }
    }

    /// Drops the infohash that is farthest from us; false if that would be `new` itself.
    fn make_room(&mut self, own: &Id, new: &Id) -> bool {
        let known = self
            .farthest
            .filter(|(of, hash)| of == own && self.hashes.contains_key(hash));
        let farthest = match known {
            Some((_, farthest)) => Some(farthest),
            None => self
                .hashes
                .keys()
                .max_by_key(|hash| own.distance(hash))
                .copied(),
        };
        self.farthest = farthest.map(|farthest| (*own, farthest));
        match farthest {
            Some(farthest) if own.distance(&farthest) > own.distance(new) => {
                self.remove(&farthest);
                true
            }
            // A known infohash may stay and be refreshed.
            _ => self.hashes.contains_key(new),
        }
    }

    fn remove(&mut self, hash: &Id) {
        if let Some(peers) = self.hashes.remove(hash) {
            self.stored -= peers.iter().map(Vec::len).sum::<usize>();
        }
    }

    /// Peers for an asker; a random choice if there are many. Addresses on local networks are given to `local` askers
    /// only.
    pub(super) fn get<R: Rng + ?Sized>(
        &self,
        hash: &Id,
        family: Family,
        local: bool,
        now: Instant,
        rng: &mut R,
    ) -> Vec<SocketAddr> {
        let Some(peers) = self.hashes.get(hash) else {
            return Vec::new();
        };
        let mut given: Vec<SocketAddr> = peers[family.index()]
            .iter()
            .filter(|peer| peer.until > now && (local || !is_local(peer.address.ip())))
            .map(|peer| peer.address)
            .collect();
        let most = MOST_GIVEN[family.index()].min(given.len());
        for at in 0..most {
            let other = rng.random_range(at..given.len());
            given.swap(at, other);
        }
        given.truncate(most);
        given
    }

    /// Drops expired peers. Takes time in proportion to what is stored, so it is called every few minutes.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut left = 0;
        self.hashes.retain(|_, peers| {
            let mut here = 0;
            for family in peers {
                family.retain(|peer| peer.until > now);
                here += family.len();
            }
            left += here;
            here > 0
        });
        self.stored = left;
    }

    /// The number of infohashes and of peers that are kept.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.hashes.len(), self.stored)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn ids(seed: u64) -> impl FnMut() -> Id {
        let mut rng = StdRng::seed_from_u64(seed);
        move || Id::random(&mut rng)
    }

    fn peer(number: u32) -> SocketAddr {
        SocketAddr::from(((0x0900_0000 + number).to_be_bytes(), 1))
    }

    fn get(peers: &Peers, hash: &Id, now: Instant) -> Vec<SocketAddr> {
        peers.get(hash, Family::V4, false, now, &mut StdRng::seed_from_u64(1))
    }

    #[test]
    fn peers_live_for_half_an_hour() {
        let (start, own, hash) = (Instant::now(), Id([0; 20]), Id([1; 20]));
        let mut peers = Peers::default();
        peers.announce(&own, hash, peer(1), start);
        peers.announce(&own, hash, peer(2), start + LIFETIME / 2);
        assert_eq!(get(&peers, &hash, start).len(), 2);
        assert_eq!(get(&peers, &hash, start + LIFETIME), [peer(2)]);
        peers.announce(&own, hash, peer(2), start + LIFETIME);
        peers.sweep(start + LIFETIME + LIFETIME / 2);
        assert_eq!(peers.counts(), (1, 1));
        peers.sweep(start + LIFETIME * 2);
        assert_eq!(peers.counts(), (0, 0));
    }

    #[test]
    fn families_and_local_addresses_are_kept_apart() {
        let (now, own, hash) = (Instant::now(), Id([0; 20]), Id([1; 20]));
        let mut peers = Peers::default();
        peers.announce(&own, hash, "127.0.0.1:5".parse().unwrap(), now);
        peers.announce(&own, hash, "[2a00::1]:5".parse().unwrap(), now);
        let mut rng = StdRng::seed_from_u64(1);
        let mut count = |family, local| peers.get(&hash, family, local, now, &mut rng).len();
        assert_eq!(count(Family::V4, false), 0);
        assert_eq!(count(Family::V4, true), 1);
        assert_eq!(count(Family::V6, false), 1);
    }

    #[test]
    fn a_flood_costs_bounded_memory_and_leaves_what_is_near() {
        let now = Instant::now();
        let mut next = ids(3);
        let own = next();
        let near = own.near(40, &mut StdRng::seed_from_u64(4));
        let mut peers = Peers::default();
        peers.announce(&own, near, peer(0), now);
        for number in 0..6_000 {
            let (hash, other) = (next(), peer(number));
            peers.announce(&own, hash, other, now);
        }
        assert_eq!(peers.counts().0, MOST_HASHES);
        assert_eq!(get(&peers, &near, now), [peer(0)]);
        for number in 0..2_000 {
            peers.announce(&own, near, peer(number), now);
        }
        assert!(peers.counts().1 <= MOST_HASHES + MOST_PEERS);
        assert_eq!(get(&peers, &near, now).len(), MOST_GIVEN[0]);
        // One host with many ports displaces itself only.
        let mut peers = Peers::default();
        peers.announce(&own, near, peer(0), now);
        for port in 1..1_000 {
            peers.announce(&own, near, SocketAddr::from(([9, 9, 9, 9], port)), now);
        }
        let got = get(&peers, &near, now);
        assert_eq!(got.len(), 1 + MOST_OF_A_HOST);
        assert!(got.contains(&peer(0)));
    }

    #[test]
    fn all_together_are_bounded_too() {
        let now = Instant::now();
        let mut next = ids(5);
        let own = next();
        let hashes: Vec<Id> = (0..200).map(|_| next()).collect();
        let mut peers = Peers::default();
        for number in 0..25_000 {
            let hash = hashes[number as usize % hashes.len()];
            peers.announce(&own, hash, peer(number), now);
        }
        let (_, stored) = peers.counts();
        assert!(stored <= MOST_IN_ALL, "{stored}");
        let counted: usize = peers.hashes.values().flatten().map(Vec::len).sum();
        assert_eq!(counted, stored);
    }
}
