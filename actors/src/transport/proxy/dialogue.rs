//! What is said to a proxy, and how it answers. Pure: bytes in, bytes out.

use base64::{Engine, engine::general_purpose::STANDARD};
use url::Host;
use zeroize::Zeroizing;

use super::{Credentials, Protocol, Proxy, ProxyError};

/// The most bytes that are wanted at a time: an address with its port.
pub(super) const MOST: usize = 257;
/// The longest head of an HTTP answer.
const MAX_HEAD: usize = 8_192;

const SOCKS: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where the talk is: what the next bytes are.
enum Waiting {
    /// One byte of an HTTP answer's head.
    Head(Vec<u8>),
    /// The method that a SOCKS proxy picks: two bytes.
    Method,
    /// Its verdict on the password: two bytes.
    Verdict,
    /// Its answer up to the kind of address: four bytes.
    Reply,
    /// The length of the name in its answer.
    NameLength,
    /// Its address and port, which say nothing to us.
    Address(usize),
    /// It is done: all bytes from here on are the other end's.
    Nothing,
}

/// A talk with a proxy.
pub(super) struct Dialogue {
    waiting: Waiting,
    /// Of SOCKS: what is to be said later.
    password: Option<Zeroizing<Vec<u8>>>,
    request: Vec<u8>,
}

/// What is to be written next.
type Words = Zeroizing<Vec<u8>>;

impl Dialogue {
    /// The talk, and its first words.
    pub(super) fn begin(proxy: &Proxy, host: &Host<String>, port: u16) -> (Self, Words) {
        let credentials = proxy.credentials.as_ref();
        match proxy.protocol {
            Protocol::Http => {
                let talk = Self {
                    waiting: Waiting::Head(Vec::new()),
                    password: None,
                    request: Vec::new(),
                };
                (talk, http_request(credentials, host, port))
            }
            Protocol::Socks5 => {
                let mut hello = vec![SOCKS, 1, NO_AUTHENTICATION];
                if credentials.is_some() {
                    hello = vec![SOCKS, 2, NO_AUTHENTICATION, PASSWORD];
                }
                let talk = Self {
                    waiting: Waiting::Method,
                    password: credentials.map(password),
                    request: socks_request(host, port),
                };
                (talk, Zeroizing::new(hello))
            }
        }
    }

    /// How many bytes to read next: exactly those; 0 when it is done.
    pub(super) fn wants(&self) -> usize {
        match self.waiting {
            Waiting::Head(_) | Waiting::NameLength => 1,
            Waiting::Method | Waiting::Verdict => 2,
            Waiting::Reply => 4,
            Waiting::Address(length) => length,
            Waiting::Nothing => 0,
        }
    }

    /// Takes in as many bytes as it wanted, and says what to write now.
    pub(super) fn heard(&mut self, bytes: &[u8]) -> Result<Words, ProxyError> {
        let nothing = Ok(Zeroizing::new(Vec::new()));
        match (&mut self.waiting, bytes) {
            (Waiting::Head(head), [byte]) => {
                head.push(*byte);
                if head.ends_with(b"\r\n\r\n") {
                    judge(head)?;
                    self.waiting = Waiting::Nothing;
                } else if head.len() >= MAX_HEAD {
                    return Err(ProxyError::Garbled);
                }
                nothing
            }
            (Waiting::Method, [SOCKS, NO_AUTHENTICATION]) => Ok(self.ask()),
            (Waiting::Method, [SOCKS, PASSWORD]) => match self.password.take() {
                Some(password) => {
                    self.waiting = Waiting::Verdict;
                    Ok(password)
                }
                None => Err(ProxyError::Garbled),
            },
            (Waiting::Method, [SOCKS, 0xff]) => Err(ProxyError::Unauthorised),
            // The version of this part is 1, and some proxies say 5.
            (Waiting::Verdict, [1 | SOCKS, 0]) => Ok(self.ask()),
            (Waiting::Verdict, [1 | SOCKS, _]) => Err(ProxyError::Unauthorised),
            (Waiting::Reply, [SOCKS, 0, _, kind]) => {
                self.waiting = match *kind {
                    IPV4 => Waiting::Address(4 + 2),
                    IPV6 => Waiting::Address(16 + 2),
                    NAME => Waiting::NameLength,
                    _ => return Err(ProxyError::Garbled),
                };
                nothing
            }
            (Waiting::Reply, [SOCKS, reason, ..]) => Err(match reason {
                2 => ProxyError::Forbidden,
                1 | 3..=6 => ProxyError::NoWay,
                _ => ProxyError::Garbled,
            }),
            (Waiting::NameLength, [length]) => {
                self.waiting = Waiting::Address(usize::from(*length) + 2);
                nothing
            }
            (Waiting::Address(_), _) => {
                self.waiting = Waiting::Nothing;
                nothing
            }
            _ => Err(ProxyError::Garbled),
        }
    }

