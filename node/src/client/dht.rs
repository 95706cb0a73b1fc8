//! The DHT.

use super::Client;
use crate::{
    error::Failure,
    shapes::{Dht, DhtFound},
};

impl Client {
    /// Returns the state of the node's part of the DHT.
    pub async fn dht(&self) -> Result<Dht, Failure> {
        self.get(&["v1", "dht"], &[]).await
    }

    /// Looks up an infohash of 40 hexadecimal digits. Takes up to 40 s.
    pub async fn dht_lookup(&self, hash: &str) -> Result<DhtFound, Failure> {
        self.get(&["v1", "dht", hash], &[]).await
    }
}
