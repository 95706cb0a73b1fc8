//! The channel: one conversation's logs, members and links (`docs/PROTOCOL.md`, events and sync).
//!
//! One permanent actor per channel. Its mailbox ([`COMMANDS`](actor)) takes the user's commands; links report to a queue of
//! their own, which is read only while few commits are in flight, so that back pressure reaches the peer. All protocol
//! logic is in the pure `machine` and in what it is made of (`logs` with `rules` and `held`, `pull`, `push`, `delivery`);
//! the shell in `actor` does the I/O. Each life loads what the store has and registers with the links again.
//!
//! A channel replicates logs; of bodies it knows the first and the last. What the others mean is for the capabilities above
//! it, which are shown each event after its commit ([`Reader`]).

mod actor;
mod api;
mod command;
mod config;
mod delivery;
mod device;
mod effects;
mod handle;
mod held;
mod logs;
mod machine;
mod pull;
mod push;
mod rules;
#[cfg(any(test, feature = "fuzz"))]
pub mod sim;

pub use api::*;
pub use config::ChannelConfig;
pub use handle::Channel;
