#![allow(clippy::unwrap_used)]
use super::*;
use crate::{identity::IdentityKey, proto};

const CID: ChannelId = ChannelId([7; 32]);

fn keys() -> (IdentityKey, DeviceKey) {
    (
        IdentityKey::from_seed(&[1; 32]),
        DeviceKey::from_seed(&[2; 32]),
    )
}

fn genesis() -> Event {
    let (identity, device) = keys();
    let body = genesis_body(&identity.certify(&device.id(), 1_700_000_000));
    Event::author(
        &CID,
        &device,
        0,
        0,
        EventId::ZERO,
        1,
        1_700_000_000_000,
        &body,
    )
    .unwrap()
}

fn said(body: &[u8]) -> Event {
    Event::author(
        &CID,
        &keys().1,
        3,
        1,
        genesis().id(),
        9,
        1_700_000_000_001,
        body,
    )
    .unwrap()
}

#[test]
fn what_is_authored_verifies() {
    for event in [
        genesis(),
        said(&Body::text("hello").unwrap()),
        said(&[]),
        said(&[0xff; MAX_BODY]),
    ] {
        let again = Event::verify(&CID, event.raw().clone(), event.signature()).unwrap();
        assert_eq!(again, event);
        assert_eq!(
            Event::from_store(&CID, event.raw().clone(), event.signature()).unwrap(),
            event
        );
        assert_eq!(event.raw().len(), HEADER_LEN + event.body().len());
    }
    let event = said(b"x");
    assert_eq!(event.raw()[..5], [1, 0, 0, 0, 3]);
    assert_eq!(event.header().order(), (9, keys().1.id(), 1));
}

#[test]
fn every_changed_bit_is_noticed() {
    for event in [genesis(), said(&Body::text("hello").unwrap())] {
        for bit in (0..event.raw().len() * 8).step_by(3) {
            let mut raw = event.raw().to_vec();
            raw[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Event::verify(&CID, raw.into(), event.signature()).is_err(),
                "bit {bit} of the event"
            );
        }
        for bit in (0..512).step_by(5) {
            let mut signature = *event.signature();
            signature[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Event::verify(&CID, event.raw().clone(), &signature),
                Err(EventError::BadSignature),
                "bit {bit}"
            );
        }
        for len in [
            0,
            1,
            4,
            5,
            HEADER_LEN - 1,
            HEADER_LEN,
            event.raw().len() - 1,
        ] {
            assert!(
                Event::verify(&CID, event.raw().slice(..len), event.signature()).is_err(),
                "cut to {len}"
            );
        }
        assert_eq!(
            Event::verify(&CID, event.raw().clone(), &event.signature()[..63]),
            Err(EventError::BadSignature)
        );
    }
}

#[test]
fn an_event_belongs_to_one_channel() {
    let event = said(b"x");
    let other = ChannelId([8; 32]);
    assert_eq!(
        Event::verify(&other, event.raw().clone(), event.signature()),
        Err(EventError::BadSignature)
    );
    assert_ne!(EventId::of(&other, event.raw()), event.id());
}

