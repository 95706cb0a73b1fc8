//! Relays: being reached, and reaching others, through a node that forwards what it cannot read
//! (`docs/PROTOCOL.md`, relays).
//!
//! One permanent [`actor`] has two halves. The **serving** one ([`server`]) grants reservations to others and splices
//! circuits to them, within quotas that strangers cannot exceed. The **requesting** one ([`client`]) holds two or three
//! reservations where this node cannot be reached otherwise, replaces those that end, and registers channels at relays
//! where their members meet. The mailbox takes streams of the two relay kinds and inputs for the client's state; each
//! stream is a transient task in the actor's scope.
//!
//! A relay sees PeerIds, which last for one run, opaque registration keys, and sealed bytes.

mod actor;
mod api;
mod client;
mod framing;
mod limits;
mod metrics;
mod msg;
mod server;

pub use api::{RelayConfig, Relays};
pub use client::MOST_OFFERED;
pub use limits::{RelayLimits, RelayMode};
pub use msg::Found;
