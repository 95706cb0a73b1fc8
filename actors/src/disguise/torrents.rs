//! The peer id and key used under each announced hash, and the response to a BitTorrent client (BEP 3).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{Rng, RngExt};

use super::{Disguise, KeyForm};

/// Length in bytes of a BitTorrent handshake.
pub const HANDSHAKE_LEN: usize = 68;
/// Length in bytes of a handshake up to the end of the infohash: all that the response depends on.
pub const OPENING_LEN: usize = 48;
/// Length in bytes of a response: a handshake and nothing more.
pub const ANSWER_LEN: usize = HANDSHAKE_LEN;

/// The beginning of every handshake.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// The infohash's offset in a handshake.
const HASH_AT: usize = 28;
/// The reserved bytes before the infohash: the extension protocol (BEP 10), the fast extension (BEP 6) ...
const EXTENSIONS: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0x04];
/// ... and the bit of the last one that stands for a DHT node (BEP 5).
const DHT: u8 = 0x01;
/// Torrents that are remembered though not announced, in case they are announced again in this run.
const MAX_RESTING: usize = 256;

/// The peer id and key of a client in one swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Persona {
    pub(crate) peer_id: [u8; 20],
    pub(crate) key: u32,
}

impl Persona {
    /// Draws a peer id, and a key unless `key` gives the one of all torrents.
    pub(crate) fn new(disguise: Disguise, key: Option<u32>, rng: &mut impl Rng) -> Self {
        let client = disguise.client();
        let digits = client.peer_id_digits;
        let mut peer_id = [0; 20];
        let (prefix, rest) = peer_id.split_at_mut(8);
        prefix.copy_from_slice(client.peer_id);
        let mut sum = 0;
        for place in rest.iter_mut() {
            let digit = rng.random_range(0..digits.len());
            sum += digit;
            *place = digits[digit];
        }
        if client.peer_id_sum
            && let Some(last) = rest.last_mut()
            && let Some(digit) = digits.iter().position(|digit| digit == last)
        {
            let others = sum - digit;
            *last = digits[(digits.len() - others % digits.len()) % digits.len()];
        }
        Self {
            peer_id,
            key: key.unwrap_or_else(|| rng.random()),
        }
    }
}

#[derive(Clone, Copy)]
struct Torrent {
    persona: Persona,
    announced: bool,
}

/// The hashes that a node announces in this run, with the peer id and key of each. Cheap to clone; clones share one
/// table.
#[derive(Clone)]
pub struct Torrents {
    disguise: Disguise,
    /// The key of all torrents, if the client has only one.
    key: u32,
    dht: bool,
    known: Arc<Mutex<HashMap<[u8; 20], Torrent>>>,
}

impl Torrents {
    /// Creates an empty table.
    pub fn new(disguise: Disguise, rng: &mut impl Rng) -> Self {
        Self {
            disguise,
            key: rng.random(),
            dht: true,
            known: Arc::default(),
        }
    }

    /// Makes handshakes advertise no DHT node.
    pub fn without_dht(self) -> Self {
        Self { dht: false, ..self }
    }

    /// The client that the node imitates.
    pub fn disguise(&self) -> Disguise {
        self.disguise
    }

    /// Marks a hash as announced, and returns its peer id and key.
    pub(crate) fn begin(&self, hash: &[u8; 20], rng: &mut impl Rng) -> Persona {
        let client = self.disguise.client();
        let mut known = self.known();
        let kept = known.get(hash).filter(|_| client.keeps_persona);
        let persona = kept.map_or_else(
            || {
                let key = (client.key == KeyForm::LowerForAll).then_some(self.key);
                Persona::new(self.disguise, key, rng)
            },
            |torrent| torrent.persona,
        );
        let torrent = Torrent {
            persona,
            announced: true,
        };
        known.insert(*hash, torrent);
        persona
    }

    /// Marks a hash as not announced any longer.
    pub(crate) fn end(&self, hash: &[u8; 20]) {
        let mut known = self.known();
        if !self.disguise.client().keeps_persona {
            known.remove(hash);
            return;
        }
        if let Some(torrent) = known.get_mut(hash) {
            torrent.announced = false;
        }
        if known.values().filter(|torrent| !torrent.announced).count() > MAX_RESTING {
            known.retain(|_, torrent| torrent.announced);
        }
    }