    fn ask(&mut self) -> Words {
        self.waiting = Waiting::Reply;
        Zeroizing::new(std::mem::take(&mut self.request))
    }
}

fn http_request(credentials: Option<&Credentials>, host: &Host<String>, port: u16) -> Words {
    // Room enough that what holds the password never moves.
    let mut request = Zeroizing::new(Vec::with_capacity(2_048));
    let place = format!("{host}:{port}");
    for part in ["CONNECT ", &place, " HTTP/1.1\r\nHost: ", &place, "\r\n"] {
        request.extend_from_slice(part.as_bytes());
    }
    if let Some(credentials) = credentials {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(basic(credentials).as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// What `Proxy-Authorization` says (RFC 7617).
pub(super) fn basic(credentials: &Credentials) -> Zeroizing<String> {
    let Credentials { user, password } = credentials;
    let mut both = Zeroizing::new(Vec::with_capacity(user.len() + 1 + password.len()));
    both.extend_from_slice(user.as_bytes());
    both.push(b':');
    both.extend_from_slice(password.as_bytes());
    // As long as both and what base64 adds: what holds the password never moves.
    let mut text = Zeroizing::new(String::with_capacity(8 + 2 * both.len()));
    text.push_str("Basic ");
    STANDARD.encode_string(&*both, &mut text);
    text
}

/// The whole head of an HTTP answer: any 2xx means that the tunnel is there.
fn judge(head: &[u8]) -> Result<(), ProxyError> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = match line {
        [
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            b'0' | b'1',
            b' ',
            status @ ..,
        ] => status,
        _ => return Err(ProxyError::Garbled),
    };
    match status {
        [b'2', b'0'..=b'9', b'0'..=b'9', b' ', ..] | [b'2', b'0'..=b'9', b'0'..=b'9'] => Ok(()),
        // Some say 401, as a web server would, to a wrong password.
        [b'4', b'0', b'1' | b'7', ..] => Err(ProxyError::Unauthorised),
        [b'4', b'0', b'3' | b'5', ..] => Err(ProxyError::Forbidden),
        [b'3'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] => Err(ProxyError::NoWay),
        _ => Err(ProxyError::Garbled),
    }
}

fn password(credentials: &Credentials) -> Words {
    let Credentials { user, password } = credentials;
    let mut words = Zeroizing::new(Vec::with_capacity(3 + user.len() + password.len()));
    words.push(1);
    for part in [user, password] {
        // At most 255 bytes, as it was read.
        words.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        words.extend_from_slice(part.as_bytes());
    }
    words
}

fn socks_request(host: &Host<String>, port: u16) -> Vec<u8> {
    let mut request = vec![SOCKS, CONNECT, 0];
    match host {
        Host::Ipv4(ip) => {
            request.push(IPV4);
            request.extend_from_slice(&ip.octets());
        }
        Host::Ipv6(ip) => {
            request.push(IPV6);
            request.extend_from_slice(&ip.octets());
        }
        Host::Domain(name) => {
            // No name is longer than 253 bytes; one that is leads nowhere.
            let name = &name.as_bytes()[..name.len().min(255)];
            request.push(NAME);
            request.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            request.extend_from_slice(name);
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    request
}

/// Any answers of a proxy: the first byte says which kind, and whether we have a password.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else {
        return;
    };
    let url = match first % 4 {
        0 => "http://p:1",
        1 => "http://u:p@p:1",
        2 => "socks5h://p:1",
        _ => "socks5h://u:p@p:1",
    };
    let Ok(proxy) = Proxy::parse(url) else { return };
    let host = Host::Domain("peer.example".to_owned());
    let (mut dialogue, _) = Dialogue::begin(&proxy, &host, 443);
    let mut read = 0;
    loop {
        let wants = dialogue.wants();
        assert!(wants <= MOST && read <= MAX_HEAD);
        if wants == 0 || rest.len() < wants {
            return;
        }
        let (now, later) = rest.split_at(wants);
        (rest, read) = (later, read + wants);
        if dialogue.heard(now).is_err() {
            return;
        }
    }
}
