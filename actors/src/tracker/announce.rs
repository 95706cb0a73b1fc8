//! The bytes of an announce or a scrape, which are those of the client that the node looks like (BEP 3, 7, 15, 23, 41
//! and 48 for their meaning).
//!
//! To a tracker each rendezvous hash is a torrent of its own, whose metadata a client is waiting for: `started`,
//! nothing, `stopped`, never `completed`. Pure.

use crate::disguise::{Client, Disguise, Field, KeyForm, Persona};

/// The option "URL data" of BEP 41.
const URL_DATA: u8 = 2;

/// The event of an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The first announce.
    Started,
    /// A further announce, which names no event.
    Regular,
    /// The last announce.
    Stopped,
}

/// One announce of one hash.
pub(super) struct Announce<'a> {
    /// The client that it looks like.
    pub(super) disguise: Disguise,
    /// The hash.
    pub(super) hash: &'a [u8; 20],
    /// The PeerId and key that we are known by under this hash.
    pub(super) persona: &'a Persona,
    /// The port at which peers may connect.
    pub(super) port: u16,
    /// The event.
    pub(super) event: Event,
    /// The tracker id that the tracker wants to be sent back.
    pub(super) tracker_id: Option<&'a [u8]>,
}

impl Announce<'_> {
    /// The query, without a leading question mark.
    pub(super) fn query(&self) -> String {
        let client = self.disguise.client();
        let fields = client.query.iter();
        let pairs: Vec<String> = fields
            .filter_map(|field| self.pair(client, *field))
            .collect();
        pairs.join("&")
    }

    fn pair(&self, client: &Client, field: Field) -> Option<String> {
        let escape = |bytes: &[u8]| escape(client, bytes);
        let key = self.persona.key;
        Some(match field {
            Field::InfoHash => format!("info_hash={}", escape(self.hash)),
            Field::PeerId => format!("peer_id={}", escape(&self.persona.peer_id)),
            Field::Port => format!("port={}", self.port),
            Field::Left => format!("left={}", client.left),
            Field::Wanted => format!("numwant={}", self.wanted(client)),
            Field::Key => match client.key {
                KeyForm::LowerForAll => format!("key={key:x}"),
                KeyForm::UpperForEach => format!("key={key:08X}"),
            },
            Field::Event => match self.event {
                Event::Started => "event=started".to_owned(),
                Event::Regular => return None,
                Event::Stopped => "event=stopped".to_owned(),
            },
            Field::TrackerId => format!("trackerid={}", escape(self.tracker_id?)),
            Field::Fixed(text) => text.to_owned(),
        })
    }

    fn wanted(&self, client: &Client) -> u32 {
        match self.event {
            Event::Stopped => 0,
            Event::Started | Event::Regular => client.wanted,
        }
    }

    /// The payload for a UDP tracker, after connection id, action and transaction id (BEP 15, and BEP 41 if the client
    /// supports it).
    pub(super) fn datagram(&self, tracker: &url::Url) -> Vec<u8> {
        let client = self.disguise.client();
        let event: u32 = match self.event {
            Event::Regular => 0,
            Event::Started => 2,
            Event::Stopped => 3,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(self.hash);
        bytes.extend_from_slice(&self.persona.peer_id);
        // Downloaded, left, uploaded.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&client.left.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&event.to_be_bytes());
        // No address of our own is claimed.
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.persona.key.to_be_bytes());
        bytes.extend_from_slice(&self.wanted(client).to_be_bytes());
        bytes.extend_from_slice(&self.port.to_be_bytes());
        if client.udp_tail {
            let mut target = tracker.path().to_owned();
            if let Some(query) = tracker.query() {
                target = format!("{target}?{query}");
            }
            let length = u8::try_from(target.len()).unwrap_or(u8::MAX);
            if length > 0 {
                bytes.extend_from_slice(&[URL_DATA, length]);
                bytes.extend_from_slice(&target.as_bytes()[..usize::from(length)]);
            }
        }
        bytes
    }

    /// The tracker's URL, with the query appended to its own one.
    pub(super) fn url(&self, tracker: &url::Url) -> url::Url {
        with_query(tracker, &self.query())
    }
}

/// The URL for scraping these hashes (BEP 48); `None` if the tracker's URL does not allow it.
pub(super) fn scrape_url(
    disguise: Disguise,
    tracker: &url::Url,
    hashes: &[[u8; 20]],
) -> Option<url::Url> {
    let mut url = tracker.clone();
    let (folder, last) = tracker.path().rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    url.set_path(&format!("{folder}/scrape{rest}"));
    let client = disguise.client();
    let query: Vec<String> = hashes
        .iter()
        .map(|hash| format!("info_hash={}", escape(client, hash)))
        .collect();
    Some(with_query(&url, &query.join("&")))
}

fn with_query(url: &url::Url, query: &str) -> url::Url {
    let mut url = url.clone();
    url.set_fragment(None);
    let query = match url.query() {
        Some(own) => format!("{own}&{query}"),
        None => query.to_owned(),
    };
    // Everything that `set_query` would escape is escaped already.
    url.set_query(Some(&query));
    url
}

/// Escapes all bytes but those that the client leaves unescaped.
fn escape(client: &Client, bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        // Writing into a String cannot fail.
        let _ = match byte {
            _ if byte.is_ascii_alphanumeric() || client.unescaped.contains(&byte) => {
                text.write_char(char::from(byte))
            }
            _ if client.upper_escapes => write!(text, "%{byte:02X}"),
            _ => write!(text, "%{byte:02x}"),
        };
    }
    text
}
