//! Bit Chat's node as a library.
//!
//! One folder an actor, ranked; a module imports only lower ranks: [`kit`] and [`disguise`] 0, [`store`] 1,
//! [`transport`] 2, relay and [`portmap`] 3, [`tracker`], [`dht`] and [`lan`] 4, [`discovery`] and [`public_relays`] 5, [`link`] 6, [`channel`] 7, [`chat`] 8, [`node`] 9.
//! Commands go down through an `Addr`; events go up through a sender given at construction, whose type
//! belongs to the lower module. Nothing here is process-wide: no crypto provider, signal handler,
//! standard output or subscriber is installed, so a program may run many nodes.
//!
//! A program begins with [`node::Node::builder`]; `examples/echo.rs` is a whole bot. Keys, channel files and ids
//! are those of [`wire`].

pub use bitchat_wire as wire;

pub mod channel;
pub mod chat;
pub mod dht;
pub mod discovery;
pub mod disguise;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod kit;
pub mod lan;
pub mod link;
pub mod node;
pub mod portmap;
pub mod public_relays;
pub mod relay;
pub mod store;
pub mod tracker;
pub mod transport;

// Of the tests across processes, on which this crate cannot depend.
#[cfg(test)]
#[path = "../../tests/src/skip.rs"]
#[allow(dead_code, unreachable_pub, clippy::print_stdout)]
mod skip;
