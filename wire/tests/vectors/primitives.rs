//! `crypto.json`: H, X, extraction and HMAC.

use bitchat_wire::crypto;
use serde_json::{Value, json};

use super::{check, fill, reference};

fn hash(label: &str, data: &[u8]) -> Value {
    let out = crypto::hash(label, &[data]);
    assert_eq!(out, reference::h(label, data));
    json!({"label": label, "data": hex::encode(data), "out": hex::encode(out)})
}

fn expand(key: u8, label: &str, data: &[u8], n: usize) -> Value {
    let key = fill(key);
    let mut out = vec![0; n];
    crypto::expand(&key, label, &[data], &mut out);
    let first = n.min(32);
    assert_eq!(out[..first], reference::x(&key, label, data)[..first]);
    json!({
        "key": hex::encode(key), "label": label, "data": hex::encode(data),
        "n": n, "out": hex::encode(out),
    })
}

fn extract(salt: u8, ikm: &[u8]) -> Value {
    let salt = fill(salt);
    let out = crypto::extract(&salt, &[ikm]);
    assert_eq!(*out, reference::extract(&salt, ikm));
    json!({"salt": hex::encode(salt), "ikm": hex::encode(ikm), "out": hex::encode(*out)})
}

#[test]
fn crypto_json() {
    check(
        "crypto.json",
        &json!({
            "about": "Notation. Byte strings are hex. L(label) = \"bitchat/1 \" || label || 0x00.",
            "L": [
                {"label": "link", "out": hex::encode(reference::label("link"))},
                {"label": "", "out": hex::encode(reference::label(""))},
            ],
            "H": [
                hash("", b""),
                hash("channel", b""),
                hash("channel", b"abc"),
                hash("th2", &[0xa5; 200]),
            ],
            "X": [
                expand(1, "tag", &[0, 0, 0, 0], 32),
                expand(1, "root", &fill(2), 32),
                expand(1, "period", &[0, 0, 0, 0, 0, 0, 0x4e, 0x20], 20),
                expand(1, "offset", b"", 4),
                expand(1, "long", b"", 80),
            ],
            "extract": [
                extract(3, &fill(4)),
                extract(3, &[fill(5), fill(6)].concat()),
            ],
        }),
    );
}
