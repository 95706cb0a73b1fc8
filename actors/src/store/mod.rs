//! The store: SQLite behind one writer thread and one read-only connection.

mod api;

pub use api::*;
