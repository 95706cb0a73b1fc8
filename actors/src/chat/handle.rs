//! The handle to one conversation: texts, edits, deletions, reactions, typing and read marks (`docs/PROTOCOL.md`, 9.3).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, EventId, MAX_TEXT, Picture, ReadMark, Said},
    identity::IdentityId,
};
use tokio::sync::Mutex;

use super::{
    actor::{COMMANDS, Command, Marks},
    api::{ChatError, EventView, MemberView, Position},
    draft::Draft,
    fold::{fold, reactions_of},
    follow::{Feed, Follow},
    mentions, own,
    reader::{PeopleReader, Shared},
    snapshot::Snapshot,
    tables::{LogEntry, PageQuery, Tables},
};
use crate::{
    channel::{Channel, ChannelConfig, ChannelError, Signal},
    kit::{Addr, Scope},
    store::Store,
};

/// Time limit for stopping the actor, which has nothing to finish.
const STOP: Duration = Duration::from_millis(200);

/// A handle to a conversation. Cheap to clone.
#[derive(Clone)]
pub struct Chat {
    channel: Channel,
    store: Store,
    me: IdentityId,
    /// Whether members may know how far we have read.
    read_marks: bool,
    people: Shared,
    marks: Addr<Command>,
    /// One reaction at a time: each is the whole set, made from the one before.
    reacting: Arc<Mutex<()>>,
    feed: Feed,
    scope: Scope,
}

impl Chat {
    /// Starts the channel and the chat's actor, each in a scope of its own. `name` is the one that we sign.
    pub(super) fn start(
        mut config: ChannelConfig,
        name: &str,
        read_marks: bool,
        feed: Feed,
        scope: &Scope,
    ) -> Self {
        let (store, me) = (config.store.clone(), config.local.certificate.identity);
        let people = Shared::default();
        let reader = PeopleReader {
            store: store.clone(),
            cid: config.cid(),
            me,
            name: name.to_owned(),
            people: people.clone(),
        };
        config
            .readers
            .push(Arc::new(move || Box::new(reader.clone())));
        let channel = Channel::start(config, scope);
        let scope = scope.layer();
        let kept = channel.clone();
        let span = tracing::info_span!("chat", id = short(channel.id()));
        let marks = scope.permanent("chat", COMMANDS, span, move || Marks::new(kept.clone()));
        Self {
            channel,
            store,
            me,
            read_marks,
            people,
            marks,
            reacting: Arc::default(),
            feed,
            scope,
        }
    }

    /// The id of its channel.
    pub fn id(&self) -> ChannelId {
        self.channel.id()
    }

    /// Its channel.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Sends a text. Awaiting the draft returns the event's id once it is on the disk.
    pub fn send(&self, text: impl Into<String>) -> Draft {
        self.draft_text(text.into(), None)
    }

    /// Sends a text in answer to an event, which must be here.
    pub fn reply(&self, target: EventId, text: impl Into<String>) -> Draft {
        self.draft_text(text.into(), Some(target))
    }

    /// Replaces the contents of a text of ours. The draft returns the id of the edit.
    pub fn edit(&self, target: EventId, text: impl Into<String>) -> Draft {
        let (chat, text) = (self.clone(), text.into());
        Draft::new(move |key| Box::pin(async move { chat.write_edit(target, &text, key).await }))
    }

    fn draft_text(&self, text: String, reply_to: Option<EventId>) -> Draft {
        let chat = self.clone();
        Draft::new(move |key| Box::pin(async move { chat.write_text(&text, reply_to, key).await }))
    }

    async fn write_text(
        &self,
        text: &str,
        reply_to: Option<EventId>,
        key: Option<String>,
    ) -> Result<EventId, ChatError> {
        check(text)?;
        if let Some(earlier) = self.by_key(key.as_deref()).await? {
            return Ok(earlier);
        }
        if let Some(target) = reply_to {
            self.entry(target).await?;
        }
        let said = self.compose(text, reply_to).await?;
        Ok(self.channel.append(said.encode()?, key).await?)
    }

    async fn write_edit(
        &self,
        target: EventId,
        text: &str,
        key: Option<String>,
    ) -> Result<EventId, ChatError> {
        check(text)?;
        if let Some(earlier) = self.by_key(key.as_deref()).await? {
            return Ok(earlier);
        }
        let entry = self.own_text(target).await?;
        if fold(&entry.event, &entry.author, &entry.references).is_some_and(|shown| shown.deleted) {
            return Err(ChatError::Deleted);
        }
        let said = self.compose(text, None).await?;
        let body = Body::edit(target, &said)?;
        Ok(self.channel.append(body, key).await?)
    }

    /// Deletes a text of ours: members hide it. Returns the id of the deletion, or that of the first one if it was deleted
    /// before.
    pub async fn delete(&self, target: EventId) -> Result<EventId, ChatError> {
        let entry = self.own_text(target).await?;
        let deletion = entry
            .references
            .iter()
            .find(|about| matches!(Body::of(&about.event), Body::Delete { .. }));
        match deletion {
            Some(deletion) => Ok(deletion.event.id()),
            None => Ok(self.channel.append(Body::delete(target), None).await?),
        }
    }

