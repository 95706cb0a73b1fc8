//! What the tests across processes share: the real program ([`process`]), its API ([`api`]), a real tracker
//! ([`opentracker`]), and several nodes that meet there ([`party`]).

pub mod api;
pub mod opentracker;
pub mod party;
pub mod process;
