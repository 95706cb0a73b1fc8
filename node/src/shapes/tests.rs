use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;

/// Reads a shape from its JSON, and checks that it writes the same again.
fn round<T: Serialize + DeserializeOwned>(value: Value) -> T {
    let shape: T = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(&shape).unwrap(), value);
    shape
}

fn channel() -> Value {
    json!({"name": "friends", "id": "ab", "policy": "open", "owned": true, "mesh": "full", "members": 2, "online": 2})
}

fn with(mut value: Value, more: Value) -> Value {
    for (key, field) in more.as_object().into_iter().flatten() {
        value[key] = field.clone();
    }
    value
}

#[test]
fn flattened_shapes_are_read_as_they_are_written() {
    let source = json!({"source": "lan", "url": null, "state": "working", "linked": 1, "last_success_s": 3,
        "next_try_s": null, "about": ""});
    let dht = json!({"state": "working", "announced_to": 8, "peers": 1, "last_success_s": 1, "next_try_s": 2});
    let more = json!({"infohash": "cd", "rendezvous": ["01", "02"], "rotates": true, "owner": "bitchat1q",
        "created": "2026-01-31T12:01:00.000Z", "trackers": [], "dht": dht, "sources": [source], "candidates": 0,
        "dialling": 0, "trouble": null});
    let info: Info = round(with(channel(), more));
    assert_eq!(info.channel.online, 2);

    let summary = json!({"state": "working", "nodes": 9, "last_success_s": 1, "next_try_s": null});
    let traffic =
        json!({"packets_in": 1, "packets_out": 2, "bytes_in": 3, "bytes_out": 4, "dropped": 5});
    let watched = with(dht, json!({"hash": "ef"}));
    let more = json!({"families": [], "traffic": traffic, "lookups": 0, "stored_hashes": 0, "stored_peers": 0,
        "watched": [watched]});
    let state: Dht = round(with(summary, more));
    assert_eq!(state.watched[0].source.announced_to, 8);

    let status: ChannelStatus = round(with(channel(), json!({"sources": []})));
    assert_eq!(status.channel.name, "friends");
}

#[test]
fn a_kind_of_a_later_version_is_unknown() {
    assert_eq!(
        serde_json::from_str::<MessageKind>("\"poll\"").unwrap(),
        MessageKind::Unknown
    );
    for kind in ["text", "joined", "profile", "left", "edit", "delete"] {
        round::<MessageKind>(json!(kind));
    }
}

#[test]
fn requests_need_only_what_they_cannot_do_without() {
    let channel: NewChannel = serde_json::from_value(json!({"name": "x"})).unwrap();
    assert_eq!(
        (channel.policy, channel.rotate),
        (Rule::Open, Rotate::Daily)
    );
    assert!(serde_json::from_value::<NewMessage>(json!({"text": "x", "kye": "k"})).is_err());
}
