//! The formats: bencode, channel files and links, events, messages, control, ids.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bitchat_wire::{
    bencode::{Limits, byte_string, entries, raw_value, scan},
    channel::{ChannelFile, ChannelId, MAX_NODES, MAX_RELAYS, MAX_TRACKERS},
    control as wire_control,
    event::{Body, Event, EventId, HEADER_LEN},
    identity::{DeviceId, DeviceKey, IdentityId, IdentityKey},
    message as wire_message, proto, relay as wire_relay,
    stream::StreamKind,
};
use bytes::Bytes;

/// The scanner, compared with a parser that may recurse only into what passed.
pub fn bencode(data: &[u8]) {
    let strict = Limits {
        depth: 16,
        values: 16_384,
        canonical: true,
    };
    let lenient = Limits {
        canonical: false,
        ..strict
    };
    let passed = scan(data, strict);
    if passed.is_ok() {
        assert_eq!(passed, Ok(data.len()));
        assert_eq!(scan(data, lenient), Ok(data.len()));
        if let Ok(value) = serde_bencode::from_bytes::<serde_bencode::value::Value>(data) {
            assert_eq!(serde_bencode::to_bytes(&value).expect("a value"), data);
        }
        for (key, value) in entries(data) {
            assert_eq!(raw_value(data, key), Some(value));
            assert_eq!(scan(value, strict), Ok(value.len()));
        }
    } else if let Ok(len) = scan(data, lenient) {
        assert_eq!(scan(&data[..len], lenient), Ok(len));
        let _ = serde_bencode::from_bytes::<serde_bencode::value::Value>(&data[..len]);
    }
    // bytes that did not pass must do no harm, either
    let _ = (entries(data).count(), byte_string(data));
}

/// A channel file: as a whole file, as the hints of a valid one, and as the signed part.
pub fn channel_file(data: &[u8]) {
    accepted(ChannelFile::parse(data).ok());

    let owner = IdentityKey::from_seed(&[1; 32]);
    let string = |contents: &[u8]| [format!("{}:", contents.len()).as_bytes(), contents].concat();
    let signed = |before: &[u8], info: &[u8], behind: &[u8]| {
        let signature = string(&owner.sign("channel file", &[info]));
        [
            b"d",
            before,
            b"4:info",
            info,
            behind,
            b"9:signature",
            &signature,
            b"e",
        ]
        .concat()
    };
    let owner_id = owner.id();
    let info = [
        b"d7:createdi1e4:name1:x5:owner",
        &string(owner_id.as_bytes())[..],
        b"6:policy4:open6:secret",
        &string(&[5; 32]),
        b"7:versioni1ee",
    ]
    .concat();
    for key in [&b"8:announce"[..], b"13:announce-list"] {
        accepted(ChannelFile::parse(&signed(&[key, data].concat(), &info, b"")).ok());
    }
    for key in [&b"5:nodes"[..], b"6:relays"] {
        accepted(ChannelFile::parse(&signed(b"", &info, &[key, data].concat())).ok());
    }
    accepted(ChannelFile::parse(&signed(b"", data, b"")).ok());
    let name = [
        b"d7:createdi1e4:name",
        data,
        b"5:owner",
        &string(owner_id.as_bytes()),
        b"6:policy4:open6:secret",
        &string(&[5; 32]),
        b"7:versioni1ee",
    ]
    .concat();
    accepted(ChannelFile::parse(&signed(b"", &name, b"")).ok());
}

/// A link: as text, and around any file.
pub fn channel_link(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        accepted(ChannelFile::parse_link(text).ok());
        accepted(ChannelFile::parse_link(&format!("bitchat:{text}")).ok());
    }
    accepted(ChannelFile::parse_link(&format!("bitchat:{}", URL_SAFE_NO_PAD.encode(data))).ok());
}

fn accepted(file: Option<ChannelFile>) {
    let Some(file) = file else { return };
    let again = ChannelFile::parse(&file.to_bytes()).expect("the same bytes");
    assert_eq!(again.id(), file.id());
    let linked = ChannelFile::parse_link(&file.to_link()).expect("the same bytes");
    assert_eq!(linked.to_bytes(), file.to_bytes());
    assert!((1..=128).contains(&file.info().name.len()));
    assert!(!file.info().name.chars().any(char::is_control));
    assert!(file.trackers().iter().flatten().count() <= MAX_TRACKERS);
    assert!(file.nodes().len() <= MAX_NODES && file.relays().len() <= MAX_RELAYS);
    let other = file.with_trackers(vec![vec!["http://a".into(), "udp://b:1".into()]]);
    // with the new trackers the file may exceed its maximum size
    if let Ok(other) = other {
        assert_eq!(other.id(), file.id());
        let back = other
            .with_trackers(file.trackers().to_vec())
            .expect("trackers that were read can be written");
        assert_eq!(back.trackers(), file.trackers());
    }
}

