//! The scanner compared with `serde_bencode`: the scanner accepts everything that it writes, and it can read everything
//! that the scanner accepts.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use bitchat_wire::bencode::{BencodeError, Limits, entries, raw_value, scan};
use proptest::{collection::vec, prelude::*};
use serde_bencode::value::Value;

const STRICT: Limits = Limits {
    depth: 16,
    values: 16_384,
    canonical: true,
};
const LENIENT: Limits = Limits {
    canonical: false,
    ..STRICT
};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        vec(any::<u8>(), 0..20).prop_map(Value::Bytes)
    ];
    leaf.prop_recursive(8, 128, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::List),
            vec((vec(any::<u8>(), 0..6), inner), 0..8)
                .prop_map(|pairs| Value::Dict(pairs.into_iter().collect::<HashMap<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_writes_passes(value in value()) {
        let bytes = serde_bencode::to_bytes(&value).unwrap();
        prop_assert_eq!(scan(&bytes, STRICT), Ok(bytes.len()));
        prop_assert_eq!(scan(&bytes, LENIENT), Ok(bytes.len()));
        if let Value::Dict(map) = value {
            prop_assert_eq!(entries(&bytes).count(), map.len());
            for (key, value) in map {
                let raw = serde_bencode::to_bytes(&value).unwrap();
                prop_assert_eq!(raw_value(&bytes, &key), Some(&raw[..]));
            }
        }
    }

    #[test]
    fn what_passes_strictly_is_the_one_encoding_of_its_value(value in value(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = serde_bencode::to_bytes(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let scanned = scan(&bytes, STRICT);
        if scanned.is_ok() {
            prop_assert_eq!(scanned, Ok(bytes.len()));
            // `serde_bencode` supports 64-bit numbers only
            if let Ok(again) = serde_bencode::from_bytes::<Value>(&bytes) {
                prop_assert_eq!(serde_bencode::to_bytes(&again).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn mutations_are_survived(
        value in value(),
        edits in vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"ildei-0123456789:"[..])]), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = serde_bencode::to_bytes(&value).unwrap();
        for (at, to) in edits {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        for limits in [STRICT, LENIENT, Limits { depth: 1, values: 3, canonical: false }] {
            match scan(&bytes, limits) {
                Ok(len) => prop_assert!(len <= bytes.len()),
                Err(BencodeError::Syntax(at) | BencodeError::NotCanonical(at)) => prop_assert!(at <= bytes.len()),
                Err(_) => {}
            }
        }
        let _ = (entries(&bytes).count(), raw_value(&bytes, b"a"));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(prop::sample::select(&b"ildeide-0123456789:\xff"[..]), 0..80)) {
        if let Ok(len) = scan(&bytes, LENIENT) {
            prop_assert_eq!(scan(&bytes[..len], LENIENT), Ok(len));
        }
        if scan(&bytes, STRICT).is_ok() {
            prop_assert!(scan(&bytes, LENIENT).is_ok(), "strict implies lenient");
        }
        let _ = entries(&bytes).count();
    }
}
