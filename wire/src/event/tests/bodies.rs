use bytes::Bytes;

use super::*;
use crate::proto;

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
        Err(TextError::TooLong(MAX_TEXT + 1).into())
    );
    assert_eq!(Body::text(""), Err(TextError::Empty.into()));
    assert_eq!(Body::of(&said(&Body::leave())), Body::Leave);
    assert_eq!(
        Body::of(&said(&Body::profile("Ann").unwrap())),
        Body::Profile { name: "Ann".into() }
    );
    for bad in ["", "a\nb", "\u{202e}x", &"x".repeat(65)] {
        assert_eq!(Body::profile(bad), Err(ProfileError::BadName.into()));
    }
}

#[test]
fn bodies_that_others_wrote_are_clamped_or_unknown() {
    let profile = |name: &str| {
        Body::of(&said(&codec::encode(proto::event_body::Kind::Profile(
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
        Body::of(&said(&codec::encode(proto::event_body::Kind::Text(
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
    assert_eq!(many.encode(), Err(TextError::TooManyMentions));
    assert_eq!(
        Body::edit(EventId::ZERO, &Said::plain("")),
        Err(TextError::Empty.into())
    );
    let react = |emoji: &[&str]| {
        let emoji: Vec<String> = emoji.iter().map(|&e| e.to_owned()).collect();
        Body::react(EventId::ZERO, &emoji).map(drop)
    };
    for bad in ["", " ", "a b", "a\u{202e}", "\u{1b}[", &"x".repeat(33)] {
        assert_eq!(react(&[bad]), Err(TextError::BadEmoji.into()), "{bad:?}");
    }
    assert_eq!(
        react(&["1", "2", "3", "4", "5", "6", "7", "8", "8"]),
        Ok(())
    );
    assert_eq!(
        react(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        Err(TextError::TooManyEmoji.into())
    );
    assert_eq!(
        Body::status(&"x".repeat(MAX_STATUS + 1)),
        Err(ProfileError::BadStatus.into())
    );
    assert_eq!(Body::status("a\nb"), Err(ProfileError::BadStatus.into()));
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
        assert_eq!(Picture::new(bad), Err(ProfileError::BadPicture));
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
            Body::of(&said(&codec::encode(kind.clone()))),
            Body::Unknown,
            "{kind:?}"
        );
    }
    let status = Kind::Status(proto::Status {
        text: " a\u{202e}\nb ".into(),
    });
    assert_eq!(
        Body::of(&said(&codec::encode(status))),
        Body::Status("ab".into())
    );
}
