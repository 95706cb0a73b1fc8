//! Discovery: merges all sources of addresses and alone decides whom to dial.

mod api;

pub use api::*;
