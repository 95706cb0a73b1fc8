#![allow(clippy::unwrap_used)]
//! Nodes in a simulated world with its own clock and network.

mod client;
mod lookup;
mod server;
mod sim;
mod table;
mod world;
