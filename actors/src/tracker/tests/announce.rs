#![allow(clippy::unwrap_used)]
use crate::{
    disguise::{Disguise, Persona},
    tracker::announce::*,
};

const HASH: [u8; 20] = [
    0x00, 0xa5, 0x7e, 0x2d, 0x5f, 0x2e, 0x21, 0x2a, 0x27, 0x28, 0x29, 0x7e, 0x41, 0x7a, 0x30, 0x5c,
    0x20, 0xff, 0x0a, 0x7f,
];

/// What a real client sent for that hash (see `actors/tests/captures`), with its PeerId and key.
struct Recorded {
    disguise: Disguise,
    persona: Persona,
    port: u16,
    http: &'static str,
    udp: &'static str,
}

const RECORDED: [Recorded; 2] = [
    Recorded {
        disguise: Disguise::Transmission300,
        persona: Persona {
            peer_id: *b"-TR3000-eca5j3r51ax5",
            key: 0x2b57_93c1,
        },
        port: 51_413,
        http: include_str!("../../../tests/captures/transmission-3.00.http"),
        udp: include_str!("../../../tests/captures/transmission-3.00.udp"),
    },
    Recorded {
        disguise: Disguise::Qbittorrent452,
        persona: Persona {
            peer_id: *b"-qB4520-H3(gX5d39TTS",
            key: 0x02fb_2a41,
        },
        port: 30_680,
        http: include_str!("../../../tests/captures/qbittorrent-4.5.2.http"),
        udp: include_str!("../../../tests/captures/qbittorrent-4.5.2.udp"),
    },
];

