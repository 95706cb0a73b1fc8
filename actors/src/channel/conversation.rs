//! Answers, edits, deletions, reactions, typing, read marks, and our own profile: what the user does in a
//! conversation (`docs/PROTOCOL.md`, 9.3).

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, BodyError, EventId, MAX_TEXT, Picture, ReadMark, Said},
    identity::IdentityId,
};

use super::{
    Channel, ChannelError, EventView,
    actor::Command,
    fold::{fold, reactions_of},
    mentions,
};
use crate::store::{LogEntry, Profile, Store, StoreError};

/// The node's value with our status line, as it was last set.
pub(crate) const STATUS: &str = "profile_status";
/// The node's value with our picture, as it was last set; empty: taken away.
pub(crate) const PICTURE: &str = "profile_picture";

/// What the node's own profile says, and ours in this channel does not. What was never set says nothing:
/// another device of ours may have said more.
pub(super) async fn unsaid(
    store: &Store,
    cid: ChannelId,
    said: &Profile,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut bodies = Vec::new();
    if let Some(line) = store.value(STATUS).await?
        && let Ok(line) = std::str::from_utf8(&line)
        && line != said.status()
        && let Ok(body) = Body::status(line)
    {
        bodies.push(body);
    }
    if let Some(bytes) = store.value(PICTURE).await? {
        let shown = picture(store, cid, said.picture()).await?;
        let own = Picture::new(bytes.to_vec()).ok();
        if own != shown {
            bodies.push(Body::picture(own.as_ref()));
        }
    }
    Ok(bodies)
}

async fn picture(
    store: &Store,
    cid: ChannelId,
    event: Option<EventId>,
) -> Result<Option<Picture>, StoreError> {
    let Some(id) = event else {
        return Ok(None);
    };
    let entry = store.entry(cid, id).await?;
    Ok(entry.and_then(|entry| match Body::of(&entry.event) {
        Body::Picture(picture) => picture,
        _ => None,
    }))
}

impl Channel {
    /// Says something, in answer to a text perhaps, which must be here.
    pub async fn tell(
        &self,
        text: &str,
        reply_to: Option<EventId>,
        key: Option<String>,
    ) -> Result<EventId, ChannelError> {
        check(text)?;
        if let Some(made) = self.made(key.as_deref()).await? {
            return Ok(made);
        }
        if let Some(target) = reply_to {
            self.entry(target).await?;
        }
        let said = self.said(text, reply_to).await?;
        self.say(said.encode().map_err(refused)?, key).await
    }

    /// Has a text of ours say something else.
    pub async fn edit(
        &self,
        target: EventId,
        text: &str,
        key: Option<String>,
    ) -> Result<EventId, ChannelError> {
        check(text)?;
        if let Some(made) = self.made(key.as_deref()).await? {
            return Ok(made);
        }
        let entry = self.own_text(target).await?;
        if fold(&entry.event, &entry.author, &entry.references).is_some_and(|shown| shown.deleted) {
            return Err(ChannelError::Deleted);
        }
        let said = self.said(text, None).await?;
        self.say(Body::edit(target, &said).map_err(refused)?, key)
            .await
    }

    /// Takes a text of ours back. Returns the deletion's id; that of the first one, if there was one.
    pub async fn delete(&self, target: EventId) -> Result<EventId, ChannelError> {
        let entry = self.own_text(target).await?;
        let deletion = entry
            .references
            .iter()
            .find(|about| matches!(Body::of(&about.event), Body::Delete { .. }));
        match deletion {
            Some(deletion) => Ok(deletion.event.id()),
            None => self.say(Body::delete(target), None).await,
        }
    }

