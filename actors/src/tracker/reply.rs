//! Parses the answers of trackers (BEP 3, 7, 23, 24, 31). Pure, and bounded for any input.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bitchat_wire::bencode::{self, Limits};

use crate::transport::network;

/// The longest answer that is read, in bytes, after decompression.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Peers kept of one answer: more than a mesh ever needs.
pub(super) const MAX_PEERS: usize = 1_000;
/// The longest tracker id, in bytes, since it is sent in every later announce.
const MAX_TRACKER_ID: usize = 128;
/// Characters kept of a text that is shown to users.
pub(super) const MAX_TEXT: usize = 200;
/// The longest pause that a tracker may demand. The bound also prevents overflow of times.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(86_400);
/// Answers are dictionaries of lists of dictionaries; unknown keys may be nested a little deeper.
const LIMITS: Limits = Limits {
    depth: 8,
    values: 200_000,
    canonical: false,
};

/// A tracker's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The peers that it names.
    pub(super) peers: Vec<SocketAddr>,
    /// The interval of regular announces.
    pub(super) interval: Option<Duration>,
    /// The shortest distance between two announces.
    pub(super) min_interval: Option<Duration>,
    /// A text for the user.
    pub(super) warning: Option<String>,
    /// The tracker id to send back.
    pub(super) tracker_id: Option<Vec<u8>>,
    /// The address from which it sees us (BEP 24).
    pub(super) external: Option<IpAddr>,
    /// Whether it contained all that a scrape would return: seeders, leechers and completed downloads.
    pub(super) counted: bool,
}

impl Answer {
    /// Merges the answers of one tracker over two address families.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.interval = self.interval.max(other.interval);
        self.min_interval = self.min_interval.max(other.min_interval);
        self.peers.extend(other.peers);
        self.peers.truncate(MAX_PEERS);
        self.warning = self.warning.or(other.warning);
        self.tracker_id = self.tracker_id.or(other.tracker_id);
        self.external = self.external.or(other.external);
        self.counted |= other.counted;
        self
    }
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// After this time.
    After(Duration),
    /// Not in this session.
    Never,
}

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyError {
    /// Not bencode.
    #[error("answered with something that is not bencode")]
    NotBencode,
    /// Nested too deeply, or too many values.
    #[error("answered with bencode beyond all bounds ({0})")]
    OutOfBounds(bencode::BencodeError),
    /// Bencode, but not an answer to an announce.
    #[error("answered with something that is not a tracker's answer")]
    NoAnswer,
    /// The tracker refuses.
    #[error("refused: {reason}")]
    Refused {
        /// The reason it gives, cleaned for display.
        reason: String,
        /// When it may be asked again.
        retry: Option<Retry>,
    },
}

/// Parses the body of an answer.
pub(super) fn parse(body: &[u8]) -> Result<Answer, ReplyError> {
    let length = bencode::scan(body, LIMITS).map_err(|error| match error {
        bencode::BencodeError::Syntax(_) => ReplyError::NotBencode,
        other => ReplyError::OutOfBounds(other),
    })?;
    let body = body.get(..length).ok_or(ReplyError::NotBencode)?;
    if body.first() != Some(&b'd') {
        return Err(ReplyError::NoAnswer);
    }
    let mut answer = Answer::default();
    let mut refused = None;
    let mut retry = None;
    let mut known = false;
    let mut counts = 0;
    for (key, raw) in bencode::entries(body) {
        let text = bencode::byte_string(raw);
        match key {
            b"failure reason" => refused = Some(text.map_or_else(String::new, plain)),
            b"retry in" => retry = retry_in(raw),
            b"warning message" => answer.warning = text.map(plain).filter(|text| !text.is_empty()),
            b"tracker id" => {
                answer.tracker_id = text
                    .filter(|id| !id.is_empty() && id.len() <= MAX_TRACKER_ID)
                    .map(<[u8]>::to_vec);
            }
            b"interval" => {
                known = true;
                answer.interval = seconds(raw);
            }
            b"complete" | b"incomplete" | b"downloaded" => {
                counts += u8::from(number(raw).is_some())
            }
            b"min interval" => answer.min_interval = seconds(raw),
            b"peers" => {
                known = true;
                match text {
                    Some(compact) => compact_v4(compact, &mut answer.peers),
                    None => dictionaries(raw, &mut answer.peers),
                }
            }
            b"peers6" => {
                known = true;
                if let Some(compact) = text {
                    compact_v6(compact, &mut answer.peers);
                }
            }
            b"external ip" => answer.external = text.and_then(external),
            _ => {}
        }
    }
    answer.counted = counts == 3;
    match refused {
        Some(reason) => Err(ReplyError::Refused { reason, retry }),
        None if known => Ok(answer),
        None => Err(ReplyError::NoAnswer),
    }
}

