#![allow(clippy::unwrap_used)]
use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use proptest::prelude::*;

use crate::{tracker::reply::*, transport::network};

fn peers(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|peer| peer.parse().unwrap()).collect()
}

fn with_peers(key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = format!("d8:intervali1800e{}:{key}{}:", key.len(), bytes.len()).into_bytes();
    body.extend_from_slice(bytes);
    body.push(b'e');
    body
}

#[test]
fn reads_compact_peers_of_both_families() {
    let answer = parse(&with_peers(
        "peers",
        &[10, 0, 0, 1, 0x1a, 0xe1, 1, 2, 3, 4, 0, 80, 9],
    ))
    .unwrap();
    assert_eq!(answer.peers, peers(&["10.0.0.1:6881", "1.2.3.4:80"]));
    assert_eq!(answer.interval, Some(Duration::from_secs(1800)));
    let mut v6 = Ipv6Addr::LOCALHOST.octets().to_vec();
    v6.extend_from_slice(&[0, 7]);
    v6.extend_from_slice(&"::ffff:1.2.3.4".parse::<Ipv6Addr>().unwrap().octets());
    v6.extend_from_slice(&[0, 8]);
    assert_eq!(
        parse(&with_peers("peers6", &v6)).unwrap().peers,
        peers(&["[::1]:7", "1.2.3.4:8"])
    );
}

#[test]
fn ignores_addresses_that_cannot_be_a_peer() {
    let bytes = [
        1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 9, 224, 0, 0, 1, 0, 9, 255, 255, 255, 255, 0, 9,
    ];
    assert_eq!(parse(&with_peers("peers", &bytes)).unwrap().peers, []);
}

#[test]
fn reads_dictionary_peers() {
    let body = b"d5:peersld2:ip7:1.2.3.47:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti9eed2:ip3:::14:porti8eed2:ip9:localhost4:porti8eed2:ip7:1.2.3.44:porti70000eei7e3:abcee";
    assert_eq!(parse(body).unwrap().peers, peers(&["1.2.3.4:9", "[::1]:8"]));
}

#[test]
fn keeps_a_thousand_peers_of_ten() {
    let compact: Vec<u8> = (0..10_000u32)
        .flat_map(|n| {
            let [_, b, c, d] = n.to_be_bytes();
            [9, b, c, d, 1, 1]
        })
        .collect();
    assert_eq!(
        parse(&with_peers("peers", &compact)).unwrap().peers.len(),
        MAX_PEERS
    );
    let mut body = b"d5:peersl".to_vec();
    for n in 0..10_000 {
        body.extend_from_slice(format!("d2:ip7:1.2.3.44:porti{}ee", 1 + n).as_bytes());
    }
    body.extend_from_slice(b"ee");
    assert_eq!(parse(&body).unwrap().peers.len(), MAX_PEERS);
}

#[test]
fn reads_the_optional_keys() {
    let answer = parse(b"d8:completei1e11:external ip4:\x01\x02\x03\x0410:incompletei2e8:intervali60e12:min intervali30e5:peers0:10:tracker id9:TRK-lab-115:warning message3:huee\n").unwrap();
    assert_eq!(answer.external, Some("1.2.3.4".parse().unwrap()));
    assert_eq!(answer.min_interval, Some(Duration::from_secs(30)));
    assert_eq!(answer.tracker_id.as_deref(), Some(&b"TRK-lab-1"[..]));
    assert_eq!(answer.warning.as_deref(), Some("hue"));
    let long = parse(format!("d8:intervali60e10:tracker id200:{}e", "x".repeat(200)).as_bytes());
    assert_eq!(long.unwrap().tracker_id, None);
    let odd = parse(b"d8:intervali-5e12:min intervali99999999999999999999e5:peers0:e").unwrap();
    assert_eq!((odd.interval, odd.min_interval), (None, None));
    let far = parse(b"d8:intervali9223372036854775807e5:peers0:e").unwrap();
    assert_eq!(far.interval, Some(MAX_PAUSE));
}

#[test]
fn reads_refusals() {
    let refused = |reason: &str, retry| {
        Err(ReplyError::Refused {
            reason: reason.to_owned(),
            retry,
        })
    };
    assert_eq!(parse(b"d14:failure reason4:gonee"), refused("gone", None));
    assert_eq!(
        parse(b"d14:failure reason4:gone8:retry in5:nevere"),
        refused("gone", Some(Retry::Never))
    );
    let five = Some(Retry::After(Duration::from_secs(300)));
    assert_eq!(
        parse(b"d14:failure reason4:gone8:retry ini5ee"),
        refused("gone", five)
    );
    assert_eq!(
        parse(b"d14:failure reason4:gone8:retry in1:5e"),
        refused("gone", five)
    );
    assert_eq!(
        parse(b"d14:failure reason4:gone8:retry ini-5ee"),
        refused("gone", None)
    );
    assert_eq!(
        parse("d14:failure reason17:a\nb\u{1b}[31m\u{202e}\u{0}\u{7}ef  e".as_bytes()),
        refused("a b[31mef", None)
    );
}

#[test]
fn reports_what_is_wrong() {
    assert_eq!(parse(b""), Err(ReplyError::NotBencode));
    assert_eq!(parse(b"<html>"), Err(ReplyError::NotBencode));
    assert_eq!(parse(b"de"), Err(ReplyError::NoAnswer));
    assert_eq!(parse(b"le"), Err(ReplyError::NoAnswer));
    let deep = [
        b"d5:peers".as_slice(),
        &b"l".repeat(100_000),
        &b"e".repeat(100_001),
    ]
    .concat();
    assert!(matches!(parse(&deep), Err(ReplyError::OutOfBounds(_))));
    let many = [b"d5:peersl".as_slice(), &b"0:".repeat(300_000), b"ee"].concat();
    assert!(matches!(parse(&many), Err(ReplyError::OutOfBounds(_))));
}

proptest! {
    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&body);
    }

    #[test]
    fn never_panics_on_damaged_answers(
        at in 0usize..120, byte in any::<u8>(), cut in 0usize..130,
    ) {
        let mut body = b"d8:intervali60e5:peersld2:ip7:1.2.3.44:porti9eee6:peers618:aaaaaaaaaaaaaaaaaa10:tracker id3:abc15:warning message3:huee".to_vec();
        let at = at.min(body.len() - 1);
        body[at] = byte;
        body.truncate(cut);
        if let Ok(answer) = parse(&body) {
            prop_assert!(answer.peers.iter().all(|peer| network::is_plausible(*peer)));
        }
    }

    #[test]
    fn texts_are_short_and_plain(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let text = plain(&bytes);
        prop_assert!(text.chars().count() <= MAX_TEXT);
        prop_assert!(!text.chars().any(char::is_control));
    }
}
