//! What the tests across processes share: the real program ([`process`]), its API ([`api`]), a real tracker
//! ([`opentracker`]), one that writes down what it hears ([`recorder`]), several nodes that meet there ([`party`]), and networks with NATs and proxies ([`lab`]).

pub mod api;
pub mod lab;
pub mod opentracker;
pub mod party;
pub mod process;
pub mod recorder;
