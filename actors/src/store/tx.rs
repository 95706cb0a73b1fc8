//! The running transaction of the writer.

use std::cell::Cell;

use rusqlite::Connection;

/// The writer's connection, in a transaction.
pub(crate) struct Tx {
    pub(super) conn: Connection,
    /// Rows written since the transaction began.
    rows: Cell<usize>,
}

impl Tx {
    pub(super) fn new(conn: Connection) -> Self {
        Self {
            conn,
            rows: Cell::new(0),
        }
    }

    /// The connection to prepare statements on. Transactions and savepoints are the writer's business.
    pub(crate) fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Counts rows written towards the size of the transaction.
    pub(crate) fn wrote(&self, rows: usize) {
        self.rows.set(self.rows.get().saturating_add(rows));
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.get()
    }

    pub(super) fn reset_rows(&self) {
        self.rows.set(0);
    }
}
