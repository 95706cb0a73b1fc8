#![allow(clippy::unwrap_used)]
use super::*;
use ChannelFileError as E;

pub(in crate::channel) fn owner() -> IdentityKey {
    IdentityKey::from_seed(&[1; 32])
}

pub(in crate::channel) fn new_channel(name: &str) -> NewChannel<'_> {
    NewChannel {
        name,
        policy: Policy::Open,
        rotation: Rotation::Daily,
        trackers: vec![
            vec![
                "http://a.example/announce".into(),
                "udp://a.example:6969".into(),
            ],
            vec![],
            vec!["https://b.example/announce".into()],
        ],
        nodes: vec![("dht.example".into(), 6881), ("2001:db8::1".into(), 1)],
        relays: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        created: 1_700_000_000,
        secret: Zeroizing::new([5; 32]),
    }
}

pub(in crate::channel) fn file() -> ChannelFile {
    ChannelFile::create(new_channel("Friends"), &owner()).unwrap()
}

/// The keys of a valid file's `info`.
fn info_keys() -> Keys {
    let file = file();
    let info = bencode::raw_value(&file.raw, b"info").unwrap();
    bencode::entries(info)
        .map(|(key, value)| (key.to_vec(), Zeroizing::new(value.to_vec())))
        .collect()
}

/// A file with only this `info`, signed by the usual owner.
fn signed(info: &[u8]) -> Vec<u8> {
    let mut keys = Keys::new();
    keys.insert(b"info".to_vec(), Zeroizing::new(info.to_vec()));
    put(
        &mut keys,
        "signature",
        serde_bytes::Bytes::new(&owner().sign(SIGNATURE_LABEL, &[info])),
    );
    write(&keys).to_vec()
}

/// The error of a file whose `info` has this value for `key`.
fn with_info(key: &str, raw: &[u8]) -> Result<ChannelFile, E> {
    let mut info = info_keys();
    info.insert(key.as_bytes().to_vec(), Zeroizing::new(raw.to_vec()));
    ChannelFile::parse(&signed(&write(&info)))
}

/// A valid file with this raw value for a top-level key.
pub(in crate::channel) fn with_key(key: &str, raw: &[u8]) -> Vec<u8> {
    let file = file();
    let mut keys: Keys = bencode::entries(&file.raw)
        .map(|(key, value)| (key.to_vec(), Zeroizing::new(value.to_vec())))
        .collect();
    keys.insert(key.as_bytes().to_vec(), Zeroizing::new(raw.to_vec()));
    write(&keys).to_vec()
}

pub(in crate::channel) fn error(result: Result<ChannelFile, E>) -> E {
    let error = result.unwrap_err();
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 250, "{line}");
    error
}

#[test]
fn what_is_created_is_parsed() {
    let file = file();
    let bytes = file.to_bytes();
    assert!(bytes.starts_with(b"d8:announce25:http://a.example/announce13:announce-listll25:http"));
    for again in [
        ChannelFile::parse(&bytes).unwrap(),
        ChannelFile::parse_link(&file.to_link()).unwrap(),
    ] {
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(again.id(), file.id());
        let info = again.info();
        assert_eq!(
            (info.name.as_str(), info.created, info.version),
            ("Friends", 1_700_000_000, 1)
        );
        assert_eq!(
            (info.owner, info.policy, *info.secret),
            (owner().id(), Policy::Open, [5; 32])
        );
        assert_eq!(
            again.trackers(),
            [
                vec!["http://a.example/announce", "udp://a.example:6969"],
                vec!["https://b.example/announce"]
            ]
        );
        assert_eq!(again.nodes(), new_channel("").nodes);
        assert_eq!(again.relays(), new_channel("").relays);
    }
    let raw_info = bencode::raw_value(&bytes, b"info").unwrap();
    assert_eq!(file.id(), ChannelId::of_info(raw_info));
    assert_eq!(file.infohash(), <[u8; 20]>::from(Sha1::digest(raw_info)));
}

