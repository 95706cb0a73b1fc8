use bitchat_wire::{
    control, message,
    proto::{self, link_message::Kind, rekey::Step},
    stream::StreamKind,
};
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};

use crate::counting;

fn device() -> Bytes {
    counting::<32>(0x10).to_vec().into()
}

fn identity() -> Bytes {
    counting::<32>(0x30).to_vec().into()
}

fn filled(len: usize, byte: u8) -> Bytes {
    vec![byte; len].into()
}

fn claims() -> Vec<proto::Claim> {
    let claim = |next, head: &[u8]| proto::Claim {
        device: device(),
        floor: 0,
        next,
        head: head.to_vec().into(),
    };
    vec![claim(300, &counting::<16>(0x50)), claim(0, &[])]
}

fn event(body: u8) -> proto::SignedEvent {
    proto::SignedEvent {
        event: filled(94, body),
        signature: filled(64, 0x5a),
    }
}

fn step(step: Step) -> Kind {
    Kind::Rekey(proto::Rekey { step: Some(step) })
}

/// One message of each kind and each step, with a description of its fields.
fn all() -> Vec<(&'static str, Kind)> {
    vec![
        (
            "hello: versions 1 and 2, agent \"bitchat/0.1.0\", port 51413",
            Kind::Hello(proto::Hello {
                versions: vec![1, 2],
                agent: "bitchat/0.1.0".into(),
                listen_port: 51_413,
            }),
        ),
        (
            "peers: linked one member (device 10.., identity 30.., PeerId of 38 bytes, address /ip4/192.0.2.1/udp/4001), unlinked device 10..",
            Kind::Peers(proto::Peers {
                linked: vec![proto::Peer {
                    device: device(),
                    identity: identity(),
                    peer_id: [&[0, 36, 8, 1, 18, 32][..], &[0x77; 32]].concat().into(),
                    addresses: vec![vec![4, 192, 0, 2, 1, 0x91, 0x02, 0x0f, 0xa1].into()],
                }],
                unlinked: vec![device()],
            }),
        ),
        (
            "have: events 0..300 of device 10.., head 50..5f; none of the same device; more follow",
            Kind::Have(proto::Have {
                claims: claims(),
                more: true,
            }),
        ),
        (
            "want: events 5..300 of device 10..",
            Kind::Want(proto::Want {
                ranges: vec![proto::Range {
                    device: device(),
                    from: 5,
                    to: 300,
                }],
            }),
        ),
        (
            "events: two events of 94 bytes each (e1.., e2..), backfill",
            Kind::Events(proto::Events {
                events: vec![event(0xe1), event(0xe2)],
                backfill: true,
            }),
        ),
        (
            "ack: the claims of the have above",
            Kind::Ack(proto::Ack { claims: claims() }),
        ),
        ("typing", Kind::Typing(proto::Typing {})),
        (
            "ping: nonce 0x0102030405060708",
            Kind::Ping(proto::Ping {
                nonce: 0x0102_0304_0506_0708,
            }),
        ),
        ("rekey: please", step(Step::Please(proto::RekeyPlease {}))),
        (
            "rekey: init, dh d1.., kem d2..",
            step(Step::Init(proto::RekeyInit {
                dh: filled(32, 0xd1),
                kem: filled(1_184, 0xd2),
            })),
        ),
        (
            "rekey: resp, dh d3.., ciphertext d4.., signature 5a..",
            step(Step::Resp(proto::RekeyResp {
                dh: filled(32, 0xd3),
                ciphertext: filled(1_088, 0xd4),
                signature: filled(64, 0x5a),
            })),
        ),
        (
            "rekey: done, signature 5a..",
            step(Step::Done(proto::RekeyDone {
                signature: filled(64, 0x5a),
            })),
        ),
        ("rekey: go", step(Step::Go(proto::RekeyGo {}))),
        ("invite", Kind::Invite(proto::Invite {})),
        ("file", Kind::File(proto::File {})),
        ("call", Kind::Call(proto::Call {})),
        (
            "bye: moved",
            Kind::Bye(proto::Bye {
                reason: proto::bye::Reason::Moved.into(),
            }),
        ),
        (
            "ids: of events 299 and 300 of device 10.., a1.. and a2..",
            Kind::Ids(proto::Ids {
                device: device(),
                from: 299,
                ids: vec![filled(32, 0xa1), filled(32, 0xa2)],
            }),
        ),
        (
            "fork: two events of 94 bytes each (e1.., e2..)",
            Kind::Fork(proto::Fork {
                a: Some(event(0xe1)),
                b: Some(event(0xe2)),
            }),
        ),
        ("pong: nonce 0", Kind::Pong(proto::Pong { nonce: 0 })),
    ]
}

fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let claim = |floor, next, head: usize| {
        message::encode(Kind::Ack(proto::Ack {
            claims: vec![proto::Claim {
                device: device(),
                floor,
                next,
                head: filled(head, 1),
            }],
        }))
    };
    let want = |from, to| {
        message::encode(Kind::Want(proto::Want {
            ranges: vec![proto::Range {
                device: device(),
                from,
                to,
            }],
        }))
    };
    vec![
        (
            "a hello with 17 versions",
            message::encode(Kind::Hello(proto::Hello {
                versions: vec![1; 17],
                ..Default::default()
            })),
        ),
        (
            "a hello with port 65,536",
            message::encode(Kind::Hello(proto::Hello {
                listen_port: 65_536,
                ..Default::default()
            })),
        ),
        ("a claim whose floor is above its next", claim(2, 1, 16)),
        ("a claim of events without a head", claim(0, 1, 0)),
        ("a claim of no events with a head", claim(0, 0, 16)),
        ("an empty range", want(5, 5)),
        (
            "a device of 31 bytes",
            message::encode(Kind::Peers(proto::Peers {
                linked: vec![],
                unlinked: vec![filled(31, 1)],
            })),
        ),
        (
            "an event shorter than its header",
            message::encode(Kind::Events(proto::Events {
                events: vec![proto::SignedEvent {
                    event: filled(92, 1),
                    signature: filled(64, 1),
                }],
                backfill: false,
            })),
        ),
        (
            "a fork with one event",
            message::encode(Kind::Fork(proto::Fork {
                a: Some(event(1)),
                b: None,
            })),
        ),
        (
            "a rekey init with a key of 31 bytes",
            message::encode(step(Step::Init(proto::RekeyInit {
                dh: filled(31, 1),
                kem: filled(1_184, 1),
            }))),
        ),
        ("a field longer than the message", vec![0x42, 5, 8, 1]),
        ("a protobuf group", vec![0x43, 0x44]),
        ("17 fields in the outer message", [0x3a, 0].repeat(17)),
    ]
}