    /// The response to an unknown peer that opens a TCP connection with these bytes: the client's handshake under that
    /// hash. `None` if the hash is not announced here, or the bytes are not the beginning of a handshake.
    pub fn answer(
        &self,
        opening: &[u8; OPENING_LEN],
        rng: &mut impl Rng,
    ) -> Option<[u8; ANSWER_LEN]> {
        let (protocol, rest) = opening.split_first_chunk::<20>()?;
        let hash = rest.last_chunk::<20>()?;
        if protocol != PROTOCOL {
            return None;
        }
        let torrent = *self.known().get(hash).filter(|one| one.announced)?;
        let client = self.disguise.client();
        let persona = if client.shows_peer_id {
            torrent.persona
        } else {
            Persona::new(self.disguise, None, rng)
        };
        let mut answer = [0; ANSWER_LEN];
        answer[..20].copy_from_slice(PROTOCOL);
        answer[20..HASH_AT].copy_from_slice(&EXTENSIONS);
        if self.dht || client.always_says_dht {
            answer[HASH_AT - 1] |= DHT;
        }
        answer[HASH_AT..OPENING_LEN].copy_from_slice(hash);
        answer[OPENING_LEN..].copy_from_slice(&persona.peer_id);
        Some(answer)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 20], Torrent>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Torrents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Torrents")
            .field("disguise", &self.disguise)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::{array::uniform32, collection::vec, prelude::*};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    fn opening(hash: &[u8; 20]) -> [u8; OPENING_LEN] {
        let mut opening = [9; OPENING_LEN];
        opening[..20].copy_from_slice(PROTOCOL);
        opening[28..].copy_from_slice(hash);
        opening
    }

    #[test]
    fn peer_ids_are_their_clients() {
        let mut rng = rng();
        for disguise in Disguise::ALL {
            let client = disguise.client();
            for _ in 0..300 {
                let id = Persona::new(disguise, None, &mut rng).peer_id;
                assert!(id.starts_with(client.peer_id));
                assert!(id[8..].iter().all(|b| client.peer_id_digits.contains(b)));
                if client.peer_id_sum {
                    let digit = |b: &u8| char::from(*b).to_digit(36).unwrap();
                    assert_eq!(id[8..].iter().map(digit).sum::<u32>() % 36, 0);
                }
            }
        }
    }

    #[test]
    fn each_client_keeps_what_it_keeps() {
        let mut rng = rng();
        let (a, b) = ([1; 20], [2; 20]);
        for disguise in Disguise::ALL {
            let torrents = Torrents::new(disguise, &mut rng);
            let first = torrents.begin(&a, &mut rng);
            let other = torrents.begin(&b, &mut rng);
            assert_ne!(first.peer_id, other.peer_id);
            torrents.end(&a);
            let again = torrents.begin(&a, &mut rng);
            let libtorrent = disguise.name().starts_with("qbittorrent");
            assert_eq!(again == first, libtorrent, "{disguise}");
            let one_key = disguise == Disguise::Transmission300;
            assert_eq!(first.key == other.key, one_key, "{disguise}");
        }
    }

    #[test]
    fn a_stranger_is_answered_under_announced_hashes_alone() {
        let mut rng = rng();
        for disguise in Disguise::ALL {
            let torrents = Torrents::new(disguise, &mut rng);
            let hash = [5; 20];
            assert_eq!(torrents.answer(&opening(&hash), &mut rng), None);
            let persona = torrents.begin(&hash, &mut rng);
            let answer = torrents.answer(&opening(&hash), &mut rng).unwrap();
            assert_eq!(
                answer[..28],
                *b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05"
            );
            assert_eq!(answer[28..48], hash);
            let libtorrent = disguise.name().starts_with("qbittorrent");
            assert_eq!(answer[48..] == persona.peer_id, !libtorrent);
            assert!(answer[48..].starts_with(disguise.client().peer_id));
            torrents.end(&hash);
            assert_eq!(torrents.answer(&opening(&hash), &mut rng), None);
            let without = Torrents::new(disguise, &mut rng).without_dht();
            without.begin(&hash, &mut rng);
            let last = without.answer(&opening(&hash), &mut rng).unwrap()[27];
            assert_eq!(last, if libtorrent { 5 } else { 4 });
        }
    }

    #[test]
    fn what_rests_is_bounded() {
        let mut rng = rng();
        let torrents = Torrents::new(Disguise::Qbittorrent452, &mut rng);
        for n in 0..2_000_u32 {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            torrents.begin(&hash, &mut rng);
            torrents.end(&hash);
            assert!(torrents.known().len() <= MAX_RESTING + 1);
        }
    }

    proptest! {
        #[test]
        fn only_an_opening_of_that_hash_is_answered(bytes in vec(any::<u8>(), OPENING_LEN), hash in uniform32(any::<u8>()), flip in 0..OPENING_LEN, bit in 0_u8..8) {
            let torrents = Torrents::new(Disguise::default(), &mut rng());
            let hash = *hash.first_chunk::<20>().unwrap();
            torrents.begin(&hash, &mut rng());
            prop_assert_eq!(torrents.answer(&bytes.try_into().unwrap(), &mut rng()), None);
            let mut opening = opening(&hash);
            prop_assert!(torrents.answer(&opening, &mut rng()).is_some());
            opening[flip] ^= 1 << bit;
            // The peer's reserved bytes do not matter.
            prop_assert_eq!(torrents.answer(&opening, &mut rng()).is_some(), (20..28).contains(&flip));
        }
    }
}