#[test]
fn links_tolerate_white_space_and_case_of_the_scheme() {
    let link = file().to_link();
    let loud = link.replacen("bitchat", "BitChat", 1);
    for ok in [format!(" \t{link}\r\n"), loud] {
        assert_eq!(ChannelFile::parse_link(&ok).unwrap().to_link(), link);
    }
    for bad in [
        "",
        "bitchat",
        "bitchat1qqq",
        "http://x",
        &format!("{link}="),
        &link.replacen('-', "+", 1),
        &format!("{link} {link}"),
        "bitchat:é",
        "日本語日本語日本語",
    ] {
        if bad != link {
            assert_eq!(error(ChannelFile::parse_link(bad)), E::BadLink, "{bad}");
        }
    }
    assert_eq!(error(ChannelFile::parse_link("bitchat:")), E::NotBencode(0));
    assert_eq!(
        error(ChannelFile::parse_link(&format!(
            "bitchat:{}",
            "A".repeat(MAX_LINK + 1)
        ))),
        E::TooLarge
    );
    assert_eq!(
        error(ChannelFile::parse_link(&format!(
            "bitchat:{}",
            "A".repeat(MAX_LINK)
        ))),
        E::NotBencode(0)
    );
}

#[test]
fn each_bad_file_has_its_own_error() {
    let good = file().to_bytes();
    let parse = |bytes: &[u8]| error(ChannelFile::parse(bytes));
    assert_eq!(parse(b""), E::NotBencode(0));
    assert_eq!(parse(b"<!DOCTYPE html>"), E::NotBencode(0));
    assert_eq!(
        parse(&good[..good.len() - 1]),
        E::NotBencode(good.len() - 1)
    );
    assert_eq!(parse(&vec![b'd'; MAX_FILE + 1]), E::TooLarge);
    assert_eq!(parse("l".repeat(100_000).as_bytes()), E::TooDeep(16));
    assert_eq!(
        parse(format!("l{}e", "0:".repeat(20_000)).as_bytes()),
        E::TooManyValues(16_384)
    );
    assert_eq!(parse(b"i1e"), E::NotADictionary);
    assert_eq!(parse(b"4:spam"), E::NotADictionary);
    assert_eq!(parse(b"d1:b0:1:a0:e"), E::NotCanonical(6));
    assert_eq!(parse(&[&good[..], b"\n"].concat()), E::Trailing(1));
    assert_eq!(parse(b"de"), E::Missing("info"));
    let info = bencode::raw_value(&good, b"info").unwrap();
    assert_eq!(
        parse(&[b"d4:info", info, b"e"].concat()),
        E::Missing("signature")
    );
    assert_eq!(
        parse(&[b"d4:info", info, b"9:signature1:xe"].concat()),
        E::BadValue("signature")
    );
    assert_eq!(parse(b"d4:infoi1e9:signature0:e"), E::BadValue("info"));
    assert_eq!(
        parse(&with_key("signature", &[b"64:", &[0; 64][..]].concat())),
        E::BadSignature
    );
    // a torrent
    assert_eq!(
        parse(b"d8:announce1:x4:infod6:lengthi1e4:name1:x12:piece lengthi1e6:pieces0:ee"),
        E::Missing("info.version")
    );
}

#[test]
fn each_key_of_info_is_needed_and_checked() {
    for (key, label) in [
        ("created", "info.created"),
        ("name", "info.name"),
        ("owner", "info.owner"),
        ("policy", "info.policy"),
        ("secret", "info.secret"),
        ("version", "info.version"),
    ] {
        let mut info = info_keys();
        info.remove(key.as_bytes());
        assert_eq!(
            error(ChannelFile::parse(&signed(&write(&info)))),
            E::Missing(label)
        );
        assert_eq!(error(with_info(key, b"le")), E::BadValue(label));
    }
    assert_eq!(
        error(with_info("created", b"i-1e")),
        E::BadValue("info.created")
    );
    assert_eq!(
        error(with_info("created", b"i99999999999999999999e")),
        E::BadValue("info.created")
    );
    assert_eq!(
        error(with_info("created", b"1:1")),
        E::BadValue("info.created")
    );
    assert_eq!(error(with_info("version", b"i2e")), E::UnknownVersion(2));
    assert_eq!(error(with_info("version", b"i0e")), E::UnknownVersion(0));
    assert!(
        E::UnknownVersion(2).to_string().contains("version 2")
            && E::UnknownVersion(2).to_string().contains("newer program")
    );
    assert_eq!(
        error(with_info("name", b"2:\xff\xff")),
        E::BadValue("info.name")
    );
    assert_eq!(error(with_info("name", b"0:")), E::BadName);
    assert_eq!(error(with_info("name", b"3:a\nb")), E::BadName);
    assert_eq!(
        error(with_info(
            "name",
            format!("129:{}", "x".repeat(129)).as_bytes()
        )),
        E::BadName
    );
    assert_eq!(
        with_info("name", format!("128:{}", "x".repeat(128)).as_bytes())
            .unwrap()
            .info()
            .name
            .len(),
        128
    );
    assert_eq!(error(with_info("policy", b"4:Open")), E::UnknownPolicy);
    assert_eq!(
        with_info("policy", b"6:invite").unwrap().info().policy,
        Policy::Invite
    );
    assert_eq!(
        error(with_info("owner", &[b"32:", &[0xff; 32][..]].concat())),
        E::BadValue("info.owner")
    );
    assert_eq!(error(with_info("owner", b"1:x")), E::BadValue("info.owner"));
    assert_eq!(
        error(with_info("secret", &[b"31:", &[1; 31][..]].concat())),
        E::BadValue("info.secret")
    );
    assert_eq!(
        error(with_info("secret", &[b"32:", &[0; 32][..]].concat())),
        E::ZeroSecret
    );
}

