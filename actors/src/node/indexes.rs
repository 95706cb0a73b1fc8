//! The tables of all capabilities.

use crate::{chat, store::IndexFactory};

/// The indexes with which the database is opened. Its migrations use their functions, so all are needed.
pub const INDEXES: &[IndexFactory] = &[chat::tables::INDEX];