    /// Adds an emoji to our reactions to a text, or takes it away. `None`: it was so already.
    pub async fn react(
        &self,
        target: EventId,
        emoji: &str,
        remove: bool,
    ) -> Result<Option<EventId>, ChannelError> {
        let _one_at_a_time = self.reacting.lock().await;
        let entry = self.entry(target).await?;
        match fold(&entry.event, &entry.author, &entry.references) {
            None => return Err(ChannelError::NotText),
            Some(shown) if shown.deleted => return Err(ChannelError::Deleted),
            Some(_) => {}
        }
        let mut set = reactions_of(target, &self.me(), &entry.references);
        let had = set.iter().position(|known| known == emoji);
        match (had, remove) {
            (Some(_), false) | (None, true) => return Ok(None),
            (Some(at), true) => drop(set.remove(at)),
            (None, false) => set.push(emoji.to_owned()),
        }
        let body = Body::react(target, &set).map_err(refused)?;
        self.say(body, None).await.map(Some)
    }

    /// Tells the members that our user is writing; at most every 5 seconds, and nobody who is not there.
    pub async fn typing(&self) -> Result<(), ChannelError> {
        self.addr
            .send(Command::Typing)
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// Our user has read up to that event. Members are told, if the setting is on, at most every 10
    /// seconds. False: the setting is off, or that was said before.
    pub async fn mark_read(&self, upto: EventId) -> Result<bool, ChannelError> {
        let header = *self.entry(upto).await?.event.header();
        let mark = ReadMark {
            lamport: header.lamport,
            device: *header.device.as_bytes(),
            seq: header.seq,
        };
        self.addr
            .ask(|reply| Command::Read(mark, reply))
            .await
            .map_err(|_| ChannelError::Gone)
    }

    /// Says something of our own profile.
    pub(crate) async fn say(
        &self,
        body: Vec<u8>,
        key: Option<String>,
    ) -> Result<EventId, ChannelError> {
        self.addr
            .ask(|reply| Command::Say { body, key, reply })
            .await
            .map_err(|_| ChannelError::Gone)?
    }

    /// One event as it is shown now.
    pub async fn view(&self, id: EventId) -> Result<EventView, ChannelError> {
        let entry = self.entry(id).await?;
        Ok(self.snapshot().await?.view(entry))
    }

    /// A member's picture; `None`: it has none, or is none.
    pub async fn picture(&self, who: IdentityId) -> Result<Option<Picture>, ChannelError> {
        let members = self.members().await?;
        let event = members.iter().find(|m| m.id == who).and_then(|m| m.picture);
        Ok(picture(&self.config.store, self.config.cid(), event).await?)
    }

    fn me(&self) -> IdentityId {
        self.config.local.certificate.identity
    }

    /// What that key made.
    async fn made(&self, key: Option<&str>) -> Result<Option<EventId>, ChannelError> {
        match key {
            Some(key) => Ok(self.config.store.by_key(self.config.cid(), key).await?),
            None => Ok(None),
        }
    }

    async fn said(&self, text: &str, reply_to: Option<EventId>) -> Result<Said, ChannelError> {
        // Most texts mention nobody, and then nobody need be looked up.
        let mentions = if text.contains('@') {
            mentions::find(text, &self.members().await?)
        } else {
            Vec::new()
        };
        Ok(Said {
            text: text.to_owned(),
            reply_to,
            mentions,
        })
    }

    async fn entry(&self, id: EventId) -> Result<LogEntry, ChannelError> {
        let entry = self.config.store.entry(self.config.cid(), id).await?;
        entry.ok_or(ChannelError::NoEvent)
    }

    async fn own_text(&self, id: EventId) -> Result<LogEntry, ChannelError> {
        let entry = self.entry(id).await?;
        if !matches!(Body::of(&entry.event), Body::Text(_)) {
            return Err(ChannelError::NotText);
        }
        if entry.author != self.me() {
            return Err(ChannelError::NotOurs);
        }
        Ok(entry)
    }
}

fn check(text: &str) -> Result<(), ChannelError> {
    match text.len() {
        1..=MAX_TEXT => Ok(()),
        len => Err(ChannelError::BadText(len)),
    }
}

fn refused(error: BodyError) -> ChannelError {
    match error {
        BodyError::EmptyText => ChannelError::BadText(0),
        BodyError::TextTooLong(len) => ChannelError::BadText(len),
        error => ChannelError::BadBody(error),
    }
}
