use bitchat_wire::{
    proto::{self, refused::Reason, relay::Kind},
    relay,
};
use serde_json::{Value, json};

use crate::counting;

#[test]
fn relay_messages() {
    let peer = || [&[0, 36, 8, 1, 18, 32][..], &[0x77; 32]].concat().into();
    let key = || counting::<32>(0x10).to_vec().into();
    let messages: Vec<Value> = [
        ("reserve", Kind::Reserve(proto::Reserve {})),
        (
            "reserved: 1 GiB, 6 hours, 2 MiB a second",
            Kind::Reserved(proto::Reserved {
                circuit_bytes: 1 << 30,
                circuit_seconds: 21_600,
                bytes_a_second: 2 << 20,
            }),
        ),
        (
            "register: the key 10..",
            Kind::Register(proto::Register { keys: vec![key()] }),
        ),
        (
            "met: under the key 10.. a PeerId of 38 bytes",
            Kind::Met(proto::Met {
                key: key(),
                peers: vec![peer()],
            }),
        ),
        (
            "connect: to that PeerId",
            Kind::Connect(proto::Connect { peer: peer() }),
        ),
        (
            "incoming: from that PeerId",
            Kind::Incoming(proto::Incoming { peer: peer() }),
        ),
        ("accepted", Kind::Accepted(proto::Accepted {})),
        (
            "refused: full, not before 30 seconds",
            Kind::Refused(proto::Refused {
                reason: Reason::Full.into(),
                retry_seconds: 30,
            }),
        ),
        ("leaving", Kind::Leaving(proto::Leaving {})),
    ]
    .into_iter()
    .map(|(what, kind)| {
        let bytes = relay::encode(kind.clone());
        assert_eq!(relay::decode(&bytes[4..]), Ok(Some(kind)), "{what}");
        json!({ "what": what, "bytes": hex::encode(bytes) })
    })
    .collect();
    let refused: Vec<Value> = [
        ("a key of 1 byte", &[0x1a, 3, 0x0a, 1, 7][..]),
        ("a PeerId without bytes", &[0x2a, 0]),
        ("no protobuf", &[0x0a, 0x7f, 0]),
    ]
    .into_iter()
    .map(|(what, bytes)| {
        assert!(relay::decode(bytes).is_err(), "{what}");
        json!({ "what": what, "message": hex::encode(bytes) })
    })
    .collect();
    crate::check(
        "relays.json",
        &json!({
            "about": "Messages of relay streams with their length before them, and some that reset the stream (without it). \"10..\" means bytes 10, 11, 12 and so on.",
            "messages": messages,
            "refused": refused,
        }),
    );
}
