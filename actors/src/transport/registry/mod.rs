//! The registry: the permanent actor that owns all connections.

mod actor;
mod doubles;

pub(crate) use actor::{MAILBOX, Registry};
