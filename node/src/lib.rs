//! The `bitchat` program: settings, home folder, command line, local API and telemetry around the node of
//! `bitchat-actors`.
//!
//! `bitchat up` runs a node and serves its local API on loopback; every other command that needs a node
//! is a client of that API. Everything specific to Unix is in [`os`].

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod doctor;
pub mod error;
pub mod home;
pub mod os;
pub mod shapes;
pub mod telemetry;
pub mod term;
pub mod time;
