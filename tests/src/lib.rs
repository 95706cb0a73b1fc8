//! What the tests across processes share: test partners and how to start them.

pub mod opentracker;
