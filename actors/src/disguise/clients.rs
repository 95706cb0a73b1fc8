//! The traits of each client: what it sends, in which order and spelling, and how often.

use std::time::Duration;

/// A parameter of an announce's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `info_hash`
    InfoHash,
    /// `peer_id`
    PeerId,
    /// `port`
    Port,
    /// `left`
    Left,
    /// `key`
    Key,
    /// `numwant`
    Wanted,
    /// `event`, which is left out of regular announces.
    Event,
    /// `trackerid`, if the tracker has assigned one.
    TrackerId,
    /// A parameter with a fixed value.
    Fixed(&'static str),
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// Lower-case hexadecimal without leading zeros; one key for all torrents of a run.
    LowerForAll,
    /// Eight upper-case hexadecimal digits; a key per torrent.
    UpperForEach,
}

/// The pauses after failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackOff {
    /// The first pause, then those of later failures, the last of which repeats; up to `jitter` seconds are added to
    /// all but the first.
    Steps {
        first: Duration,
        minutes: &'static [u64],
        jitter: u64,
    },
    /// `5 + 12.5 n^2` seconds, rounded down, and at most `longest`.
    Square { longest: Duration },
}

/// The traits of a client.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its name in the setting.
    pub(crate) name: &'static str,
    /// The headers of a request after `Host`.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// Whether connections to trackers are kept and reused.
    pub(crate) keeps_connections: bool,
    /// The protocols that it offers in a TLS handshake (RFC 7301), of those supported here.
    pub(crate) alpn: &'static [&'static str],
    /// The parameters of an announce's query, in order.
    pub(crate) query: &'static [Field],
    /// Bytes that are not escaped, besides letters and digits.
    pub(crate) unescaped: &'static [u8],
    /// Whether escapes are in upper case.
    pub(crate) upper_escapes: bool,
    /// The prefix of its peer ids.
    pub(crate) peer_id: &'static [u8; 8],
    /// The digits of the rest of a peer id.
    pub(crate) peer_id_digits: &'static [u8],
    /// Whether the last digit is a checksum: the digits' indices in `peer_id_digits` sum up to a multiple of its length.
    pub(crate) peer_id_sum: bool,
    /// Whether a torrent that is stopped and started again keeps its peer id and key within a run.
    pub(crate) keeps_persona: bool,
    /// The form of `key`.
    pub(crate) key: KeyForm,
    /// The number of peers asked for, except when stopping: then none.
    pub(crate) wanted: u32,
    /// The value of `left` while the metadata is missing.
    pub(crate) left: u64,
    /// Whether a tracker is asked over IPv4 and over IPv6.
    pub(crate) both_families: bool,
    /// Whether announces over UDP carry the URL's path and query (BEP 41).
    pub(crate) udp_tail: bool,
    /// How long a UDP tracker may take to respond.
    pub(crate) udp_timeout: Duration,
    /// The interval if a tracker names none.
    pub(crate) interval: Duration,
    /// The minimum interval if a tracker names none.
    pub(crate) min_interval: Duration,
    /// The pauses after failures.
    pub(crate) back_off: BackOff,
    /// How often swarms are scraped; `None` if they are not.
    pub(crate) scrapes: Option<Duration>,
    /// The port of a new home; `None` for a random one.
    pub(crate) port: Option<u16>,
    /// The description of its port in a router; `{port}` is replaced.
    pub(crate) mapping: &'static str,
    /// Whether peers see the peer id that it announces; otherwise each sees another one.
    pub(crate) shows_peer_id: bool,
    /// Whether its BitTorrent handshake advertises a DHT node even if the user has turned the DHT off.
    pub(crate) always_says_dht: bool,
}

const BASE_36: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// The bytes that libtorrent considers unreserved in URLs, and therefore uses in peer ids.
const UNRESERVED_70: &[u8] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.!~*()";

