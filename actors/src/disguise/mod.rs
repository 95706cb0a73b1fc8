//! Disguises: the BitTorrent client that trackers, the DHT and unknown peers take this node for (`docs/PROTOCOL.md`,
//! rendezvous).
//!
//! Nothing here is an actor: the traits of each client are data ([`clients`]), and the peer ids and keys used under each
//! hash are a small table that trackers fill and the transport reads ([`torrents`]). The modules that send to the outside
//! look up here how the client would. Two of the clients were recorded on the wire; the other two follow the changes
//! since in their sources.

mod clients;
mod torrents;

use std::{fmt, str::FromStr};

use rand::{Rng, RngExt};

pub(crate) use clients::{BackOff, Client, Field, KeyForm};
pub(crate) use torrents::Persona;
pub use torrents::{ANSWER_LEN, HANDSHAKE_LEN, OPENING_LEN, Torrents};

/// A client that the node imitates.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[non_exhaustive]
pub enum Disguise {
    /// Transmission 4.1.
    #[default]
    #[serde(rename = "transmission-4.1")]
    Transmission41,
    /// Transmission 3.00.
    #[serde(rename = "transmission-3.00")]
    Transmission300,
    /// qBittorrent 4.5.2, which is libtorrent 2.0.8.
    #[serde(rename = "qbittorrent-4.5.2")]
    Qbittorrent452,
    /// qBittorrent 5.2, which is libtorrent 2.0.11.
    #[serde(rename = "qbittorrent-5.2")]
    Qbittorrent52,
}

/// The error for a name that no disguise has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no disguise {0:?}: choose one of {all}", all = Disguise::ALL.map(Disguise::name).join(", "))]
pub struct UnknownDisguise(String);

impl Disguise {
    /// All disguises, the default first.
    pub const ALL: [Self; 4] = [
        Self::Transmission41,
        Self::Transmission300,
        Self::Qbittorrent452,
        Self::Qbittorrent52,
    ];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        self.client().name
    }

    /// The port that a new home of such a client listens on.
    pub fn port(self, rng: &mut impl Rng) -> u16 {
        match self.client().port {
            Some(port) => port,
            None => rng.random_range(1_024..=u16::MAX),
        }
    }

    /// The description that such a client gives its port in a router.
    pub(crate) fn mapping(self, port: u16) -> String {
        self.client().mapping.replace("{port}", &port.to_string())
    }

    pub(crate) fn client(self) -> &'static Client {
        match self {
            Self::Transmission41 => &clients::TRANSMISSION_4_1,
            Self::Transmission300 => &clients::TRANSMISSION_3_00,
            Self::Qbittorrent452 => &clients::QBITTORRENT_4_5_2,
            Self::Qbittorrent52 => &clients::QBITTORRENT_5_2,
        }
    }
}

impl fmt::Display for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Disguise {
    type Err = UnknownDisguise;

    fn from_str(name: &str) -> Result<Self, UnknownDisguise> {
        Self::ALL
            .into_iter()
            .find(|disguise| disguise.name() == name)
            // The user's own text, cut since it may be long.
            .ok_or_else(|| UnknownDisguise(name.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn names_are_read_back() {
        for disguise in Disguise::ALL {
            assert_eq!(disguise.name().parse(), Ok(disguise));
            // Settings and the command line use the same name.
            let plain = serde_bencode::to_string(&disguise.name()).unwrap();
            assert_eq!(serde_bencode::to_string(&disguise).unwrap(), plain);
        }
        let error = "Azureus".parse::<Disguise>().unwrap_err().to_string();
        assert!(error.contains("\"Azureus\"") && error.contains("transmission-3.00"));
    }

    #[test]
    fn ports() {
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(Disguise::default().port(&mut rng), 51_413);
        for _ in 0..1_000 {
            assert!(Disguise::Qbittorrent52.port(&mut rng) >= 1_024);
        }
    }
}