    /// Adds an emoji to our reactions to a text, or removes it. Returns the id of the reaction; `None` if the emoji was
    /// already there, or already absent.
    pub async fn react(
        &self,
        target: EventId,
        emoji: &str,
        remove: bool,
    ) -> Result<Option<EventId>, ChatError> {
        let _one_at_a_time = self.reacting.lock().await;
        let entry = self.entry(target).await?;
        match fold(&entry.event, &entry.author, &entry.references) {
            None => return Err(ChatError::NotText),
            Some(shown) if shown.deleted => return Err(ChatError::Deleted),
            Some(_) => {}
        }
        let mut set = reactions_of(target, &self.me, &entry.references);
        let had = set.iter().position(|known| known == emoji);
        match (had, remove) {
            (Some(_), false) | (None, true) => return Ok(None),
            (Some(at), true) => drop(set.remove(at)),
            (None, false) => set.push(emoji.to_owned()),
        }
        let body = Body::react(target, &set)?;
        Ok(Some(self.channel.append(body, None).await?))
    }

    /// Notifies the linked members that our user is typing. May be called at every key: it is sent at most every 5
    /// seconds.
    pub async fn typing(&self) -> Result<(), ChatError> {
        Ok(self.channel.signal(Signal::Typing).await?)
    }

    /// Notes that our user has read up to this event. If the setting is on, members are notified, at most every 10
    /// seconds. False if the setting is off, or this or a later mark was published before.
    pub async fn mark_read(&self, up_to: EventId) -> Result<bool, ChatError> {
        let header = *self.entry(up_to).await?.event.header();
        if !self.read_marks {
            return Ok(false);
        }
        let mark = ReadMark {
            lamport: header.lamport,
            device: *header.device.as_bytes(),
            seq: header.seq,
        };
        // Our own marks are known once the channel answers.
        self.channel.state().await?;
        let published = self
            .people
            .lock()
            .profile(&self.me)
            .and_then(|own| own.read());
        self.marks
            .ask(|reply| Command::Read {
                mark,
                published,
                reply,
            })
            .await
            .map_err(|_| ChannelError::Gone.into())
    }

    /// Finds an event by its id, or by 6 or more of its first hexadecimal digits that no other id begins with.
    pub async fn find_event(&self, prefix: &str) -> Result<EventId, ChatError> {
        let prefix = prefix.to_ascii_lowercase();
        match self.store.by_prefix(self.id(), &prefix).await?[..] {
            [] => Err(ChatError::NoMatch(prefix)),
            [id] => Ok(id),
            _ => Err(ChatError::Ambiguous(prefix)),
        }
    }

    /// One event as it is shown now.
    pub async fn event(&self, id: EventId) -> Result<EventView, ChatError> {
        let entry = self.entry(id).await?;
        Ok(self.snapshot().await?.view(entry))
    }

    /// A page of the conversation, oldest first.
    pub async fn page(&self, query: PageQuery) -> Result<Vec<EventView>, ChatError> {
        let entries = Tables(&self.store).page(self.id(), query).await?;
        self.views(entries).await
    }

    /// Events of the store as they are shown now.
    pub async fn views(&self, entries: Vec<LogEntry>) -> Result<Vec<EventView>, ChatError> {
        let snapshot = self.snapshot().await?;
        let views = entries.into_iter().map(|entry| snapshot.view(entry));
        Ok(views.collect())
    }

    /// The events that arrive from `position` on, each once and in the order of arrival.
    ///
    /// They are read from the store: a reader that is slow, or that comes back with the position of the last event that it
    /// took, misses nothing.
    pub async fn follow(&self, position: Position) -> Result<Follow, ChatError> {
        self.feed.follow(Some(self.id()), position).await
    }

    /// The members, ourselves first.
    pub async fn members(&self) -> Result<Vec<MemberView>, ChatError> {
        Ok(self.snapshot().await?.members)
    }

    /// A member's picture; `None` if there is no such member or it has no picture.
    pub async fn picture(&self, who: IdentityId) -> Result<Option<Picture>, ChatError> {
        let members = self.members().await?;
        let event = members.iter().find(|m| m.id == who).and_then(|m| m.picture);
        Ok(own::picture(&self.store, self.id(), event).await?)
    }

    /// The channel and its members at this moment.
    pub async fn snapshot(&self) -> Result<Snapshot, ChatError> {
        let state = self.channel.state().await?;
        Ok(Snapshot::new(state, &self.people.lock(), Instant::now()))
    }

    /// Stops the channel and the chat's actor.
    pub async fn stop(&self) {
        tokio::join!(self.channel.stop(), self.scope.stop(STOP));
    }

    /// The event that an idempotency key made; `None` if there is no key or it was not used.
    async fn by_key(&self, key: Option<&str>) -> Result<Option<EventId>, ChatError> {
        match key {
            Some(key) => Ok(self.store.by_key(self.id(), key).await?),
            None => Ok(None),
        }
    }

    async fn compose(&self, text: &str, reply_to: Option<EventId>) -> Result<Said, ChatError> {
        // Most texts mention nobody, and need no list of members.
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

    async fn entry(&self, id: EventId) -> Result<LogEntry, ChatError> {
        let entry = Tables(&self.store).entry(self.id(), id).await?;
        entry.ok_or(ChatError::NoEvent)
    }

    async fn own_text(&self, id: EventId) -> Result<LogEntry, ChatError> {
        let entry = self.entry(id).await?;
        if !matches!(Body::of(&entry.event), Body::Text(_)) {
            return Err(ChatError::NotText);
        }
        if entry.author != self.me {
            return Err(ChatError::NotOurs);
        }
        Ok(entry)
    }
}

fn check(text: &str) -> Result<(), ChatError> {
    match text.len() {
        1..=MAX_TEXT => Ok(()),
        len => Err(ChatError::BadText(len)),
    }
}

/// The first digits of an id, for tracing.
fn short(cid: ChannelId) -> String {
    cid.to_string().chars().take(8).collect()
}
