#![allow(clippy::unwrap_used)]
//! Tests of the pure parts.

mod fold;
