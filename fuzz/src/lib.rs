//! The fuzz targets: each passes its bytes to a decoder, or to a state machine that strangers drive, and checks
//! invariants of everything that is accepted. Run with `cargo fuzz run -s none TARGET` (stable Rust is enough);
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds` writes an initial corpus.
//!
//! Random bytes never pass a signature or a seal, so these targets also sign or seal their input.

mod dht;
mod formats;
mod link;

pub use bitchat_actors::fuzz::{lan, proxy, sync, tracker_reply, tracker_udp};
pub use dht::krpc;
pub use formats::{bencode, channel_file, channel_link, control, event, identity, message, relay};
pub use link::{frame, handshake_m1, handshake_m2, handshake_m3, renewal};

/// The function of a target.
pub type Target = fn(&[u8]);

/// All targets with their names.
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
