//! Changes of a channel's trackers by the user.
//!
//! Trackers are hints of the channel file, which are not signed: a change makes another file of the same channel, stored
//! in place of the former and given to others from then on. Other members learn of it only through that file.

use bitchat_wire::channel::ChannelId;

use super::{Node, NodeError};

impl Node {
    /// Adds a tracker, in a tier of its own, and announces to it.
    pub async fn add_tracker(&self, cid: ChannelId, url: &str) -> Result<(), NodeError> {
        self.edit_trackers(cid, |tiers| {
            if tiers.iter().flatten().any(|known| known == url) {
                return Err(NodeError::KnownTracker);
            }
            tiers.push(vec![url.to_owned()]);
            Ok(())
        })
        .await
    }

    /// Removes a tracker, and notifies it that this node stops.
    pub async fn remove_tracker(&self, cid: ChannelId, url: &str) -> Result<(), NodeError> {
        self.edit_trackers(cid, |tiers| {
            if !tiers.iter().flatten().any(|known| known == url) {
                return Err(NodeError::NoTracker(url.to_owned()));
            }
            for tier in tiers.iter_mut() {
                tier.retain(|known| known != url);
            }
            tiers.retain(|tier| !tier.is_empty());
            Ok(())
        })
        .await
    }

    /// Announces now, to that tracker or to all, and looks in the DHT. Returns how many trackers are asked: 0 shortly after
    /// the last announce, since real clients do not hurry a tracker more.
    pub async fn announce_now(
        &self,
        cid: ChannelId,
        url: Option<String>,
    ) -> Result<usize, NodeError> {
        let chat = self.chat(cid)?;
        let channel = chat.channel();
        if let Some(url) = &url
            && !channel
                .trackers()
                .iter()
                .flatten()
                .any(|known| known == url)
        {
            return Err(NodeError::NoTracker(url.clone()));
        }
        Ok(self.inner.discovery.announce_by_hand(cid, url).await)
    }

    async fn edit_trackers(
        &self,
        cid: ChannelId,
        edit: impl FnOnce(&mut Vec<Vec<String>>) -> Result<(), NodeError>,
    ) -> Result<(), NodeError> {
        let _alone = self.inner.editing.lock().await;
        let chat = self.chat(cid)?;
        let channel = chat.channel();
        let mut tiers = channel.trackers();
        edit(&mut tiers)?;
        // Checked against the rules of channel files.
        let file = channel.current_file().with_trackers(tiers)?;
        self.keep_hints(&chat, file).await
    }
}
