//! The index that the store's writer keeps in step with the logs.

use rusqlite::Connection;

use super::{
    kinds::{self, DELETE, EDIT, REACT, TEXT},
    references,
    words::{self, Unindexed},
};
use crate::store::{
    Fail, IndexFactory,
    index::{Index, Inserted, Removed},
    tx::Tx,
};

/// The tables of conversations, to be handed over when the store is opened.
pub(crate) const INDEX: IndexFactory = IndexFactory::new(|| Box::new(Conversations::default()));

#[derive(Default)]
struct Conversations {
    /// Texts to be indexed before the commit.
    unindexed: Unindexed,
}

impl Index for Conversations {
    fn functions(&self, conn: &Connection) -> rusqlite::Result<()> {
        kinds::functions(conn)
    }

    fn inserted(&mut self, tx: &Tx, event: &Inserted<'_>) -> Result<(), Fail> {
        if event.kind == TEXT {
            self.unindexed.inserted(event.channel, event.new.event.id());
        }
        match event.target {
            Some(target) if is_about_a_text(event.kind) => {
                references::add(tx, &mut self.unindexed, event, target)
            }
            _ => Ok(()),
        }
    }

    fn removed(&mut self, tx: &Tx, events: &Removed<'_>) -> Result<(), Fail> {
        for (target, kind) in events.targets {
            if is_about_a_text(*kind) {
                let (channel, identity) = (events.channel, events.identity);
                references::recompute(tx, &mut self.unindexed, channel, identity, *target, *kind)?;
            }
        }
        Ok(())
    }

    fn left(&mut self, tx: &Tx) -> Result<(), Fail> {
        words::forget_deleted(tx.conn())
    }

    fn mark(&self) -> usize {
        self.unindexed.mark()
    }

    fn undo(&mut self, mark: usize) {
        self.unindexed.undo(mark);
    }

    fn before_commit(&mut self, tx: &Tx) -> Result<(), Fail> {
        self.unindexed.flush(tx.conn())
    }
}

fn is_about_a_text(kind: i64) -> bool {
    [EDIT, DELETE, REACT].contains(&kind)
}
