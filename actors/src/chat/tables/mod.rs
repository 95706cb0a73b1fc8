//! The tables of conversations: queries, and the index that keeps them in step with the logs.
//!
//! **Owns** the tables `reference` and `said` of the database, and reads those of the store. For each text and
//! identity, `reference` names the latest edit, deletion and set of reactions; `said` is a full-text index of the texts
//! as they are shown now. Both are written by the store's writer, in the transaction that writes the event
//! ([`INDEX`]); reads go through [`Tables`].

mod api;
mod history;
mod index;
mod kinds;
mod references;
mod search;
mod words;

#[cfg(test)]
mod tests;

use bitchat_wire::{channel::ChannelId, event::EventId, identity::IdentityId};

pub use api::PageQuery;
pub(crate) use api::{LogEntry, Reference};
pub(crate) use index::INDEX;

use super::profile::Profile;
use crate::store::{Store, StoreError};

/// Reads conversations from a store.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a>(pub(crate) &'a Store);

impl Tables<'_> {
    /// One event; `None` if it is not in the channel.
    pub(crate) async fn entry(
        self,
        cid: ChannelId,
        id: EventId,
    ) -> Result<Option<LogEntry>, StoreError> {
        self.0
            .read(move |conn| history::entry(conn, &cid, id))
            .await
    }

    /// A page of a channel's events, oldest first. It ends early where it would pass 16 MiB of events.
    pub(crate) async fn page(
        self,
        cid: ChannelId,
        query: PageQuery,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.0
            .read(move |conn| history::page(conn, &cid, query))
            .await
    }

    /// The events that arrived after `position`, in that order, of one channel or of all (`None`): at most `limit`
    /// (capped at 1,000, and at 16 MiB of events). Only an empty answer means that there are no more.
    pub(crate) async fn since(
        self,
        cid: Option<ChannelId>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.0
            .read(move |conn| history::since(conn, cid.as_ref(), position, limit))
            .await
    }

    /// Texts that hold these words as they are shown now, of one channel or of all (`None`), the last to arrive
    /// first: at most `limit` (capped at 1,000, and at 16 MiB), and only those that arrived before the event
    /// `before`. Every word must occur, at least as the beginning of a word; what is in double quotes must occur as
    /// it is. [`StoreError::Invalid`] says what cannot be searched for.
    pub(crate) async fn search(
        self,
        cid: Option<ChannelId>,
        query: &str,
        limit: usize,
        before: Option<EventId>,
    ) -> Result<Vec<LogEntry>, StoreError> {
        let query = query.to_owned();
        self.0
            .read(move |conn| search::search(conn, cid.as_ref(), &query, limit, before))
            .await
    }

    /// The profile of each member of the channel that published anything of it.
    pub(crate) async fn profiles(
        self,
        cid: ChannelId,
    ) -> Result<Vec<(IdentityId, Profile)>, StoreError> {
        self.0.read(move |conn| history::profiles(conn, &cid)).await
    }
}
