//! Links: one authenticated, encrypted session with one member for one channel (`docs/PROTOCOL.md`,
//! link handshake, frames, messages).
//!
//! The **hub** (permanent; mailbox [`HUB_MAILBOX`](actor)) knows which channels may be linked, runs the
//! handshakes and starts a **link** (transient) for each that succeeds. A link has three parts on one task: a
//! reader that opens, decodes and verifies; a writer that seals; a server that answers `want` from the store.
//! Everything is reported to the sender that the channel registered: [`LinkEvent::Up`], messages, and exactly one
//! [`LinkEvent::Closed`] whatever the end, for which room was reserved at the start.

mod acks;
mod actor;
mod api;
mod establish;
mod guards;
mod handle;
mod handshake;
mod pings;
mod reader;
mod server;
mod session;
mod shared;
mod writer;

pub use acks::Acks;
pub use api::{
    Accept, CloseReason, Inbound, LinkEvent, LinkHandle, LinkId, LinkUp, LocalDevice, Registration,
};
pub use handle::Links;
pub(crate) use server::signed;
pub use writer::LINK_MAILBOX;

/// The target of the trace event that a link emits once it has verified signatures: their number is in the field
/// `events`, and whether they answer a request of ours in `backfill`. For measurements.
pub const VERIFIED: &str = "bitchat::verified";

/// Bytes of a buffer that a link keeps while nothing is read or written. What a larger frame needed is freed, since there
/// are many links, and most are idle most of the time.
const KEPT: usize = 1024;

/// The protocol version that we speak.
const VERSION: u32 = 1;
