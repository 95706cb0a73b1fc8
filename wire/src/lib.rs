//! Bit Chat's formats and pure protocol.
//!
//! Nothing here does I/O, reads a clock or draws randomness of its own: callers pass time and a
//! generator in. Every decoder is bounded in size and depth, returns a typed error and never
//! panics. `docs/PROTOCOL.md` is the specification that these modules implement.

pub mod bencode;
pub mod channel;
pub mod control;
pub mod crypto;
pub mod event;
pub mod identity;
pub mod link;
pub mod message;
pub mod proto;
pub mod relay;
pub mod stream;
mod text;
