//! The exchange with a proxy. Pure: bytes in, bytes out.

use base64::{Engine, engine::general_purpose::STANDARD};
use url::Host;
use zeroize::Zeroizing;

use super::kinds::{Credentials, Protocol, ProxyError};

/// The most bytes read at a time: a name with its port.
pub(super) const MOST: usize = 257;
/// The longest header of an HTTP response.
pub(super) const MAX_HEAD: usize = 8_192;

const SOCKS: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What the next bytes are.
enum Waiting {
    /// One byte of an HTTP response's header.
    Head(Vec<u8>),
    /// The method that a SOCKS proxy picks: two bytes.
    Method,
    /// Its verdict on the password: two bytes.
    Verdict,
    /// Its reply up to the address type: four bytes.
    Reply,
    /// The length of the name in its reply.
    NameLength,
    /// The address and port in its reply, which are ignored.
    Address(usize),
    /// Done: all further bytes are the target's.
    Nothing,
}

/// An exchange with a proxy.
pub(super) struct Dialogue {
    waiting: Waiting,
    /// The SOCKS messages to send later: credentials, then the request.
    password: Option<Zeroizing<Vec<u8>>>,
    request: Vec<u8>,
}

/// Bytes to write to the proxy.
pub(super) type Output = Zeroizing<Vec<u8>>;

impl Dialogue {
    /// Begins an exchange; returns it with the first bytes to write.
    pub(super) fn begin(
        protocol: Protocol,
        credentials: Option<&Credentials>,
        host: &Host<String>,
        port: u16,
    ) -> (Self, Output) {
        match protocol {
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

    /// The exact number of bytes to read next; 0 when done.
    pub(super) fn wants(&self) -> usize {
        match self.waiting {
            Waiting::Head(_) | Waiting::NameLength => 1,
            Waiting::Method | Waiting::Verdict => 2,
            Waiting::Reply => 4,
            Waiting::Address(length) => length,
            Waiting::Nothing => 0,
        }
    }

    /// Takes the bytes read; returns what to write now.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Result<Output, ProxyError> {
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
            (Waiting::Method, [SOCKS, NO_AUTHENTICATION]) => Ok(self.next_request()),
            (Waiting::Method, [SOCKS, PASSWORD]) => match self.password.take() {
                Some(password) => {
                    self.waiting = Waiting::Verdict;
                    Ok(password)
                }
                None => Err(ProxyError::Garbled),
            },
            (Waiting::Method, [SOCKS, 0xff]) => Err(ProxyError::Unauthorised),
            // The version of this subnegotiation is 1, but some proxies send 5.
            (Waiting::Verdict, [1 | SOCKS, 0]) => Ok(self.next_request()),
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

    fn next_request(&mut self) -> Output {
        self.waiting = Waiting::Reply;
        Zeroizing::new(std::mem::take(&mut self.request))
    }
}

fn http_request(credentials: Option<&Credentials>, host: &Host<String>, port: u16) -> Output {
    // Large enough that the buffer with the password never moves.
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

/// The value of `Proxy-Authorization` (RFC 7617).
pub(super) fn basic(credentials: &Credentials) -> Zeroizing<String> {
    let Credentials { user, password } = credentials;
    let mut both = Zeroizing::new(Vec::with_capacity(user.len() + 1 + password.len()));
    both.extend_from_slice(user.as_bytes());
    both.push(b':');
    both.extend_from_slice(password.as_bytes());
    // Large enough for the base64 form: the buffer with the password never moves.
    let mut text = Zeroizing::new(String::with_capacity(8 + 2 * both.len()));
    text.push_str("Basic ");
    STANDARD.encode_string(&*both, &mut text);
    text
}

/// Judges the whole header of an HTTP response: any 2xx means that the tunnel is open.
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
        // Some answer a wrong password with 401, as a web server would.
        [b'4', b'0', b'1' | b'7', ..] => Err(ProxyError::Unauthorised),
        [b'4', b'0', b'3' | b'5', ..] => Err(ProxyError::Forbidden),
        [b'3'..=b'5', b'0'..=b'9', b'0'..=b'9', ..] => Err(ProxyError::NoWay),
        _ => Err(ProxyError::Garbled),
    }
}

fn password(credentials: &Credentials) -> Output {
    let Credentials { user, password } = credentials;
    let mut bytes = Zeroizing::new(Vec::with_capacity(3 + user.len() + password.len()));
    bytes.push(1);
    for part in [user, password] {
        // At most 255 bytes, as checked when parsed.
        bytes.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
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
            // No valid name exceeds 253 bytes; a longer one leads nowhere.
            let name = &name.as_bytes()[..name.len().min(255)];
            request.push(NAME);
            request.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            request.extend_from_slice(name);
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    request
}
