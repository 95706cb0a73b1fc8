//! The channel: one conversation's logs, members and links.

mod api;

pub use api::*;
