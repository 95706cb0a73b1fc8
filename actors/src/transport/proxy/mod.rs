//! The way through a proxy, where nothing may leave by any other (`docs/PROTOCOL.md`, proxies).
//!
//! HTTP `CONNECT` (RFC 9110, section 9.3.6, with basic authentication, RFC 7617) and SOCKS 5 (RFC 1928, with RFC
//! 1929). Names go to the proxy as they are: nothing is resolved here but the proxy's own. What is said to a proxy is
//! a pure machine ([`dialogue`]); this file connects, moves its bytes, and remembers whether the proxy works.

mod dialogue;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::{Host, Url};
use zeroize::Zeroizing;

use dialogue::Dialogue;

#[cfg(feature = "fuzz")]
pub(crate) use dialogue::fuzz;

/// How long a proxy may take to accept a connection, and then for its whole answer: behind Tor, half a minute is common.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where SOCKS proxies listen, if nothing else is said.
const SOCKS_PORT: u16 = 1_080;

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http,
    Socks5,
}

/// Who we say that we are; never shown.
#[derive(Clone)]
struct Credentials {
    user: Zeroizing<String>,
    password: Zeroizing<String>,
}

/// A proxy through which everything must go. Cheap to clone; all clones know whether it works.
#[derive(Clone)]
pub struct Proxy {
    protocol: Protocol,
    host: Host<String>,
    port: u16,
    credentials: Option<Credentials>,
    /// What is wrong with the proxy itself, as the last attempt found it.
    trouble: Arc<Mutex<Option<ProxyError>>>,
}

/// Without credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Its address, without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why a proxy's URL is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// Not of a kind that is known.
    #[error("a proxy is like http://HOST:PORT or socks5h://USER:PASSWORD@HOST:PORT")]
    Kind,
    /// `https://`.
    #[error(
        "a proxy that is itself reached by TLS is not supported; use http://HOST:PORT or socks5h://HOST:PORT"
    )]
    Tls,
    /// A name or password that cannot be sent.
    #[error(
        "a proxy's user name and password have 1 to 255 bytes each, without control characters, and a user name for http has no colon"
    )]
    Credentials,
}

/// Why a proxy did not connect us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Nobody listens there, or its name leads nowhere.
    #[error("the proxy cannot be reached")]
    Unreachable,
    /// It took too long.
    #[error("the proxy does not answer")]
    TimedOut,
    /// It wants to know who we are, and does not like the answer.
    #[error("the proxy refuses our user name and password, or wants some")]
    Unauthorised,
    /// It does not speak as a proxy of its kind does.
    #[error("what answers does not speak like a proxy of that kind")]
    Garbled,
    /// It works, and does not let us go there.
    #[error("the proxy does not allow that address or port")]
    Forbidden,
    /// It works, and nobody answered it there.
    #[error("the proxy did not reach it")]
    NoWay,
}

impl ProxyError {
    /// Whether it is the proxy that is at fault, and not what lies behind it.
    pub fn is_the_proxys(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Unauthorised | Self::Garbled
        )
    }
}

/// How a proxy does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyStatus {
    /// Its URL without credentials.
    pub url: String,
    /// What is wrong with it, in plain words; `None` when it worked the last time, or was not tried yet.
    pub trouble: Option<String>,
}

