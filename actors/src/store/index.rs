//! Tables of upper rooms that are kept in step with the logs, in the same transaction.
//!
//! The store knows logs of events and not what the events mean. A room that does hands over an [`Index`] when the store
//! is opened, and the writer calls it for each event that enters or leaves a log.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId},
    identity::IdentityId,
};
use bytes::Bytes;
use rusqlite::{Connection, functions::FunctionFlags, types::Value};

use super::{api::NewEvent, error::Fail, tx::Tx};

/// Tables that follow the logs. One instance serves one connection: a thread of the store that is started again
/// gets a new one.
pub(crate) trait Index: Send {
    /// Registers the SQL functions that migrations and queries use, on the writer's and on the reader's connection.
    /// A function that a landed migration uses is registered for ever.
    fn functions(&self, _conn: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    /// Called when an event was inserted. An error undoes the whole call that brought the event.
    fn inserted(&mut self, tx: &Tx, event: &Inserted<'_>) -> Result<(), Fail>;

    /// Called when events of a log were removed because their device forked it.
    fn removed(&mut self, _tx: &Tx, _events: &Removed<'_>) -> Result<(), Fail> {
        Ok(())
    }

    /// Called when a channel was removed with all its events: nothing of their contents may stay.
    fn left(&mut self, _tx: &Tx) -> Result<(), Fail> {
        Ok(())
    }

    /// A mark of the work that is put off until the commit, for [`Index::undo`].
    fn mark(&self) -> usize {
        0
    }

    /// Forgets the work that was put off after the mark, since the call that caused it is undone.
    fn undo(&mut self, _mark: usize) {}

    /// Does the work that was put off. Called once a transaction, right before its commit; an error fails all calls
    /// of the transaction.
    fn before_commit(&mut self, _tx: &Tx) -> Result<(), Fail> {
        Ok(())
    }
}

/// An event that has entered its log.
pub(crate) struct Inserted<'a> {
    /// The row number of its channel.
    pub(crate) channel: i64,
    /// Its row number: its place in the order of arrival.
    pub(crate) position: u64,
    /// [`Body::kind`].
    pub(crate) kind: i64,
    /// [`Body::target`].
    pub(crate) target: Option<EventId>,
    /// The event and its author.
    pub(crate) new: &'a NewEvent,
}

/// Events that have left their log.
pub(crate) struct Removed<'a> {
    /// The row number of their channel.
    pub(crate) channel: i64,
    /// Their author.
    pub(crate) identity: &'a IdentityId,
    /// The targets of those that had one, each with the kind of the event; no pair twice.
    pub(crate) targets: &'a [([u8; 32], i64)],
}

/// Makes an index for each connection that the store opens.
#[derive(Clone, Copy)]
pub struct IndexFactory(fn() -> Box<dyn Index>);

impl IndexFactory {
    pub(crate) const fn new(make: fn() -> Box<dyn Index>) -> Self {
        Self(make)
    }
}

/// All indexes of one connection.
pub(super) struct Indexes(Vec<Box<dyn Index>>);

impl Indexes {
    pub(super) fn new(factories: &[IndexFactory]) -> Self {
        Self(factories.iter().map(|factory| factory.0()).collect())
    }

    /// Registers all functions, those of the store's own migrations included.
    pub(super) fn functions(&self, conn: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_DIRECTONLY;
        conn.create_scalar_function("event_kind", 1, flags, |call| {
            Ok(body(call.get(0)?).map_or(0, |body| kind(&body)))
        })?;
        conn.create_scalar_function("event_target", 1, flags, |call| {
            let target = body(call.get(0)?).and_then(|body| body.target());
            Ok(target.map_or(Value::Null, |id| Value::Blob(id.0.to_vec())))
        })?;
        self.0.iter().try_for_each(|index| index.functions(conn))
    }

    pub(super) fn inserted(&mut self, tx: &Tx, event: &Inserted<'_>) -> Result<(), Fail> {
        self.0
            .iter_mut()
            .try_for_each(|index| index.inserted(tx, event))
    }

    pub(super) fn removed(&mut self, tx: &Tx, events: &Removed<'_>) -> Result<(), Fail> {
        self.0
            .iter_mut()
            .try_for_each(|index| index.removed(tx, events))
    }

    pub(super) fn left(&mut self, tx: &Tx) -> Result<(), Fail> {
        self.0.iter_mut().try_for_each(|index| index.left(tx))
    }

    pub(super) fn marks(&self) -> Vec<usize> {
        self.0.iter().map(|index| index.mark()).collect()
    }

    pub(super) fn undo(&mut self, marks: &[usize]) {
        for (index, mark) in self.0.iter_mut().zip(marks) {
            index.undo(*mark);
        }
    }

    pub(super) fn undo_all(&mut self) {
        for index in &mut self.0 {
            index.undo(0);
        }
    }

    pub(super) fn before_commit(&mut self, tx: &Tx) -> Result<(), Fail> {
        self.0
            .iter_mut()
            .try_for_each(|index| index.before_commit(tx))
    }
}

/// The number in the column `kind`.
pub(super) fn kind(body: &Body) -> i64 {
    i64::from(body.kind())
}

fn body(raw: Vec<u8>) -> Option<Body> {
    unbound(raw).map(|event| Body::of(&event))
}

/// An event of which only the body matters: neither its channel nor its signature is checked.
pub(crate) fn unbound(raw: Vec<u8>) -> Option<Event> {
    Event::from_store(&ChannelId([0; 32]), Bytes::from(raw), &[0; 64]).ok()
}
