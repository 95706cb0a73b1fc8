//! Trackers.

use reqwest::Method;

use super::Client;
use crate::{
    error::Failure,
    shapes::{AnnounceNow, Announcing, Info, NewTracker},
};

impl Client {
    /// Adds a tracker to a channel.
    pub async fn add_tracker(&self, channel: &str, tracker: &NewTracker) -> Result<Info, Failure> {
        let segments = ["v1", "channels", channel, "trackers"];
        self.send_json(Method::POST, &segments, tracker).await
    }

    /// Removes a tracker from a channel.
    pub async fn remove_tracker(&self, channel: &str, url: &str) -> Result<Info, Failure> {
        self.remove(&["v1", "channels", channel, "trackers", url])
            .await
    }

    /// Announces a channel now.
    pub async fn announce(
        &self,
        channel: &str,
        request: &AnnounceNow,
    ) -> Result<Announcing, Failure> {
        let segments = ["v1", "channels", channel, "announce"];
        self.send_json(Method::POST, &segments, request).await
    }
}
