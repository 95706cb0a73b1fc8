#![allow(clippy::unwrap_used)]
//! Nodes in a world with a clock and a network of its own.

mod client;
mod lookup;
mod server;
mod sim;
mod table;
mod world;
