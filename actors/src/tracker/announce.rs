//! What an announce looks like, byte for byte: that of Transmission 4 (BEP 3, 7 and 23 for the meaning).
//!
//! To a tracker each rendezvous hash is a torrent of its own, that a client waits for the metadata of:
//! `started`, nothing, `stopped`, never `completed`. Pure: the random generator is passed in.

use rand::{Rng, RngExt};

/// The client that an announce says it comes from.
pub(super) const USER_AGENT: &str = "Transmission/4.1.3";
/// Its `Accept` header.
pub(super) const ACCEPT: &str = "*/*";
/// Its `Accept-Encoding` header.
pub(super) const ACCEPT_ENCODING: &str = "deflate, gzip, br, zstd";

/// How peer ids of that client begin.
const PEER_ID_PREFIX: &[u8; 8] = b"-TR4130-";
/// What the rest of its peer ids is made of.
const PEER_ID_DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// How many peers are asked for.
const WANTED: u32 = 80;
/// What is left to download while the size is not known.
const LEFT: u64 = 9_223_372_036_854_775_807;

/// Why something is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The first time.
    Started,
    /// Again.
    Regular,
    /// The last time.
    Stopped,
}

/// What a client is known by in one swarm during one session; renewed with each start, as in a real client.
#[derive(Clone, Copy)]
pub(super) struct Persona {
    peer_id: [u8; 20],
    key: u32,
}

impl Persona {
    /// A new one: eleven random digits and a check digit that makes the sum of all twelve, read in
    /// base 36, divisible by 36.
    pub(super) fn new(rng: &mut impl Rng) -> Self {
        let mut peer_id = [0; 20];
        peer_id[..8].copy_from_slice(PEER_ID_PREFIX);
        let mut sum = 0;
        for place in &mut peer_id[8..19] {
            let digit = rng.random_range(0..PEER_ID_DIGITS.len());
            sum += digit;
            *place = PEER_ID_DIGITS[digit];
        }
        peer_id[19] = PEER_ID_DIGITS[(36 - sum % 36) % 36];
        Self {
            peer_id,
            key: rng.random(),
        }
    }
}

/// One announce of one hash.
pub(super) struct Announce<'a> {
    /// The hash.
    pub(super) hash: &'a [u8; 20],
    /// Who announces.
    pub(super) persona: &'a Persona,
    /// Where peers may connect to.
    pub(super) port: u16,
    /// Why.
    pub(super) event: Event,
    /// What the tracker asked to be told again.
    pub(super) tracker_id: Option<&'a [u8]>,
}

impl Announce<'_> {
    /// The query, without a leading question mark.
    pub(super) fn query(&self) -> String {
        let wanted = if self.event == Event::Stopped {
            0
        } else {
            WANTED
        };
        let mut query = format!(
            "info_hash={}&peer_id={}&port={}&uploaded=0&downloaded=0&left={LEFT}&numwant={wanted}&key={:08X}&compact=1&supportcrypto=1",
            escape(self.hash),
            escape(&self.persona.peer_id),
            self.port,
            self.persona.key,
        );
        match self.event {
            Event::Started => query.push_str("&event=started"),
            Event::Regular => {}
            Event::Stopped => query.push_str("&event=stopped"),
        }
        if let Some(id) = self.tracker_id {
            query.push_str("&trackerid=");
            query.push_str(&escape(id));
        }
        query
    }

    /// What a UDP tracker is told behind connection id, action and transaction id (BEP 15).
    pub(super) fn datagram(&self) -> [u8; 82] {
        let (event, wanted) = match self.event {
            Event::Regular => (0_u32, WANTED),
            Event::Started => (2, WANTED),
            Event::Stopped => (3, 0),
        };
        let mut bytes = [0; 82];
        bytes[..20].copy_from_slice(self.hash);
        bytes[20..40].copy_from_slice(&self.persona.peer_id);
        // Nothing downloaded or uploaded, and an address of our own is not claimed: those stay zero.
        bytes[48..56].copy_from_slice(&LEFT.to_be_bytes());
        bytes[64..68].copy_from_slice(&event.to_be_bytes());
        bytes[72..76].copy_from_slice(&self.persona.key.to_be_bytes());
        bytes[76..80].copy_from_slice(&wanted.to_be_bytes());
        bytes[80..].copy_from_slice(&self.port.to_be_bytes());
        bytes
    }

    /// The tracker's URL with the query behind what it has of its own.
    pub(super) fn url(&self, tracker: &url::Url) -> url::Url {
        let mut url = tracker.clone();
        url.set_fragment(None);
        let query = match tracker.query() {
            Some(own) if !own.is_empty() => format!("{own}&{}", self.query()),
            _ => self.query(),
        };
        // Everything that this would escape is escaped already.
        url.set_query(Some(&query));
        url
    }
}

