//! The published vectors in `tests/vectors/` are what this code computes.
//!
//! Each file is computed from fixed inputs, and every value in it a second time from the plain
//! primitives, without the crate's own code. `UPDATE=1 cargo test -p bitchat-wire --test vectors`
//! regenerates them; without it a difference is a failure.
#![allow(clippy::unwrap_used)]

mod handshake;
mod identity;
mod keys;
mod primitives;
mod reference;
mod renewal;

use std::{env, fs, path::Path};

use serde_json::Value;

/// Compares one file with the computed values, or writes it.
fn check(name: &str, computed: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name);
    let mut text = serde_json::to_string_pretty(computed).unwrap();
    text.push('\n');
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{name} is not what the code computes: if the protocol was meant to change, run with UPDATE=1"
    );
}

/// 32 bytes that are easy to recognise: the same byte throughout.
fn fill(byte: u8) -> [u8; 32] {
    [byte; 32]
}
