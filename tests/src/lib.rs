//! Shared parts of the tests across processes: the real program ([`process`]), its API ([`api`]), a real tracker
//! ([`opentracker`]), one that records requests ([`recorder`]), several nodes that meet at a tracker ([`party`]), our DHT node
//! among others ([`dht`]), networks with NATs and proxies ([`lab`]), and tests that are skipped ([`skip`]).

pub mod api;
pub mod dht;
pub mod lab;
pub mod opentracker;
pub mod party;
pub mod process;
pub mod recorder;
pub mod skip;
