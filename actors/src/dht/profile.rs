//! The client that our node looks like: the shape of its packets, and the interval of its announces.

use std::{ops::Range, time::Duration};

use super::krpc::Method;
use crate::disguise::Disguise;

/// The client that our packets look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Transmission: no version, transaction ids of four bytes that begin with the kind of query, lookups of nodes by
    /// `find_node`, announces every 25 to 28 minutes that name the port.
    #[default]
    Transmission,
    /// libtorrent 2.0: version `LT`, transaction ids of two random bytes, every lookup by `get_peers`, announces every
    /// 15 minutes with `implied_port`, answers that contain the asker's address.
    Libtorrent,
    /// libtorrent 2.0.11, which differs in its version only.
    Libtorrent11,
}

impl From<Disguise> for Profile {
    fn from(disguise: Disguise) -> Self {
        match disguise {
            Disguise::Transmission41 | Disguise::Transmission300 => Self::Transmission,
            Disguise::Qbittorrent452 => Self::Libtorrent,
            Disguise::Qbittorrent52 => Self::Libtorrent11,
        }
    }
}

impl Profile {
    /// The version in every message.
    pub(super) fn version(self) -> Option<Vec<u8>> {
        match self {
            Self::Transmission => None,
            Self::Libtorrent => Some(b"LT\x02\x08".to_vec()),
            Self::Libtorrent11 => Some(b"LT\x02\x0b".to_vec()),
        }
    }

    /// A transaction id. `number`: the one after the last.
    pub(super) fn transaction(self, method: &Method, number: u16) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        match self {
            Self::Transmission => {
                let kind = match method {
                    Method::Ping | Method::Other { .. } => b"pn",
                    Method::FindNode { .. } => b"fn",
                    Method::GetPeers { .. } => b"gp",
                    Method::AnnouncePeer { .. } => b"ap",
                };
                vec![kind[0], kind[1], low, high]
            }
            Self::Libtorrent | Self::Libtorrent11 => vec![high, low],
        }
    }

    /// The number of the transaction id after this one: either counted up, or seemingly random (with a full period, so
    /// that none is repeated soon).
    pub(super) fn after(self, number: u16) -> u16 {
        match self {
            Self::Transmission => number.wrapping_add(1),
            Self::Libtorrent | Self::Libtorrent11 => {
                number.wrapping_mul(25_173).wrapping_add(13_849)
            }
        }
    }

    /// Whether nodes near an id are looked up by `get_peers`.
    pub(super) fn always_get_peers(self) -> bool {
        self != Self::Transmission
    }

    /// Whether answers contain the asker's address and port.
    pub(super) fn reports_address(self) -> bool {
        self != Self::Transmission
    }

    /// `implied_port` and `seed` of an announce.
    pub(super) fn announce_flags(self) -> (Option<bool>, Option<bool>) {
        match self {
            Self::Transmission => (None, None),
            Self::Libtorrent | Self::Libtorrent11 => (Some(true), Some(false)),
        }
    }

    /// Bytes of our write tokens.
    pub(super) fn token_len(self) -> usize {
        match self {
            Self::Transmission => 8,
            Self::Libtorrent | Self::Libtorrent11 => 4,
        }
    }

    /// The interval of announces, in milliseconds.
    pub(super) fn repeat(self) -> Range<u64> {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes).as_millis() as u64;
        match self {
            Self::Transmission => minutes(25)..minutes(28),
            Self::Libtorrent | Self::Libtorrent11 => minutes(14)..minutes(16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disguise_has_its_version() {
        let version = |disguise| Profile::from(disguise).version();
        assert_eq!(version(Disguise::Transmission41), None);
        assert_eq!(version(Disguise::Transmission300), None);
        let of = |tiny| Some(vec![b'L', b'T', 2, tiny]);
        assert_eq!(version(Disguise::Qbittorrent452), of(8));
        assert_eq!(version(Disguise::Qbittorrent52), of(11));
    }
}
