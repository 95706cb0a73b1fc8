//! `tests/vectors/{channel_file,events,messages,relays}.json` are what the code computes from fixed keys, and the code accepts and
//! refuses what they specify. `UPDATE=1 cargo test -p bitchat-wire --test formats` regenerates them.
#![allow(clippy::unwrap_used)]

use std::{env, fs, path::Path};

use serde_json::Value;

mod channel_file;
mod events;
mod messages;
mod relays;

/// Compares fresh vectors with the committed ones.
fn check(name: &str, fresh: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name);
    let fresh = format!("{fresh:#}\n");
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &fresh).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == fresh,
        "{name} differs from what the code makes: if that is meant, run with UPDATE=1"
    );
}

/// Bytes 0, 1, 2 and so on: easy to tell apart from their neighbours.
fn counting<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(i as u8))
}
