//! The registry: the permanent actor that owns all connections.

mod actor;
mod clocks;
mod dials;
mod doubles;
mod table;

pub(crate) use actor::{MAILBOX, Registry};