impl Proxy {
    /// Reads `http://`, `socks5://` or `socks5h://` with host, port (else 80 or 1080), and maybe user and password.
    /// Both SOCKS forms leave names to the proxy.
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(url).map_err(|_| ProxyUrlError::Kind)?;
        let protocol = match url.scheme() {
            "http" => Protocol::Http,
            "socks5" | "socks5h" => Protocol::Socks5,
            "https" => return Err(ProxyUrlError::Tls),
            _ => return Err(ProxyUrlError::Kind),
        };
        let host = match url.host().ok_or(ProxyUrlError::Kind)? {
            // Of schemes that it does not know, the library takes every host for a name.
            Host::Domain(name) => match name.parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => Host::Ipv4(ip),
                _ if name.is_empty() => return Err(ProxyUrlError::Kind),
                _ => Host::Domain(name.to_owned()),
            },
            Host::Ipv4(ip) => Host::Ipv4(ip),
            Host::Ipv6(ip) => Host::Ipv6(ip),
        };
        let port = url.port_or_known_default().unwrap_or(SOCKS_PORT);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => Some(Credentials::new(
                decoded(user).ok_or(ProxyUrlError::Credentials)?,
                decoded(password.unwrap_or_default()).ok_or(ProxyUrlError::Credentials)?,
                protocol,
            )?),
        };
        if port == 0 {
            return Err(ProxyUrlError::Kind);
        }
        Ok(Self {
            protocol,
            host,
            port,
            credentials,
            trouble: Arc::default(),
        })
    }

    /// A stream to a host, as the proxy reaches it. Cancel-safe: what was begun is given up.
    pub async fn connect(&self, host: &Host<String>, port: u16) -> Result<TcpStream, ProxyError> {
        let end = timeout(PATIENCE, self.try_connect(host, port))
            .await
            .unwrap_or(Err(ProxyError::TimedOut));
        self.note(end.as_ref().err().copied());
        end
    }

    /// As [`Proxy::connect`], to an address.
    pub async fn connect_to(&self, address: SocketAddr) -> Result<TcpStream, ProxyError> {
        let host = match address.ip().to_canonical() {
            IpAddr::V4(ip) => Host::Ipv4(ip),
            IpAddr::V6(ip) => Host::Ipv6(ip),
        };
        self.connect(&host, address.port()).await
    }

    /// Looks whether anybody listens there at all.
    pub async fn probe(&self) {
        let end = timeout(PATIENCE, self.open())
            .await
            .unwrap_or(Err(ProxyError::TimedOut));
        // That it listens does not prove that it takes our password.
        let kept = self.trouble();
        if let Err(error) = end {
            self.note(Some(error));
        } else if kept.is_some_and(|kept| kept != ProxyError::Unauthorised) {
            self.note(None);
        }
    }

    /// How it does.
    pub fn status(&self) -> ProxyStatus {
        ProxyStatus {
            url: self.to_string(),
            trouble: self.trouble().map(|error| error.to_string()),
        }
    }

    /// The way for plain HTTP through an HTTP proxy, which mostly allows a tunnel to port 443 alone: a stream to the
    /// proxy itself, for requests that name the whole URL (RFC 9112, section 3.2.2), and their `Proxy-Authorization`.
    /// `None` for a proxy of another kind.
    pub(crate) async fn forward(
        &self,
    ) -> Option<Result<(TcpStream, Option<Zeroizing<String>>), ProxyError>> {
        if self.protocol != Protocol::Http {
            return None;
        }
        let end = timeout(PATIENCE, self.open())
            .await
            .unwrap_or(Err(ProxyError::TimedOut));
        self.note(end.as_ref().err().copied());
        let authorization = self.credentials.as_ref().map(dialogue::basic);
        Some(end.map(|tcp| (tcp, authorization)))
    }

    fn trouble(&self) -> Option<ProxyError> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, error: Option<ProxyError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let now = error.filter(|error| error.is_the_proxys());
        if *trouble != now {
            match now {
                Some(error) => {
                    tracing::warn!(proxy = %self, "{error}: nothing leaves until it works")
                }
                None => tracing::info!(proxy = %self, "the proxy works again"),
            }
        }
        *trouble = now;
    }

    async fn open(&self) -> Result<TcpStream, ProxyError> {
        let unreachable = |_| ProxyError::Unreachable;
        let tcp = match &self.host {
            Host::Ipv4(ip) => TcpStream::connect((*ip, self.port)).await,
            Host::Ipv6(ip) => TcpStream::connect((*ip, self.port)).await,
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await,
        }
        .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        Ok(tcp)
    }

    async fn try_connect(&self, host: &Host<String>, port: u16) -> Result<TcpStream, ProxyError> {
        let mut tcp = self.open().await?;
        let broken = |error: std::io::Error| match error.kind() {
            // It hung up in the middle of the talk.
            ErrorKind::UnexpectedEof => ProxyError::Garbled,
            _ => ProxyError::Unreachable,
        };
        let (mut dialogue, mut write) = Dialogue::begin(self, host, port);
        let mut buffer = Zeroizing::new([0; dialogue::MOST]);
        loop {
            tcp.write_all(&write).await.map_err(broken)?;
            let read = &mut buffer[..dialogue.wants()];
            if read.is_empty() {
                return Ok(tcp);
            }
            // Never more than it wants: what comes behind is the other end's.
            tcp.read_exact(read).await.map_err(broken)?;
            write = dialogue.heard(read)?;
        }
    }
}

impl Credentials {
    fn new(
        user: Zeroizing<String>,
        password: Zeroizing<String>,
        protocol: Protocol,
    ) -> Result<Self, ProxyUrlError> {
        let fits = |text: &str, least: usize| {
            (least..=255).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        // RFC 1929 gives each 1 to 255 bytes; many programs take an empty password all the same.
        let good = fits(&user, 1)
            && fits(&password, 0)
            && (protocol == Protocol::Socks5 || !user.contains(':'));
        if good {
            Ok(Self { user, password })
        } else {
            Err(ProxyUrlError::Credentials)
        }
    }
}

/// Undoes percent-encoding; `None` for what is then no text.
fn decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    std::str::from_utf8(&bytes)
        .ok()
        .map(|text| Zeroizing::new(text.to_owned()))
}