/// A text from a stranger made fit for display: short, on one line, without control characters, and without characters
/// that change the direction of writing or are invisible.
pub(super) fn plain(bytes: &[u8]) -> String {
    let mut text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|&c| {
            !c.is_control()
                && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
        })
        .take(MAX_TEXT)
        .collect();
    text.truncate(text.trim_end().len());
    text
}

fn number(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"i")?.strip_suffix(b"e")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A pause in seconds; `None` unless it is positive.
fn seconds(raw: &[u8]) -> Option<Duration> {
    pause(u64::try_from(number(raw)?).ok()?)
}

/// A pause of `seconds`, at most a day; `None` for 0.
pub(super) fn pause(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// Parses minutes as a number or a string, or `never` (BEP 31).
fn retry_in(raw: &[u8]) -> Option<Retry> {
    let minutes = match bencode::byte_string(raw) {
        Some(b"never") => return Some(Retry::Never),
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => u64::try_from(number(raw)?).ok()?,
    };
    let pause = Duration::from_secs(minutes.saturating_mul(60)).min(MAX_PAUSE);
    (!pause.is_zero()).then_some(Retry::After(pause))
}

fn keep(peers: &mut Vec<SocketAddr>, ip: IpAddr, port: u16) {
    let peer = SocketAddr::new(ip.to_canonical(), port);
    if peers.len() < MAX_PEERS && network::is_plausible(peer) {
        peers.push(peer);
    }
}

/// Parses six bytes per peer (BEP 23). An incomplete rest is ignored.
pub(super) fn compact_v4(bytes: &[u8], peers: &mut Vec<SocketAddr>) {
    for &[a, b, c, d, high, low] in bytes.as_chunks::<6>().0 {
        let port = u16::from_be_bytes([high, low]);
        keep(peers, Ipv4Addr::new(a, b, c, d).into(), port);
    }
}

/// Parses eighteen bytes per peer (BEP 7). An incomplete rest is ignored.
pub(super) fn compact_v6(bytes: &[u8], peers: &mut Vec<SocketAddr>) {
    for &[ref ip @ .., high, low] in bytes.as_chunks::<18>().0 {
        let ip: [u8; 16] = *ip;
        keep(
            peers,
            Ipv6Addr::from(ip).into(),
            u16::from_be_bytes([high, low]),
        );
    }
}

/// Parses a list of dictionaries (BEP 3). Host names are ignored: a tracker must not make us look up names.
fn dictionaries(raw: &[u8], peers: &mut Vec<SocketAddr>) {
    let Some(mut rest) = raw.strip_prefix(b"l") else {
        return;
    };
    while rest.first().is_some_and(|&byte| byte != b'e') && peers.len() < MAX_PEERS {
        let Ok(length) = bencode::scan(rest, LIMITS) else {
            return;
        };
        let Some((peer, behind)) = rest.split_at_checked(length) else {
            return;
        };
        rest = behind;
        let ip = bencode::raw_value(peer, b"ip")
            .and_then(bencode::byte_string)
            .and_then(|ip| std::str::from_utf8(ip).ok()?.parse::<IpAddr>().ok());
        let port = bencode::raw_value(peer, b"port")
            .and_then(number)
            .and_then(|port| u16::try_from(port).ok());
        if let (Some(ip), Some(port)) = (ip, port) {
            keep(peers, ip, port);
        }
    }
}

pub(super) fn external(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
    .map(|ip| ip.to_canonical())
}
