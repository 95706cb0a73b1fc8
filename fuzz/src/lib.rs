//! What each fuzz target does with its bytes: hand them to a decoder, or to a machine that strangers drive,
//! and check what must hold of whatever it accepts. Run with `cargo fuzz run -s none TARGET` (stable Rust will do);
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds` writes a first corpus.
//!
//! Bytes behind a signature or a seal would never get past it, so that those targets sign or seal
//! what they are given as well.

mod dht;
mod formats;
mod link;

pub use bitchat_actors::fuzz::{lan, proxy, sync, tracker_reply, tracker_udp};
pub use dht::krpc;
pub use formats::{bencode, channel_file, channel_link, control, event, identity, message, relay};
pub use link::{frame, handshake_m1, handshake_m2, handshake_m3, renewal};

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target with its name.
pub const TARGETS: [(&str, Target); 19] = [
    ("bencode", bencode),
    ("channel_file", channel_file),
    ("channel_link", channel_link),
    ("event", event),
    ("message", message),
    ("control", control),
    ("identity", identity),
    ("handshake_m1", handshake_m1),
    ("handshake_m2", handshake_m2),
    ("handshake_m3", handshake_m3),
    ("renewal", renewal),
    ("frame", frame),
    ("krpc", krpc),
    ("tracker_reply", tracker_reply),
    ("tracker_udp", tracker_udp),
    ("lan", lan),
    ("sync", sync),
    ("relay", relay),
    ("proxy", proxy),
];