impl Recorded {
    fn announce(&self, event: Event, tracker_id: Option<&'static [u8]>) -> Announce<'_> {
        Announce {
            disguise: self.disguise,
            hash: &HASH,
            persona: &self.persona,
            port: self.port,
            event,
            tracker_id,
        }
    }
}

fn event_of(text: &str) -> Event {
    match text {
        "started" => Event::Started,
        "regular" => Event::Regular,
        "stopped" => Event::Stopped,
        other => panic!("{other}"),
    }
}

#[test]
fn queries_are_those_of_the_recorded_clients() {
    for recorded in &RECORDED {
        let mut compared = 0;
        let tracker = "http://tracker.lab.test:7001/announce".parse().unwrap();
        for line in recorded
            .http
            .lines()
            .filter(|line| line.starts_with("GET "))
        {
            let target = line.split(' ').nth(1).unwrap();
            let url = if target.starts_with("/scrape") {
                let first = *b"\x24o\xe2M-\xfd(\x8b\xe3o&C\xf1\xee![\x27*\x8e5";
                scrape_url(recorded.disguise, &tracker, &[first, HASH]).unwrap()
            } else {
                let event = match target.split("&event=").nth(1) {
                    Some(rest) => event_of(rest.split('&').next().unwrap()),
                    None => Event::Regular,
                };
                let id = target.contains("trackerid").then_some(&b"TRK-lab-1"[..]);
                recorded.announce(event, id).url(&tracker)
            };
            assert_eq!(
                format!("{}?{}", url.path(), url.query().unwrap()),
                target,
                "{}",
                recorded.disguise
            );
            compared += 1;
        }
        assert!(compared >= 2);
    }
}

#[test]
fn datagrams_are_those_of_the_recorded_clients() {
    for recorded in &RECORDED {
        for line in recorded.udp.lines() {
            let (event, bytes) = line.split_once('=').unwrap();
            let announce = recorded.announce(event_of(event), Some(b"not for UDP"));
            let url = "udp://tracker.lab.test:7002/announce".parse().unwrap();
            assert_eq!(hex::encode(announce.datagram(&url)), bytes, "{line}");
        }
        assert!(recorded.udp.lines().count() >= 2);
    }
}

#[test]
fn newer_versions_differ_where_their_sources_do() {
    let persona = Persona {
        peer_id: *b"-TR4130-eca5j3r51ax5",
        key: 0x056b_15bd,
    };
    let newer = |disguise, event, tracker_id| {
        Announce {
            disguise,
            hash: &HASH,
            persona: &persona,
            port: 51_413,
            event,
            tracker_id,
        }
        .query()
    };
    let common = "info_hash=%00%A5~-_.%21%2A%27%28%29~Az0%5C%20%FF%0A%7F&peer_id=-TR4130-eca5j3r51ax5&port=51413&uploaded=0&downloaded=0&left=9223372036854775807";
    assert_eq!(
        newer(Disguise::Transmission41, Event::Started, None),
        format!("{common}&numwant=80&key=056B15BD&compact=1&supportcrypto=1&event=started")
    );
    assert_eq!(
        newer(
            Disguise::Transmission41,
            Event::Stopped,
            Some(&b"a&b c"[..])
        ),
        format!(
            "{common}&numwant=0&key=056B15BD&compact=1&supportcrypto=1&event=stopped&trackerid=a%26b%20c"
        )
    );
    // Between the two of qBittorrent, only peer ids and the user agent differ.
    assert_eq!(
        newer(Disguise::Qbittorrent52, Event::Regular, None),
        newer(Disguise::Qbittorrent452, Event::Regular, None)
    );
    let agents = [
        (Disguise::Transmission41, "Transmission/4.1.3"),
        (Disguise::Qbittorrent52, "qBittorrent/5.2.3"),
    ];
    for (disguise, agent) in agents {
        assert_eq!(disguise.client().headers[0], ("user-agent", agent));
    }
}

#[test]
fn keeps_a_trackers_own_query() {
    let announce = RECORDED[0].announce(Event::Regular, None);
    for (tracker, start) in [
        ("http://t.example/announce", "/announce?info_hash=%00%a5"),
        ("http://t.example/announce?", "/announce?&info_hash=%00"),
        ("http://t.example/a?pass=x#top", "/a?pass=x&info_hash=%00"),
        ("http://t.example", "/?info_hash=%00"),
    ] {
        let url = announce.url(&tracker.parse().unwrap());
        let sent = format!("{}?{}", url.path(), url.query().unwrap());
        assert!(sent.starts_with(start), "{sent}");
        assert!(sent.ends_with(&announce.query()), "{sent}");
    }
}

#[test]
fn the_tail_of_a_datagram() {
    let tail = |recorded: &Recorded, url: &str| {
        let announce = recorded.announce(Event::Started, None);
        announce.datagram(&url.parse().unwrap()).split_off(82)
    };
    let [transmission, qbittorrent] = &RECORDED;
    let long = format!("udp://t.example:80/{}", "x".repeat(299));
    for url in ["udp://t.example:80", "udp://t.example:80/a?k=1", &long] {
        assert_eq!(tail(transmission, url), b"");
    }
    assert_eq!(tail(qbittorrent, "udp://t.example:80"), b"");
    assert_eq!(
        tail(qbittorrent, "udp://t.example:80/a?k=1"),
        b"\x02\x06/a?k=1"
    );
    let cut = tail(qbittorrent, &long);
    assert_eq!((cut[0], cut[1], cut.len()), (2, 255, 257));
}

#[test]
fn not_every_tracker_can_be_scraped() {
    let scrape = |url: &str| {
        let url = scrape_url(Disguise::default(), &url.parse().unwrap(), &[HASH])?;
        Some(
            url.to_string()
                .split_once("info_hash")
                .unwrap()
                .0
                .to_owned(),
        )
    };
    for (tracker, at) in [
        (
            "http://t.example/announce",
            Some("http://t.example/scrape?"),
        ),
        (
            "http://t.example/x/announce.php?k=1",
            Some("http://t.example/x/scrape.php?k=1&"),
        ),
        ("http://t.example/a", None),
        ("http://t.example/announce/a", None),
    ] {
        assert_eq!(scrape(tracker).as_deref(), at);
    }
}