#[test]
fn a_file_may_fix_its_hash() {
    let usual = file();
    assert_eq!(usual.info().rotation, Rotation::Daily);
    assert!(!usual.keys().is_fixed());
    let new = NewChannel {
        rotation: Rotation::Never,
        ..new_channel("Friends")
    };
    let file = ChannelFile::create(new, &owner()).unwrap();
    let bytes = file.to_bytes();
    assert_eq!(
        bytes.windows(9).filter(|w| w == b"6:rotatei").count(),
        1,
        "it is in the file"
    );
    let again = ChannelFile::parse_link(&file.to_link()).unwrap();
    assert_eq!(again.info().rotation, Rotation::Never);
    assert_eq!(again.to_bytes(), bytes);
    assert_ne!(again.id(), usual.id(), "it is another channel");
    let moved = again.with_trackers(vec![]).unwrap();
    for file in [file, again, moved] {
        let hash = RendezvousHash(file.infohash());
        for unix in [0, 1_700_000_000, u64::MAX] {
            assert_eq!(file.keys().announced(unix), [hash]);
        }
    }

    assert_eq!(error(with_info("rotate", b"i1e")), E::UnknownRotation);
    assert_eq!(error(with_info("rotate", b"i86400e")), E::UnknownRotation);
    for bad in [&b"i-1e"[..], b"1:0", b"le", b"i18446744073709551616e"] {
        assert_eq!(error(with_info("rotate", bad)), E::BadValue("info.rotate"));
    }
}

#[test]
fn a_changed_info_is_another_channel_and_badly_signed() {
    let file = file();
    let bytes = file.to_bytes();
    let at = bytes
        .windows(7)
        .position(|window| window == b"Friends")
        .unwrap();
    let mut forged = bytes.clone();
    forged[at] = b'f';
    assert_eq!(error(ChannelFile::parse(&forged)), E::BadSignature);
    // the same secret under another owner: valid, but not the same channel
    let other =
        ChannelFile::create(new_channel("Friends"), &IdentityKey::from_seed(&[2; 32])).unwrap();
    assert_ne!(other.id(), file.id());
}

#[test]
fn unknown_keys_are_kept_byte_for_byte() {
    let mut info = info_keys();
    info.insert(
        b"x-big".to_vec(),
        Zeroizing::new(b"i123456789012345678901234567890e".to_vec()),
    );
    info.insert(
        b"a\xff".to_vec(),
        Zeroizing::new(b"ld1:ad1:bleeee".to_vec()),
    );
    let raw_info = write(&info);
    let mut bytes = signed(&raw_info);
    bytes.pop();
    bytes.extend_from_slice(b"1:zli1ed0:0:eee");
    let file = ChannelFile::parse(&bytes).unwrap();
    assert_eq!(file.to_bytes(), bytes);
    assert_eq!(file.id(), ChannelId::of_info(&raw_info));

    let more = file
        .with_trackers(vec![vec!["http://c.example/announce".into()]])
        .unwrap();
    assert_eq!(more.id(), file.id());
    let expected = [b"d8:announce25:http://c.example/announce", &bytes[1..]].concat();
    assert_eq!(more.to_bytes(), expected);
    assert_eq!(more.with_trackers(vec![]).unwrap().to_bytes(), bytes);
}

#[test]
fn a_file_without_hints_is_valid() {
    let mut new = new_channel("x");
    (new.trackers, new.nodes, new.relays) = (vec![], vec![], vec![]);
    let file = ChannelFile::create(new, &owner()).unwrap();
    assert!(file.trackers().is_empty() && file.nodes().is_empty() && file.relays().is_empty());
    assert_eq!(bencode::entries(&file.to_bytes()).count(), 2);
}

#[test]
fn debug_keeps_the_secret() {
    let shown = format!("{:?} {:?}", file(), file().info());
    assert!(shown.contains("Friends"));
    for secret in ["5, 5", "0505", "secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