#[test]
fn headers_out_of_range_are_refused_although_signed() {
    let (identity, device) = keys();
    let prev = genesis().id();
    let author = |seq, prev, lamport, body: &[u8]| {
        Event::author(&CID, &device, 0, seq, prev, lamport, 0, body).map(|_| ())
    };
    assert_eq!(author(1, EventId::ZERO, 1, b""), Err(EventError::BadPrev));
    assert_eq!(author(0, prev, 1, b""), Err(EventError::BadPrev));
    assert_eq!(
        author(1, prev, LAMPORT_LIMIT, b""),
        Err(EventError::BadLamport(LAMPORT_LIMIT))
    );
    assert_eq!(author(1, prev, LAMPORT_LIMIT - 1, b""), Ok(()));
    assert_eq!(
        author(1, prev, 1, &[0; MAX_BODY + 1]),
        Err(EventError::BadLength(HEADER_LEN + MAX_BODY + 1))
    );

    assert_eq!(
        author(SEQ_LIMIT, prev, 1, b""),
        Err(EventError::BadSeq(SEQ_LIMIT))
    );
    assert_eq!(author(SEQ_LIMIT - 1, prev, 1, b""), Ok(()));

    // the same, past our own author's checks
    let sign = |raw: &[u8]| {
        let signature = device.sign(SIGNATURE_LABEL, &[&CID.0, raw]);
        Event::verify(&CID, raw.to_vec().into(), &signature).map(|_| ())
    };
    let mut raw = said(b"x").raw().to_vec();
    assert_eq!(sign(&raw), Ok(()));
    raw[0] = 2;
    assert_eq!(sign(&raw), Err(EventError::UnknownVersion(2)));
    raw[0] = 1;
    raw[5..37].fill(0xff);
    assert_eq!(sign(&raw), Err(EventError::BadDevice));

    // first events: the certificate must be there, verify, and be of this device
    let certificate = identity.certify(&device.id(), 5);
    let stranger = identity.certify(&DeviceKey::from_seed(&[9; 32]).id(), 5);
    let mut longer = genesis_body(&certificate).to_vec();
    longer.push(0);
    for body in [
        &genesis_body(&stranger)[..],
        &longer,
        &longer[..103],
        &[],
        &[0xff; GENESIS_LEN],
    ] {
        assert_eq!(
            author(0, EventId::ZERO, 1, body),
            Err(EventError::BadGenesis)
        );
    }
    let mut raw = genesis().raw().to_vec();
    raw[HEADER_LEN + 39] ^= 1; // another time in the certificate
    assert_eq!(sign(&raw), Err(EventError::BadGenesis));
}

#[test]
fn bodies_come_back() {
    let first = genesis();
    let certificate = first.certificate().unwrap();
    assert_eq!(
        (certificate.identity, certificate.device),
        (keys().0.id(), keys().1.id())
    );
    assert_eq!(Body::of(&first), Body::Genesis(certificate));
    assert_eq!(said(b"").certificate(), None);

    let long = "é".repeat(MAX_TEXT / 2);
    assert_eq!(
        Body::of(&said(&Body::text(&long).unwrap())),
        Body::Text(Said::plain(long.clone()))
    );
    assert_eq!(
        Body::text(&(long + "x")),
        Err(BodyError::TextTooLong(MAX_TEXT + 1))
    );
    assert_eq!(Body::text(""), Err(BodyError::EmptyText));
    assert_eq!(Body::of(&said(&Body::leave())), Body::Leave);
    assert_eq!(
        Body::of(&said(&Body::profile("Ann").unwrap())),
        Body::Profile { name: "Ann".into() }
    );
    for bad in ["", "a\nb", "\u{202e}x", &"x".repeat(65)] {
        assert_eq!(Body::profile(bad), Err(BodyError::BadName));
    }
}

#[test]
fn bodies_that_others_wrote_are_clamped_or_unknown() {
    let profile = |name: &str| {
        Body::of(&said(&body::encode(proto::event_body::Kind::Profile(
            proto::Profile { name: name.into() },
        ))))
    };
    assert_eq!(
        profile(&"x".repeat(100)),
        Body::Profile {
            name: "x".repeat(64)
        }
    );
    assert_eq!(
        profile("a\u{202e}\n\u{7}b"),
        Body::Profile { name: "ab".into() }
    );
    assert_eq!(profile("\n"), Body::Unknown);
    let words = |words: &str| {
        Body::of(&said(&body::encode(proto::event_body::Kind::Text(
            proto::Text {
                text: words.into(),
                ..proto::Text::default()
            },
        ))))
    };
    assert_eq!(words(""), Body::Unknown);
    assert_eq!(words(&"x".repeat(MAX_TEXT + 1)), Body::Unknown);
    // not protobuf, no kind, a kind of a later version, text that is not UTF-8
    for bytes in [
        &[0xff, 0xff][..],
        &[],
        &[0xfa, 0x01, 1, 1],
        &[0x0a, 3, 0x0a, 1, 0xff],
    ] {
        assert_eq!(Body::of(&said(bytes)), Body::Unknown, "{bytes:?}");
    }
}

