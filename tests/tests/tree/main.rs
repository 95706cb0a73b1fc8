//! The rules of the house that a compiler does not check (`docs/ARCHITECTURE.md`): who imports whom,
//! what libraries must not touch, and whether documents name things that exist.

#![allow(clippy::unwrap_used)]

mod bodies;
mod circles;
mod documents;
mod graph;
mod purity;
mod ranks;
mod source;
mod transport;