/// An event with a bad signature and with a valid one; a body in a valid event.
pub fn event(data: &[u8]) {
    let cid = ChannelId([7; 32]);
    let device = DeviceKey::from_seed(&[2; 32]);
    let raw = Bytes::copy_from_slice(data);
    assert!(Event::verify(&cid, raw.clone(), &[0; 64]).is_err());
    if let Ok(event) = Event::from_store(&cid, raw, &[0; 64]) {
        assert_eq!(&event.raw()[..], data);
        let _ = (Body::of(&event), event.certificate());
    }

    let mut signed = data.to_vec();
    if data.len() >= HEADER_LEN {
        signed[0] = 1;
        signed[5..37].copy_from_slice(device.id().as_bytes());
    }
    let signature = device.sign("event", &[&cid.0, &signed]);
    if let Ok(event) = Event::verify(&cid, signed.into(), &signature) {
        let _ = Body::of(&event);
        let h = *event.header();
        let again = Event::author(
            &cid,
            &device,
            h.epoch,
            h.seq,
            h.prev,
            h.lamport,
            h.wall_ms,
            event.body(),
        );
        assert_eq!(again.as_ref(), Ok(&event));
    }

    if let Ok(event) = Event::author(&cid, &device, 0, 1, EventId([1; 32]), 1, 0, data) {
        match Body::of(&event) {
            Body::Text(said) => {
                let bytes = said.encode().expect("a text within its caps");
                comes_back(&cid, &device, &bytes, Body::Text(said));
            }
            Body::Edit { target, said } => {
                let bytes = Body::edit(target, &said).expect("a text within its caps");
                comes_back(&cid, &device, &bytes, Body::Edit { target, said });
            }
            Body::React { target, emoji } => {
                let bytes = Body::react(target, &emoji).expect("emoji within their caps");
                comes_back(&cid, &device, &bytes, Body::React { target, emoji });
            }
            Body::Delete { target } => {
                comes_back(
                    &cid,
                    &device,
                    &Body::delete(target),
                    Body::Delete { target },
                );
            }
            Body::Read(mark) => {
                comes_back(&cid, &device, &Body::read_mark(&mark), Body::Read(mark));
            }
            Body::Picture(picture) => {
                let bytes = Body::picture(picture.as_ref());
                comes_back(&cid, &device, &bytes, Body::Picture(picture));
            }
            Body::Status(line) => {
                let bytes = Body::status(&line).expect("a line made fit");
                comes_back(&cid, &device, &bytes, Body::Status(line));
            }
            Body::Profile { name } => drop(Body::profile(&name).expect("a name made fit")),
            Body::Genesis(_) => unreachable!("only the first event has a certificate"),
            _ => {}
        }
    }
}

/// Checks that a decoded body, encoded again, decodes to the same.
fn comes_back(cid: &ChannelId, device: &DeviceKey, bytes: &[u8], body: Body) {
    let event = Event::author(cid, device, 0, 1, EventId([1; 32]), 1, 0, bytes).expect("an event");
    assert_eq!(Body::of(&event), body);
}

/// A message of a link.
pub fn message(data: &[u8]) {
    if let Ok(Some(kind)) = wire_message::decode(data) {
        let bytes = wire_message::encode(kind.clone());
        assert_eq!(wire_message::decode(&bytes), Ok(Some(kind)));
    }
}

/// A message of a connection's control stream, and the bytes that open a stream.
pub fn control(data: &[u8]) {
    if let Some(prefix) = data.first_chunk()
        && let Ok(len) = wire_control::check_len(*prefix)
    {
        assert!(len <= wire_control::MAX_CONTROL);
    }
    if let Some(header) = data.first_chunk()
        && let Some(kind) = StreamKind::parse(*header)
    {
        assert_eq!(kind.header(), *header);
    }
    if let Ok(Some(kind)) = wire_control::decode(data) {
        let bytes = wire_control::encode(&proto::Control {
            kind: Some(kind.clone()),
        });
        assert_eq!(wire_control::decode(&bytes[4..]), Ok(Some(kind)));
    }
}

/// Public keys, and Bit Chat IDs as text.
pub fn identity(data: &[u8]) {
    if let Ok(id) = IdentityId::from_bytes(data) {
        assert_eq!(id.as_bytes(), data);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(id) = DeviceId::from_bytes(data) {
        assert_eq!(id.as_bytes(), data);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<IdentityId>()
    {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

/// A message of a relay's stream, with and without its length prefix.
pub fn relay(data: &[u8]) {
    if let Some(prefix) = data.first_chunk()
        && let Ok(len) = wire_relay::check_len(*prefix)
    {
        assert!(len <= wire_relay::MAX_RELAY);
    }
    if let Ok(Some(kind)) = wire_relay::decode(data) {
        let bytes = wire_relay::encode(kind.clone());
        assert_eq!(wire_relay::decode(&bytes[4..]), Ok(Some(kind)));
    }
}
