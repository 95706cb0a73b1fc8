//! What a user does in a conversation beyond saying lines.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, BodyError, EventId, Picture},
    identity::IdentityId,
};

use super::{Node, NodeError};
use crate::{
    channel::{Channel, ChannelError, EventView, PICTURE, STATUS},
    store::StoreError,
};

impl Node {
    /// Finds an event of a channel by its id, or by 6 hexadecimal digits or more with which no other
    /// begins.
    pub async fn find_event(&self, cid: ChannelId, prefix: &str) -> Result<EventId, NodeError> {
        let prefix = prefix.to_ascii_lowercase();
        match self.inner.store.by_prefix(cid, &prefix).await?[..] {
            [] => Err(NodeError::NoEvent(prefix)),
            [id] => Ok(id),
            _ => Err(NodeError::AmbiguousEvent(prefix)),
        }
    }

    /// One event as it is shown now.
    pub async fn event(&self, cid: ChannelId, id: EventId) -> Result<EventView, NodeError> {
        Ok(self.get(cid)?.view(id).await?)
    }

    /// Answers an event that is here. As [`Node::send`] else.
    pub async fn reply(
        &self,
        cid: ChannelId,
        target: EventId,
        text: &str,
        key: Option<String>,
    ) -> Result<EventId, NodeError> {
        Ok(self.get(cid)?.tell(text, Some(target), key).await?)
    }

    /// Has a text of ours say something else. Returns the edit's id.
    pub async fn edit(
        &self,
        cid: ChannelId,
        target: EventId,
        text: &str,
        key: Option<String>,
    ) -> Result<EventId, NodeError> {
        Ok(self.get(cid)?.edit(target, text, key).await?)
    }

    /// Takes a text of ours back: members hide it. Returns the deletion's id.
    pub async fn delete(&self, cid: ChannelId, target: EventId) -> Result<EventId, NodeError> {
        Ok(self.get(cid)?.delete(target).await?)
    }

    /// Adds an emoji to our reactions to a text, or takes it away. `None`: it was so already.
    pub async fn react(
        &self,
        cid: ChannelId,
        target: EventId,
        emoji: &str,
        remove: bool,
    ) -> Result<Option<EventId>, NodeError> {
        Ok(self.get(cid)?.react(target, emoji, remove).await?)
    }

    /// Texts with these words, of one channel or of all, the last to arrive first; only those that arrived
    /// before the event `before`. As [`crate::store::Store::search`].
    pub async fn search(
        &self,
        cid: Option<ChannelId>,
        query: &str,
        limit: usize,
        before: Option<EventId>,
    ) -> Result<Vec<EventView>, NodeError> {
        let found = self.inner.store.search(cid, query, limit, before).await?;
        self.views_of(found).await
    }

    /// Tells the members that our user is writing. May be called at every key: they hear it at most every
    /// 5 seconds.
    pub async fn typing(&self, cid: ChannelId) -> Result<(), NodeError> {
        Ok(self.get(cid)?.typing().await?)
    }

    /// Our user has read up to that event. False: the setting is off, or the members know already.
    pub async fn mark_read(&self, cid: ChannelId, upto: EventId) -> Result<bool, NodeError> {
        Ok(self.get(cid)?.mark_read(upto).await?)
    }

    /// Sets the line about us, in every channel, those joined later included; empty: none.
    pub async fn set_status(&self, line: &str) -> Result<(), NodeError> {
        let line = line.trim();
        let body = Body::status(line).map_err(refused)?;
        self.inner.store.set_value(STATUS, line.as_bytes()).await?;
        self.say_everywhere(&body).await
    }

    /// Sets our picture, in every channel, those joined later included; `None` takes it away.
    pub async fn set_picture(&self, picture: Option<&Picture>) -> Result<(), NodeError> {
        let bytes = picture.map(|p| p.bytes().to_vec()).unwrap_or_default();
        self.inner.store.set_value(PICTURE, &bytes).await?;
        self.say_everywhere(&Body::picture(picture)).await
    }

    /// Our status line and picture, as they were last set.
    pub async fn profile(&self) -> Result<(String, Option<Picture>), NodeError> {
        let status = self.inner.store.value(STATUS).await?;
        let picture = self.inner.store.value(PICTURE).await?;
        Ok((
            status
                .map(|line| String::from_utf8_lossy(&line).into_owned())
                .unwrap_or_default(),
            picture.and_then(|bytes| Picture::new(bytes.to_vec()).ok()),
        ))
    }

    /// A member's picture in a channel.
    pub async fn picture(
        &self,
        cid: ChannelId,
        member: IdentityId,
    ) -> Result<Option<Picture>, NodeError> {
        Ok(self.get(cid)?.picture(member).await?)
    }

    async fn say_everywhere(&self, body: &[u8]) -> Result<(), NodeError> {
        let channels: Vec<Channel> = self.channel_map().values().cloned().collect();
        for channel in channels {
            match channel.say(body.to_vec(), None).await {
                // A closed log says nothing more, and what is in trouble says it when it starts anew.
                Ok(_) | Err(ChannelError::Closed | ChannelError::Trouble(_)) => {}
                Err(ChannelError::Store(StoreError::DiskFull)) => {
                    return Err(StoreError::DiskFull.into());
                }
                Err(error) => tracing::warn!(%error, "a channel did not hear of the new profile"),
            }
        }
        Ok(())
    }
}

fn refused(error: BodyError) -> NodeError {
    ChannelError::BadBody(error).into()
}
