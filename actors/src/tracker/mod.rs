//! Trackers: announces to HTTP(S) trackers, and what they answer.

mod api;

pub use api::*;
