//! What the tests across processes share: the real program ([`process`]) and a real tracker
//! ([`opentracker`]).

pub mod opentracker;
pub mod process;
