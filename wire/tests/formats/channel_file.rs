use bitchat_wire::{
    bencode,
    channel::{ChannelFile, NewChannel, Policy, Rotation},
    identity::IdentityKey,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::counting;

const OWNER_SEED: [u8; 32] = [0x11; 32];

fn file(name: &str, policy: Policy, hints: bool) -> ChannelFile {
    rotating(name, policy, hints, Rotation::Daily)
}

fn rotating(name: &str, policy: Policy, hints: bool, rotation: Rotation) -> ChannelFile {
    let some = |hint: &[&str]| {
        hint.iter()
            .filter(|_| hints)
            .map(|hint| (*hint).to_owned())
            .collect::<Vec<_>>()
    };
    let new = NewChannel {
        name,
        policy,
        rotation,
        trackers: vec![
            some(&[
                "http://tracker.example/announce",
                "udp://tracker.example:6969",
            ]),
            some(&["https://other.example/announce"]),
        ],
        nodes: some(&["dht.example"])
            .into_iter()
            .map(|host| (host, 6881))
            .collect(),
        relays: some(&["/ip4/192.0.2.1/udp/4001/quic-v1"]),
        created: 1_700_000_000,
        secret: Zeroizing::new(counting(0x40)),
    };
    ChannelFile::create(new, &IdentityKey::from_seed(&OWNER_SEED)).unwrap()
}

fn described(what: &str, file: &ChannelFile) -> Value {
    let info = file.info();
    // At any time, even with a clock that was never set.
    let announced = |unix| -> Vec<String> {
        let hashes = file.keys().announced(unix);
        hashes.iter().map(ToString::to_string).collect()
    };
    json!({
        "what": what,
        "file": hex::encode(file.to_bytes()),
        "link": file.to_link(),
        "info": hex::encode(bencode::raw_value(&file.to_bytes(), b"info").unwrap()),
        "id": file.id().to_string(),
        "infohash": hex::encode(file.infohash()),
        "name": info.name,
        "created": info.created,
        "owner": hex::encode(info.owner.as_bytes()),
        "owner_id": info.owner.to_string(),
        "policy": info.policy.as_str(),
        "announced": {"unix 0": announced(0), "unix 1700000000": announced(1_700_000_000)},
        "secret": hex::encode(*info.secret),
        "trackers": file.trackers(),
        "nodes": file.nodes(),
        "relays": file.relays(),
    })
}

/// A dictionary of these raw values.
fn dictionary(keys: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, value) in keys {
        out.extend_from_slice(format!("{}:{key}", key.len()).as_bytes());
        out.extend_from_slice(value);
    }
    out.push(b'e');
    out
}

fn string(contents: &[u8]) -> Vec<u8> {
    [format!("{}:", contents.len()).as_bytes(), contents].concat()
}

/// A file signed by the owner whose `info` is changed by `change`, which gets its keys in order.
fn signed(change: impl Fn(&mut Vec<(&'static str, Vec<u8>)>)) -> Vec<u8> {
    let owner = IdentityKey::from_seed(&OWNER_SEED);
    let mut info = vec![
        ("created", b"i1700000000e".to_vec()),
        ("name", string(b"Friends")),
        ("owner", string(owner.id().as_bytes())),
        ("policy", string(b"open")),
        ("secret", string(&counting::<32>(0x40))),
        ("version", b"i1e".to_vec()),
    ];
    change(&mut info);
    let info = dictionary(&info);
    let signature = string(&owner.sign("channel file", &[&info]));
    dictionary(&[("info", info), ("signature", signature)])
}

#[test]
fn vectors() {
    let open = file("Friends", Policy::Open, true);
    let bytes = open.to_bytes();
    let replaced = |from: &str, to: &str| {
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
    };
    let set = |key: &'static str, value: Vec<u8>| {
        signed(move |info| {
            info.iter_mut().find(|(name, _)| *name == key).unwrap().1 = value.clone()
        })
    };
    let unknown = signed(|info| info.insert(3, ("picture", b"d4:sizei9e4:type3:pnge".to_vec())));
    assert_eq!(
        signed(|_| ()),
        file("Friends", Policy::Open, false).to_bytes(),
        "two ways of making one file"
    );

    let refused: Vec<Value> = [
        ("a page of HTML", b"<html></html>".to_vec()),
        ("cut short", bytes[..bytes.len() - 1].to_vec()),
        ("a byte behind the end", [&bytes[..], b"\n"].concat()),
        (
            "one letter of the signed name changed",
            replaced("Friends", "friends"),
        ),
        (
            "a string's length with a leading zero",
            replaced("8:announce", "08:announce"),
        ),
        (
            "created with a leading zero (and so unsigned)",
            replaced("i1700000000e", "i01700000000e"),
        ),
        ("keys out of order", b"d9:signature1:x4:infodee".to_vec()),
        ("one key twice", b"d4:infode4:infodee".to_vec()),
        ("17 levels deep", [vec![b'l'; 17], vec![b'e'; 17]].concat()),
        ("a list", b"le".to_vec()),
        ("no info", b"de".to_vec()),
        (
            "no signature",
            dictionary(&[(
                "info",
                bencode::raw_value(&bytes, b"info").unwrap().to_vec(),
            )]),
        ),
        (
            "no secret",
            signed(|info| info.retain(|(key, _)| *key != "secret")),
        ),
        ("a secret of 31 bytes", set("secret", string(&[1; 31]))),
        ("a secret of zeros", set("secret", string(&[0; 32]))),
        ("version 2", set("version", b"i2e".to_vec())),
        (
            "a policy that is neither open nor invite",
            set("policy", string(b"closed")),
        ),
        ("a name with a line break", set("name", string(b"a\nb"))),
        (
            "a name with a mark that turns the text's direction",
            set("name", string("a\u{202e}b".as_bytes())),
        ),
        (
            "an owner that is no acceptable key",
            set("owner", string(&[0; 32])),
        ),
        ("created below zero", set("created", b"i-1e".to_vec())),
        (
            "a rotate that means nothing yet",
            signed(|info| info.insert(4, ("rotate", b"i7e".to_vec()))),
        ),
        (
            "a rotate that is no number",
            signed(|info| info.insert(4, ("rotate", string(b"0")))),
        ),
    ]
    .into_iter()
    .map(|(what, file)| {
        let error = ChannelFile::parse(&file).expect_err(what);
        json!({ "what": what, "error": format!("{error:?}"), "file": hex::encode(file) })
    })
    .collect();

    crate::check(
        "channel_file.json",
        &json!({
            "about": "Channel files. id = H(\"channel\"; info), infohash = SHA-1(info), signature = Sig(owner, \"channel file\"; info).",
            "owner_seed": hex::encode(OWNER_SEED),
            "files": [
                described("open, with all hints", &open),
                described("invite-only, without hints", &file("Ärzte & Friends", Policy::Invite, false)),
                described("open, with a hash that never changes: announced is the infohash", &rotating("Friends", Policy::Open, false, Rotation::Never)),
                described("a key in info that this version does not know: kept, and covered by id and signature", &ChannelFile::parse(&unknown).unwrap()),
            ],
            "refused": refused,
        }),
    );
}
