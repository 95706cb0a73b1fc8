//! Reads what a tracker answers (BEP 3, 7, 23, 24, 31). Pure, and bounded against any input.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bitchat_wire::bencode::{self, Limits};

use crate::transport::network;

/// The longest answer that is read, in bytes, after decompression.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Peers kept of one answer: more than a mesh ever wants.
pub(super) const MAX_PEERS: usize = 1_000;
/// A tracker id is repeated in every later announce, so it must be short.
const MAX_TRACKER_ID: usize = 128;
/// Characters kept of a text that is shown to users.
const MAX_TEXT: usize = 200;
/// The longest pause that a tracker may ask for. It also keeps times from overflowing.
const MAX_PAUSE: Duration = Duration::from_secs(86_400);
/// A dictionary of lists of dictionaries is what answers are made of; unknown keys may go a little deeper.
const LIMITS: Limits = Limits {
    depth: 8,
    values: 200_000,
    canonical: false,
};

/// A tracker's answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Whom it names.
    pub(super) peers: Vec<SocketAddr>,
    /// When to announce again.
    pub(super) interval: Option<Duration>,
    /// What must pass at least between two announces.
    pub(super) min_interval: Option<Duration>,
    /// A text for the user.
    pub(super) warning: Option<String>,
    /// To be repeated to it.
    pub(super) tracker_id: Option<Vec<u8>>,
    /// From where it sees us (BEP 24).
    pub(super) external: Option<IpAddr>,
    /// It said all that a scrape would say: how many have it all, how many have not, how often it was completed.
    pub(super) counted: bool,
}

impl Answer {
    /// What one tracker answered by two address families.
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

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReplyError {
    /// Not bencode, or bencode out of bounds.
    #[error("answered with something that is not bencode")]
    NotBencode,
    /// Nested too deeply, or too many values.
    #[error("answered with bencode beyond all bounds ({0})")]
    OutOfBounds(bencode::BencodeError),
    /// Bencode that is no answer to an announce.
    #[error("answered with something that is no tracker's answer")]
    NoAnswer,
    /// It refuses, and says why.
    #[error("refused: {reason}")]
    Refused {
        /// Why, cleaned for a screen.
        reason: String,
        /// When to come again.
        retry: Option<Retry>,
    },
}

/// Reads the body of an answer.
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

/// A text from a stranger, fit for a screen: short, on one line, without control characters and without
/// those that turn the direction of writing or cannot be seen.
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

/// A pause in seconds; one that is not positive is none.
fn seconds(raw: &[u8]) -> Option<Duration> {
    pause(u64::try_from(number(raw)?).ok()?)
}

/// So many seconds, if any, and not more than a day.
pub(super) fn pause(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds).min(MAX_PAUSE))
}

/// Minutes as a number, or as a string, or `never` (BEP 31).
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

/// Six bytes a peer (BEP 23). A rest that is too short is passed over.
pub(super) fn compact_v4(bytes: &[u8], peers: &mut Vec<SocketAddr>) {
    for &[a, b, c, d, high, low] in bytes.as_chunks::<6>().0 {
        let port = u16::from_be_bytes([high, low]);
        keep(peers, Ipv4Addr::new(a, b, c, d).into(), port);
    }
}

/// Eighteen bytes a peer (BEP 7).
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

/// A list of dictionaries (BEP 3). Host names are passed over: a tracker must not make us look up names.
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

fn external(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
    .map(|ip| ip.to_canonical())
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
