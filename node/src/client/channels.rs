//! Channels.

use reqwest::Method;

use super::Client;
use crate::{
    error::Failure,
    shapes::{Address, Channel, Channels, Connecting, Created, Info, Left, NewChannel},
};

impl Client {
    /// Lists the channels, sorted by name.
    pub async fn channels(&self) -> Result<Vec<Channel>, Failure> {
        let list: Channels = self.get(&["v1", "channels"], &[]).await?;
        Ok(list.channels)
    }

    /// Creates a channel and joins it.
    pub async fn create(&self, channel: &NewChannel) -> Result<Created, Failure> {
        self.send_json(Method::POST, &["v1", "channels"], channel)
            .await
    }

    /// Joins a channel by the bytes of its file, or by its link.
    pub async fn join(&self, file_or_link: Vec<u8>) -> Result<Info, Failure> {
        self.send_bytes(Method::POST, &["v1", "channels", "join"], file_or_link)
            .await
    }

    /// Returns a channel in detail.
    pub async fn channel(&self, channel: &str) -> Result<Info, Failure> {
        self.get(&["v1", "channels", channel], &[]).await
    }

    /// Leaves a channel, and deletes its messages from the node.
    pub async fn leave(&self, channel: &str) -> Result<Left, Failure> {
        self.remove(&["v1", "channels", channel]).await
    }

    /// Returns the bytes of a channel's file.
    pub async fn channel_file(&self, channel: &str) -> Result<Vec<u8>, Failure> {
        self.get_bytes(&["v1", "channels", channel, "file"]).await
    }

    /// Dials an address of a member, and keeps dialling it.
    pub async fn connect(&self, channel: &str, address: &Address) -> Result<Connecting, Failure> {
        let segments = ["v1", "channels", channel, "connect"];
        self.send_json(Method::POST, &segments, address).await
    }
}