const TRANSMISSION_QUERY: &[Field] = &[
    Field::InfoHash,
    Field::PeerId,
    Field::Port,
    Field::Fixed("uploaded=0&downloaded=0"),
    Field::Left,
    Field::Wanted,
    Field::Key,
    Field::Fixed("compact=1&supportcrypto=1"),
    Field::Event,
    Field::TrackerId,
];
const QBITTORRENT_QUERY: &[Field] = &[
    Field::InfoHash,
    Field::PeerId,
    Field::Port,
    Field::Fixed("uploaded=0&downloaded=0"),
    Field::Left,
    Field::Fixed("corrupt=0"),
    Field::Key,
    Field::Event,
    Field::Wanted,
    Field::Fixed("compact=1&no_peer_id=1&supportcrypto=1&redundant=0"),
    Field::TrackerId,
];

/// Transmission 4.1.3: after its source, and the recording of 3.00.
pub(super) const TRANSMISSION_4_1: Client = Client {
    name: "transmission-4.1",
    headers: &[
        ("user-agent", "Transmission/4.1.3"),
        ("accept", "*/*"),
        ("accept-encoding", "deflate, gzip, br, zstd"),
    ],
    keeps_connections: true,
    // The client offers h2 first, which is not supported here.
    alpn: &["http/1.1"],
    query: TRANSMISSION_QUERY,
    unescaped: b"-_.~",
    upper_escapes: true,
    peer_id: b"-TR4130-",
    peer_id_digits: BASE_36,
    peer_id_sum: true,
    keeps_persona: false,
    key: KeyForm::UpperForEach,
    wanted: 80,
    left: 9_223_372_036_854_775_807,
    both_families: true,
    udp_tail: false,
    udp_timeout: Duration::from_secs(60),
    interval: Duration::from_secs(600),
    min_interval: Duration::from_secs(120),
    back_off: BackOff::Steps {
        first: Duration::from_secs(20),
        minutes: &[5, 15, 30, 60, 120],
        jitter: 60,
    },
    scrapes: Some(Duration::from_secs(1_800)),
    port: Some(51_413),
    mapping: "Transmission at {port}",
    shows_peer_id: true,
    always_says_dht: false,
};

/// Transmission 3.00: recorded.
pub(super) const TRANSMISSION_3_00: Client = Client {
    name: "transmission-3.00",
    headers: &[
        ("user-agent", "Transmission/3.00"),
        ("accept", "*/*"),
        ("accept-encoding", "deflate, gzip, br, zstd"),
    ],
    upper_escapes: false,
    peer_id: b"-TR3000-",
    key: KeyForm::LowerForAll,
    both_families: false,
    ..TRANSMISSION_4_1
};

/// qBittorrent 4.5.2: recorded.
pub(super) const QBITTORRENT_4_5_2: Client = Client {
    name: "qbittorrent-4.5.2",
    headers: &[
        ("user-agent", "qBittorrent/4.5.2"),
        ("accept-encoding", "gzip"),
        ("connection", "close"),
    ],
    keeps_connections: false,
    alpn: &[],
    query: QBITTORRENT_QUERY,
    unescaped: b"-_.!~*()",
    upper_escapes: false,
    peer_id: b"-qB4520-",
    peer_id_digits: UNRESERVED_70,
    peer_id_sum: false,
    keeps_persona: true,
    key: KeyForm::UpperForEach,
    wanted: 200,
    left: 16_384,
    both_families: true,
    udp_tail: true,
    udp_timeout: Duration::from_secs(10),
    interval: Duration::from_secs(1_800),
    min_interval: Duration::from_secs(60),
    back_off: BackOff::Square {
        longest: Duration::from_secs(3_600),
    },
    scrapes: None,
    port: None,
    mapping: "qBittorrent/4.5.2",
    shows_peer_id: false,
    always_says_dht: true,
};

/// qBittorrent 5.2.3: after its source, and the recording of 4.5.2.
pub(super) const QBITTORRENT_5_2: Client = Client {
    name: "qbittorrent-5.2",
    headers: &[
        ("user-agent", "qBittorrent/5.2.3"),
        ("accept-encoding", "gzip"),
        ("connection", "close"),
    ],
    peer_id: b"-qB5230-",
    mapping: "qBittorrent/5.2.3",
    ..QBITTORRENT_4_5_2
};
