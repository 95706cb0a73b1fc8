#![allow(clippy::unwrap_used)]
//! Conversations on real files.

mod conversation;
mod reading;
