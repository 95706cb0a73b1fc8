//! What the tests across processes share: the real program ([`process`]), its API ([`api`]), a real tracker
//! ([`opentracker`]), one that writes down what it hears ([`recorder`]), several nodes that meet there ([`party`]), our DHT node beside others
//! ([`dht`]), and networks with NATs and proxies ([`lab`]).

pub mod api;
pub mod dht;
pub mod lab;
pub mod opentracker;
pub mod party;
pub mod process;
pub mod recorder;
pub mod skip;
