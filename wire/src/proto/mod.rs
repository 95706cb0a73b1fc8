//! Protobuf types, generated from `proto/bitchat.proto` by `tests/proto.rs`. Use [`crate::message`] and
//! [`crate::control`] to decode: they hold the caps.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::use_self)]

include!("generated.rs");
