//! The index of conversations: what counts about each text, and the words that are found.

use rusqlite::Connection;

use super::{
    error::Fail,
    index::{Index, IndexFactory, Inserted, Removed},
    kinds::{self, DELETE, EDIT, REACT, TEXT},
    references,
    tx::Tx,
    words::Unindexed,
};

/// The index that [`super::Store::open`] takes.
pub const INDEX: IndexFactory = IndexFactory::new(|| Box::new(Conversations::default()));

#[derive(Default)]
struct Conversations {
    /// Texts whose words have to be indexed before the commit.
    unindexed: Unindexed,
}

impl Index for Conversations {
    fn functions(&self, conn: &Connection) -> rusqlite::Result<()> {
        kinds::teach(conn)
    }

    fn inserted(&mut self, tx: &Tx, event: &Inserted<'_>) -> Result<(), Fail> {
        if event.kind == TEXT {
            self.unindexed.said(event.channel, event.new.event.id());
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
                references::again(tx, &mut self.unindexed, channel, identity, *target, *kind)?;
            }
        }
        Ok(())
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
