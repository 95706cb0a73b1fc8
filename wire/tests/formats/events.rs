use bitchat_wire::{
    channel::ChannelId,
    event::{
        Body, Event, EventId, HEADER_LEN, LAMPORT_LIMIT, Picture, ReadMark, Said, genesis_body,
    },
    identity::{DeviceKey, IdentityKey},
};
use serde_json::{Value, json};

use crate::counting;

const IDENTITY_SEED: [u8; 32] = [0x21; 32];
const DEVICE_SEED: [u8; 32] = [0x22; 32];
const CREATED: u64 = 1_700_000_000;

fn described(what: &str, event: &Event) -> Value {
    let header = event.header();
    json!({
        "what": what,
        "epoch": header.epoch,
        "seq": header.seq,
        "prev": header.prev.to_string(),
        "lamport": header.lamport,
        "wall_ms": header.wall_ms,
        "body": hex::encode(event.body()),
        "event": hex::encode(event.raw()),
        "signature": hex::encode(event.signature()),
        "id": event.id().to_string(),
    })
}

#[test]
fn vectors() {
    let cid = ChannelId(counting(0x80));
    let identity = IdentityKey::from_seed(&IDENTITY_SEED);
    let device = DeviceKey::from_seed(&DEVICE_SEED);
    let certificate = identity.certify(&device.id(), CREATED);
    let author = |seq, prev, lamport, body: &[u8]| {
        Event::author(
            &cid,
            &device,
            0,
            seq,
            prev,
            lamport,
            CREATED * 1_000 + seq,
            body,
        )
        .unwrap()
    };
    let genesis = author(0, EventId::ZERO, 1, &genesis_body(&certificate));
    let profile = author(1, genesis.id(), 2, &Body::profile("Ann").unwrap());
    let text = author(2, profile.id(), 7, &Body::text("Hello, wörld\n").unwrap());
    let unknown = author(3, text.id(), 8, &[0x82, 0x01, 0x03, 0x08, 0x96, 0x01]);
    let other = author(3, text.id(), LAMPORT_LIMIT - 1, &Body::leave());
    assert_eq!(Body::of(&profile), Body::Profile { name: "Ann".into() });
    assert_eq!(Body::of(&text), Body::Text(Said::plain("Hello, wörld\n")));
    assert_eq!(Body::of(&unknown), Body::Unknown);
    assert_eq!(Body::of(&other), Body::Leave);
    assert!(unknown.forks(&other));

    let reply = Said {
        text: "Hello, @Ann".into(),
        reply_to: Some(text.id()),
        mentions: vec![*identity.id().as_bytes()],
    };
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 4]].concat();
    let bodies = [
        ("an answer, with a mention", reply.encode().unwrap()),
        (
            "a text is changed",
            Body::edit(text.id(), &Said::plain("Hello, world")).unwrap(),
        ),
        ("a text is taken back", Body::delete(text.id())),
        (
            "two reactions",
            Body::react(text.id(), &["👍".to_owned(), "❤️".to_owned()]).unwrap(),
        ),
        ("no reaction any more", Body::react(text.id(), &[]).unwrap()),
        (
            "read up to the text",
            Body::read_mark(&ReadMark {
                lamport: 7,
                device: *device.id().as_bytes(),
                seq: 2,
            }),
        ),
        (
            "a picture (too short to be a real one)",
            Body::picture(Some(&Picture::new(png).unwrap())),
        ),
        ("no picture any more", Body::picture(None)),
        ("a status line", Body::status("at sea").unwrap()),
    ];
    let mut conversation = Vec::new();
    let mut last = text.clone();
    for (what, body) in &bodies {
        let header = last.header();
        last = author(header.seq + 1, last.id(), header.lamport + 1, body);
        assert_ne!(Body::of(&last), Body::Unknown, "{what}");
        conversation.push(described(what, &last));
    }

    let events = [
        described(
            "the first of a log: identity, created, certificate",
            &genesis,
        ),
        described("the author's name", &profile),
        described("something said", &text),
        described(
            "a kind of a later version: kept, passed on, not shown",
            &unknown,
        ),
        described(
            "the author leaves; with the event before it, a proof that the device forked its log",
            &other,
        ),
    ];
    for event in &events {
        let raw = hex::decode(event["event"].as_str().unwrap()).unwrap();
        let signature = hex::decode(event["signature"].as_str().unwrap()).unwrap();
        let again = Event::verify(&cid, raw.into(), &signature).unwrap();
        assert_eq!(again.id().to_string(), event["id"].as_str().unwrap());
    }

    // Signed with the device's real key, but refused.
    let changed = |event: &Event, at: usize, to: &[u8]| {
        let mut raw = event.raw().to_vec();
        raw[at..at + to.len()].copy_from_slice(to);
        raw
    };
    let stranger = genesis_body(&identity.certify(&DeviceKey::from_seed(&[9; 32]).id(), CREATED));
    let mut longer = genesis.raw().to_vec();
    longer.push(0);
    let mut signed: Vec<(&str, Vec<u8>)> = vec![
        ("version 2", changed(&text, 0, &[2])),
        (
            "a first event that names one before it",
            changed(&genesis, 45, &[1; 32]),
        ),
        (
            "a later event that names none before it",
            changed(&text, 45, &[0; 32]),
        ),
        (
            "number 2^56",
            changed(&text, 37, &LAMPORT_LIMIT.to_be_bytes()),
        ),
        (
            "Lamport time 2^56",
            changed(&text, 77, &LAMPORT_LIMIT.to_be_bytes()),
        ),
        (
            "shorter than a header",
            text.raw()[..HEADER_LEN - 1].to_vec(),
        ),
        (
            "a first event whose certificate is another device's",
            changed(&genesis, HEADER_LEN, &stranger),
        ),
        ("a first event with a byte behind its certificate", longer),
    ];
    let mut refused: Vec<Value> = signed
        .drain(..)
        .map(|(what, raw)| (what, device.sign("event", &[&cid.0, &raw]), raw))
        .chain([
            ("signed for another channel", device.sign("event", &[&[0; 32], text.raw()]), text.raw().to_vec()),
            ("a changed body", *text.signature(), changed(&text, HEADER_LEN + 4, b"J")),
        ])
        .map(|(what, signature, raw)| {
            let error = Event::verify(&cid, raw.clone().into(), &signature).expect_err(what);
            json!({ "what": what, "error": format!("{error:?}"), "event": hex::encode(raw), "signature": hex::encode(signature) })
        })
        .collect();
    let error = Event::verify(&cid, text.raw().clone(), &[0; 63]).unwrap_err();
    refused.push(json!({ "what": "a signature of 63 bytes", "error": format!("{error:?}"), "event": hex::encode(text.raw()), "signature": hex::encode([0; 63]) }));

    crate::check(
        "events.json",
        &json!({
            "about": "Events of one device in one channel. signature = Sig(device, \"event\"; cid, E), id = H(\"id\"; cid, E).",
            "cid": hex::encode(cid.0),
            "identity_seed": hex::encode(IDENTITY_SEED),
            "identity": hex::encode(identity.id().as_bytes()),
            "device_seed": hex::encode(DEVICE_SEED),
            "device": hex::encode(device.id().as_bytes()),
            "certificate": { "created": CREATED, "signature": hex::encode(certificate.signature) },
            "events": events,
            "conversation_about": "Another course of the same log, after its third event: bodies that belong to conversations.",
            "conversation": conversation,
            "refused": refused,
        }),
    );
}
