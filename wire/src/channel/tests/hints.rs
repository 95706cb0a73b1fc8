#![allow(clippy::unwrap_used)]
use zeroize::Zeroizing;

use super::*;
use crate::channel::{
    ChannelFile, ChannelFileError as E, NewChannel,
    file::tests::{error, file, new_channel, owner, with_key},
};

#[test]
fn hints_that_cannot_be_used_are_dropped_when_read() {
    let file = ChannelFile::parse(&with_key(
        "announce-list",
        b"l l 12:ftp://a/long 9:http://ok 3:\xff\xff\xff 11:udp://a.b:1 el 3:bad e l e e"
            .split(|b| *b == b' ')
            .collect::<Vec<_>>()
            .concat()
            .as_slice(),
    ));
    assert_eq!(file.unwrap().trackers(), [vec!["http://ok", "udp://a.b:1"]]);
    // nothing usable in the list: `announce` counts
    let file = ChannelFile::parse(&with_key("announce-list", b"ll3:badee")).unwrap();
    assert_eq!(file.trackers(), [vec!["http://a.example/announce"]]);

    let many = |n: usize| format!("l{}e", format!("l{}e", "9:http://ok".repeat(40)).repeat(n));
    let file = ChannelFile::parse(&with_key("announce-list", many(3).as_bytes())).unwrap();
    assert_eq!(
        file.trackers().iter().map(Vec::len).collect::<Vec<_>>(),
        [40, 24]
    );

    let nodes = b"ll1:ai1eel1:bi0eel1:ci65536eel1:di-1eel0:i1eel2:\xff\xffi1eel1:/i1eee";
    assert_eq!(
        ChannelFile::parse(&with_key("nodes", nodes))
            .unwrap()
            .nodes(),
        [("a".to_owned(), 1)]
    );
    let relays = b"l5:/ip4/1:/4:ip4/i3e3:/\n/e";
    assert_eq!(
        ChannelFile::parse(&with_key("relays", relays))
            .unwrap()
            .relays(),
        ["/ip4/"]
    );
    let relays = format!("l{}e", "2:/x".repeat(100));
    assert_eq!(
        ChannelFile::parse(&with_key("relays", relays.as_bytes()))
            .unwrap()
            .relays()
            .len(),
        MAX_RELAYS
    );

    for (key, raw) in [
        ("announce", "le"),
        ("announce-list", "1:x"),
        ("announce-list", "l1:xe"),
        ("nodes", "l1:xe"),
        ("nodes", "ll1:aee"),
        ("nodes", "lli1e1:aee"),
        ("relays", "de"),
    ] {
        assert_eq!(
            error(ChannelFile::parse(&with_key(key, raw.as_bytes()))),
            E::BadValue(key),
            "{raw}"
        );
    }
}

#[test]
fn hints_that_cannot_be_used_are_refused_when_written() {
    let create = |change: &dyn Fn(&mut NewChannel<'_>)| {
        let mut new = new_channel("x");
        change(&mut new);
        error(ChannelFile::create(new, &owner()))
    };
    let long = format!("http://{}", "x".repeat(MAX_URL));
    for bad in [
        "",
        "a.example",
        "ftp://a.example",
        "http://",
        "http://:80/",
        "http://a:0/",
        "http://a:99999/",
        "udp://a.example",
        "udp://[::1]",
        "http://a b",
        "http://a\n",
        "http://é",
        &long,
    ] {
        let refused =
            create(&|new| new.trackers = vec![vec!["http://a.example".into()], vec![bad.into()]]);
        assert!(matches!(refused, E::BadTracker(_)), "{bad}");
    }
    for good in [
        "http://a",
        "HTTPS://a.example:443/x/announce?key=1",
        "udp://a.example:80/announce",
        "udp://[::1]:6969",
        "http://[::1]/announce",
        "http://u:p@a:1/announce",
    ] {
        let mut new = new_channel("x");
        new.trackers = vec![vec![good.into()]];
        assert_eq!(
            ChannelFile::create(new, &owner()).unwrap().trackers(),
            [vec![good]],
            "{good}"
        );
    }
    assert_eq!(
        create(&|new| new.trackers = vec![vec!["http://a".into(); 65]]),
        E::TooManyHints {
            what: "trackers",
            max: 64
        }
    );
    assert_eq!(
        create(&|new| new.nodes = vec![("a".into(), 0)]),
        E::BadNode("a:0".into())
    );
    assert_eq!(
        create(&|new| new.nodes = vec![("a b".into(), 1)]),
        E::BadNode("a b:1".into())
    );
    assert_eq!(
        create(&|new| new.nodes = vec![("a".into(), 1); 65]),
        E::TooManyHints {
            what: "DHT nodes",
            max: 64
        }
    );
    assert_eq!(
        create(&|new| new.relays = vec!["x".into()]),
        E::BadRelay("x".into())
    );
    assert_eq!(
        create(&|new| new.relays = vec!["/x".into(); 65]),
        E::TooManyHints {
            what: "relays",
            max: 64
        }
    );
    assert_eq!(
        create(&|new| new.secret = Zeroizing::new([0; 32])),
        E::ZeroSecret
    );
    assert_eq!(
        create(&|new| new.created = u64::MAX),
        E::BadValue("info.created")
    );
    assert_eq!(
        error(ChannelFile::create(new_channel("a\u{202e}b"), &owner())),
        E::BadName
    );
    assert!(file().with_trackers(vec![vec!["x".into()]]).is_err());
}