#[test]
fn conversation_bodies_come_back() {
    let (target, other) = (EventId([3; 32]), EventId([4; 32]));
    let all = Said {
        text: "hi @Ann".into(),
        reply_to: Some(other),
        mentions: vec![[1; 32], [2; 32]],
    };
    let unanswering = Said {
        reply_to: None,
        ..all.clone()
    };
    let mark = ReadMark {
        lamport: LAMPORT_LIMIT - 1,
        device: [5; 32],
        seq: SEQ_LIMIT - 1,
    };
    let png = [&b"\x89PNG\r\n\x1a\n"[..], &[0; 8]].concat();
    let picture = Picture::new(png).unwrap();
    assert_eq!(picture.kind().media_type(), "image/png");
    let emoji = ["👍".to_owned(), "❤️".to_owned()];
    let cases = [
        (all.encode().unwrap(), Body::Text(all.clone())),
        (
            Body::edit(target, &all).unwrap(),
            Body::Edit {
                target,
                said: unanswering,
            },
        ),
        (Body::delete(target), Body::Delete { target }),
        (
            Body::react(target, &[&emoji[..], &emoji[..1]].concat()).unwrap(),
            Body::React {
                target,
                emoji: emoji.to_vec(),
            },
        ),
        (
            Body::react(target, &[]).unwrap(),
            Body::React {
                target,
                emoji: vec![],
            },
        ),
        (Body::read_mark(&mark), Body::Read(mark)),
        (
            Body::picture(Some(&picture)),
            Body::Picture(Some(picture.clone())),
        ),
        (Body::picture(None), Body::Picture(None)),
        (
            Body::status("at sea").unwrap(),
            Body::Status("at sea".into()),
        ),
        (Body::status("").unwrap(), Body::Status(String::new())),
    ];
    for (bytes, body) in cases {
        assert_eq!(Body::of(&said(&bytes)), body);
        let about = matches!(
            body,
            Body::Edit { .. } | Body::Delete { .. } | Body::React { .. }
        );
        assert_eq!(body.target(), about.then_some(target));
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let mut many = Said::plain("x");
    many.mentions = vec![[0; 32]; MAX_MENTIONS];
    assert!(many.encode().is_ok());
    many.mentions.push([0; 32]);
    assert_eq!(many.encode(), Err(BodyError::TooManyMentions));
    assert_eq!(
        Body::edit(EventId::ZERO, &Said::plain("")),
        Err(BodyError::EmptyText)
    );
    let react = |emoji: &[&str]| {
        let emoji: Vec<String> = emoji.iter().map(|&e| e.to_owned()).collect();
        Body::react(EventId::ZERO, &emoji).map(drop)
    };
    for bad in ["", " ", "a b", "a\u{202e}", "\u{1b}[", &"x".repeat(33)] {
        assert_eq!(react(&[bad]), Err(BodyError::BadEmoji), "{bad:?}");
    }
    assert_eq!(
        react(&["1", "2", "3", "4", "5", "6", "7", "8", "8"]),
        Ok(())
    );
    assert_eq!(
        react(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        Err(BodyError::TooManyEmoji)
    );
    assert_eq!(
        Body::status(&"x".repeat(MAX_STATUS + 1)),
        Err(BodyError::BadStatus)
    );
    assert_eq!(Body::status("a\nb"), Err(BodyError::BadStatus));
    let mut jpeg = vec![0xff; MAX_PICTURE];
    jpeg[1] = 0xd8;
    assert!(Picture::new(jpeg.clone()).is_ok());
    jpeg.push(0);
    for bad in [
        jpeg,
        vec![],
        b"GIF89a......".to_vec(),
        b"<svg></svg> ".to_vec(),
    ] {
        assert_eq!(Picture::new(bad), Err(BodyError::BadPicture));
    }
}

#[test]
fn conversation_bodies_that_break_a_rule_are_unknown() {
    use proto::event_body::Kind;
    let id = |len: usize| Bytes::from(vec![1; len]);
    let text = |reply_to, mentions| {
        Kind::Text(proto::Text {
            text: "x".into(),
            reply_to,
            mentions,
        })
    };
    let react = |emoji: &str| {
        Kind::React(proto::React {
            target: id(32),
            emoji: emoji.into(),
        })
    };
    let read = |lamport, len, seq| {
        Kind::Read(proto::Read {
            lamport,
            device: id(len),
            seq,
        })
    };
    let bad = [
        text(id(31), id(0)),
        text(id(0), id(33)),
        text(id(0), id(33 * 32)),
        Kind::Edit(proto::Edit {
            target: id(33),
            text: "x".into(),
            mentions: id(0),
        }),
        Kind::Edit(proto::Edit {
            target: id(32),
            text: String::new(),
            mentions: id(0),
        }),
        Kind::Delete(proto::Delete { target: id(0) }),
        react(" "),
        react("a  b"),
        react("a a"),
        react("a\nb"),
        react("1 2 3 4 5 6 7 8 9"),
        react(&"x".repeat(1_000)),
        read(LAMPORT_LIMIT, 32, 0),
        read(0, 31, 0),
        read(0, 32, SEQ_LIMIT),
        Kind::Picture(proto::Picture {
            image: Bytes::from_static(b"GIF89a......"),
        }),
    ];
    for kind in bad {
        assert_eq!(
            Body::of(&said(&body::encode(kind.clone()))),
            Body::Unknown,
            "{kind:?}"
        );
    }
    let status = Kind::Status(proto::Status {
        text: " a\u{202e}\nb ".into(),
    });
    assert_eq!(
        Body::of(&said(&body::encode(status))),
        Body::Status("ab".into())
    );
}

#[test]
fn two_events_with_one_number_are_a_fork() {
    let (a, b) = (said(b"a"), said(b"b"));
    assert!(a.forks(&b) && b.forks(&a));
    assert!(!a.forks(&a.clone()), "the same event twice is none");
    assert!(!a.forks(&genesis()), "nor are two numbers");
    let other = Event::author(
        &CID,
        &DeviceKey::from_seed(&[9; 32]),
        3,
        1,
        genesis().id(),
        9,
        0,
        b"a",
    )
    .unwrap();
    assert!(!a.forks(&other), "nor two devices");
}

#[test]
fn a_cache_of_keys_accepts_and_refuses_what_is_accepted_and_refused_without() {
    let mut cache = KeyCache::default();
    let event = said(b"x");
    let mut bad_signature = *event.signature();
    bad_signature[3] ^= 1;
    // The neutral point, of order 1; a key that is none; and again, since an entry must not be made by failing.
    let mut weak = event.raw().to_vec();
    weak[5..37].fill(0);
    weak[5] = 1;
    let mut none = event.raw().to_vec();
    none[5..37].fill(0xff);
    for _ in 0..2 {
        for (raw, signature) in [
            (event.raw().clone(), *event.signature()),
            (event.raw().clone(), bad_signature),
            (weak.clone().into(), *event.signature()),
            (none.clone().into(), *event.signature()),
        ] {
            assert_eq!(
                Event::verify_with(&CID, raw.clone(), &signature, &mut cache),
                Event::verify(&CID, raw, &signature)
            );
        }
    }
    // Any number of devices passes through it.
    for n in 0..600u64 {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        let device = DeviceKey::from_seed(&seed);
        let event =
            Event::author(&CID, &device, 0, 1, EventId([1; 32]), 2, 0, &Body::leave()).unwrap();
        let raw = event.raw().clone();
        Event::verify_with(&CID, raw, event.signature(), &mut cache).unwrap();
    }
}

/// `cargo test --release -p bitchat-wire -- --ignored --nocapture events_a_second`
#[test]
#[ignore = "a measurement"]
fn events_a_second() {
    let events: Vec<Event> = (0..2_000u32).map(|n| said(&n.to_be_bytes())).collect();
    let measure = |what: &str, check: &mut dyn FnMut(&Event)| {
        let begin = std::time::Instant::now();
        events.iter().for_each(check);
        let rate = events.len() as f64 / begin.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} events/s");
    };
    measure("each key anew", &mut |event| {
        Event::verify(&CID, event.raw().clone(), event.signature()).unwrap();
    });
    let mut cache = KeyCache::default();
    measure("each key once", &mut |event| {
        Event::verify_with(&CID, event.raw().clone(), event.signature(), &mut cache).unwrap();
    });
    measure("from the store", &mut |event| {
        Event::from_store(&CID, event.raw().clone(), event.signature()).unwrap();
    });
}