#[test]
fn vectors() {
    let mut kinds = std::collections::BTreeSet::new();
    let messages: Vec<Value> = all()
        .into_iter()
        .map(|(what, kind)| {
            let bytes = message::encode(kind.clone());
            assert_eq!(message::decode(&bytes), Ok(Some(kind)), "{what}");
            // the key of the one field: a number up to 15 in one byte, 16 in two
            kinds.insert(if bytes[0] < 0x80 { bytes[0] >> 3 } else { 16 });
            json!({ "what": what, "message": hex::encode(bytes) })
        })
        .collect();
    assert_eq!(kinds, (1..=16).collect(), "a vector for each kind");

    let refused: Vec<Value> = refused()
        .into_iter()
        .map(|(what, bytes)| {
            let error = message::decode(&bytes).expect_err(what);
            json!({ "what": what, "error": format!("{error:?}"), "message": hex::encode(bytes) })
        })
        .collect();

    let passed_over: Vec<Value> = [
        ("nothing at all", &[][..]),
        ("kind 31 of a later version", &[0xfa, 0x01, 2, 1, 2]),
        (
            "step 31 of a rekey of a later version",
            &[0x4a, 4, 0xfa, 0x01, 1, 2],
        ),
    ]
    .into_iter()
    .map(|(what, bytes)| {
        assert_eq!(message::decode(bytes), Ok(None), "{what}");
        json!({ "what": what, "message": hex::encode(bytes) })
    })
    .collect();

    use proto::control::Kind as Control;
    let controls: Vec<Value> = [
        (
            "observed: /ip4/192.0.2.1/udp/4001",
            Control::Observed(proto::Observed {
                address: vec![4, 192, 0, 2, 1, 0x91, 0x02, 0x0f, 0xa1].into(),
                port: 0,
            }),
        ),
        (
            "observed: /ip4/192.0.2.1/tcp/40000, by one that listens on port 4001",
            Control::Observed(proto::Observed {
                address: vec![4, 192, 0, 2, 1, 0x06, 0x9c, 0x40].into(),
                port: 4001,
            }),
        ),
        ("drain", Control::Drain(proto::Drain {})),
        ("probe", Control::Probe(proto::Probe { nonce: 0x0102_0304 })),
        ("echo", Control::Echo(proto::Echo { nonce: 0x0102_0304 })),
        ("selected", Control::Selected(proto::Selected {})),
        ("stalled", Control::Stalled(proto::Stalled {})),
        ("unanswered", Control::Unanswered(proto::Unanswered {})),
        (
            "punch_to: a request of one that knows its outer port",
            Control::PunchTo(proto::PunchTo {
                peer: vec![0x11; 38].into(),
                punch: Some(proto::Punch {
                    id: 0x0102_0304,
                    answer: false,
                    nat: proto::punch::Nat::Fixed.into(),
                    addresses: vec![
                        vec![4, 192, 0, 2, 1, 0x91, 0x02, 0x0f, 0xa1, 0xcd, 0x03].into(),
                    ],
                    ..proto::Punch::default()
                }),
            }),
        ),
        (
            "punch_from: the answer of one behind a symmetric NAT, as it is carried",
            Control::PunchFrom(proto::PunchFrom {
                peer: vec![0x22; 38].into(),
                seen: vec![4, 192, 0, 2, 9, 0x91, 0x02, 0x9c, 0x40, 0xcd, 0x03].into(),
                punch: Some(proto::Punch {
                    id: 0x0102_0304,
                    answer: true,
                    nat: proto::punch::Nat::Symmetric.into(),
                    addresses: Vec::new(),
                    ..proto::Punch::default()
                }),
            }),
        ),
        (
            "punch_from: a request of one that has no UDP, and will dial by TCP",
            Control::PunchFrom(proto::PunchFrom {
                peer: vec![0x22; 38].into(),
                punch: Some(proto::Punch {
                    id: 0x0102_0304,
                    nat: proto::punch::Nat::NoUdp.into(),
                    tcp_addresses: vec![vec![4, 192, 0, 2, 9, 0x06, 0x0f, 0xa1].into()],
                    ..proto::Punch::default()
                }),
                ..proto::PunchFrom::default()
            }),
        ),
    ]
    .into_iter()
    .map(|(what, kind)| {
        let bytes = control::encode(&proto::Control {
            kind: Some(kind.clone()),
        });
        assert_eq!(control::decode(&bytes[4..]), Ok(Some(kind)), "{what}");
        json!({ "what": what, "bytes": hex::encode(bytes) })
    })
    .collect();

    use StreamKind::{Control as ControlStream, Link, RelayHop, RelayStop, Sub};
    let streams: Vec<Value> = [ControlStream, Link, Sub, RelayHop, RelayStop]
        .into_iter()
        .map(|kind| json!({ "kind": format!("{kind:?}"), "header": hex::encode(kind.header()) }))
        .collect();

    crate::check(
        "messages.json",
        &json!({
            "about": "One protobuf LinkMessage of each kind, as it stands in a frame; control messages with their length before them; the two bytes that open a stream. \"10..\" means bytes 10, 11, 12 and so on for device, identity and head, and one repeated byte elsewhere.",
            "messages": messages,
            "refused": refused,
            "passed_over": passed_over,
            "control": controls,
            "streams": streams,
        }),
    );
    // the encoding of an absent kind
    assert!(proto::LinkMessage { kind: None }.encode_to_vec().is_empty());
}