/// Escapes all but the unreserved characters (RFC 3986, section 2.3), in upper case.
fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const HASH: [u8; 20] = [
        0x00, 0xa5, 0x7e, 0x2d, 0x5f, 0x2e, 0x21, 0x2a, 0x27, 0x28, 0x29, 0x7e, 0x41, 0x7a, 0x30,
        0x5c, 0x20, 0xff, 0x0a, 0x7f,
    ];
    const PERSONA: Persona = Persona {
        peer_id: *b"-TR4130-eca5j3r51ax5",
        key: 0x056b_15bd,
    };

    fn announce(event: Event, tracker_id: Option<&[u8]>) -> Announce<'_> {
        Announce {
            hash: &HASH,
            persona: &PERSONA,
            port: 51413,
            event,
            tracker_id,
        }
    }

    #[test]
    fn announces_byte_for_byte() {
        let common = "info_hash=%00%A5~-_.%21%2A%27%28%29~Az0%5C%20%FF%0A%7F&peer_id=-TR4130-eca5j3r51ax5&port=51413&uploaded=0&downloaded=0&left=9223372036854775807";
        assert_eq!(
            announce(Event::Started, None).query(),
            format!("{common}&numwant=80&key=056B15BD&compact=1&supportcrypto=1&event=started")
        );
        assert_eq!(
            announce(Event::Regular, Some(b"TRK-lab-1")).query(),
            format!(
                "{common}&numwant=80&key=056B15BD&compact=1&supportcrypto=1&trackerid=TRK-lab-1"
            )
        );
        assert_eq!(
            announce(Event::Stopped, Some(b"a&b c")).query(),
            format!(
                "{common}&numwant=0&key=056B15BD&compact=1&supportcrypto=1&event=stopped&trackerid=a%26b%20c"
            )
        );
    }

    #[test]
    fn datagrams_byte_for_byte() {
        let started = announce(Event::Started, None).datagram();
        assert_eq!(started[..20], HASH);
        assert_eq!(&started[20..40], b"-TR4130-eca5j3r51ax5");
        let rest = concat!(
            "0000000000000000",
            "7fffffffffffffff",
            "0000000000000000",
            "00000002",
            "00000000",
            "056b15bd",
            "00000050",
            "c8d5"
        );
        assert_eq!(hex::encode(&started[40..]), rest);
        let regular = announce(Event::Regular, Some(b"not for UDP")).datagram();
        assert_eq!(regular[64..68], [0; 4]);
        let stopped = announce(Event::Stopped, None).datagram();
        assert_eq!((stopped[67], &stopped[76..80]), (3, &[0; 4][..]));
    }

    #[test]
    fn keeps_a_trackers_own_query_and_every_escape() {
        let announce = announce(Event::Regular, None);
        for (tracker, start) in [
            (
                "http://t.example/announce",
                "/announce?info_hash=%00%A5~-_.%21%2A%27",
            ),
            ("http://t.example/announce?", "/announce?info_hash=%00"),
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
    fn peer_ids_add_up() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..500 {
            let id = Persona::new(&mut rng).peer_id;
            assert!(id.starts_with(PEER_ID_PREFIX));
            let sum: u32 = id[8..]
                .iter()
                .map(|&digit| char::from(digit).to_digit(36).unwrap())
                .sum();
            assert_eq!(sum % 36, 0);
        }
    }
}
