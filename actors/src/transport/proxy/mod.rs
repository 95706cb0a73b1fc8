//! The proxy that carries all traffic, if one is set (`docs/PROTOCOL.md`, proxies).
//!
//! HTTP `CONNECT` (RFC 9110, section 9.3.6, with basic authentication, RFC 7617) and SOCKS 5 (RFC 1928, with RFC 1929).
//! Names are sent to the proxy as they are: only the proxy's own name is resolved here. The exchange with a proxy is a
//! pure machine ([`dialogue`]); this file connects, moves its bytes, and records whether the proxy works.

mod dialogue;
mod kinds;
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
use kinds::{Credentials, Protocol, decoded};
pub use kinds::{ProxyError, ProxyStatus, ProxyUrlError};

/// How long a proxy may take to accept a connection, and then to answer in full: behind Tor, half a minute is common.
const PATIENCE: Duration = Duration::from_secs(30);

/// The default port of SOCKS proxies.
const SOCKS_PORT: u16 = 1_080;

/// A proxy through which everything must go. Cheap to clone; clones share whether it works.
#[derive(Clone)]
pub struct Proxy {
    protocol: Protocol,
    host: Host<String>,
    port: u16,
    credentials: Option<Credentials>,
    /// What is wrong with the proxy itself, as of the last attempt; `None` if it works.
    trouble: Arc<Mutex<Option<ProxyError>>>,
}

/// Shows no credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The URL without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Proxy {
    /// Parses `http://`, `socks5://` or `socks5h://` with host, port (default 80 or 1080), and optional user and
    /// password. With both SOCKS forms the proxy resolves names.
    pub fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(url).map_err(|_| ProxyUrlError::Kind)?;
        let protocol = match url.scheme() {
            "http" => Protocol::Http,
            "socks5" | "socks5h" => Protocol::Socks5,
            "https" => return Err(ProxyUrlError::Tls),
            _ => return Err(ProxyUrlError::Kind),
        };
        let host = match url.host().ok_or(ProxyUrlError::Kind)? {
            // For schemes that it does not know, the library takes every host for a name.
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

    /// Connects to a host through the proxy. Cancel-safe: the attempt is dropped.
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

    /// Checks whether the proxy accepts connections, and records the result.
    pub async fn probe(&self) {
        let end = timeout(PATIENCE, self.open())
            .await
            .unwrap_or(Err(ProxyError::TimedOut));
        // That it listens does not prove that it accepts our password.
        let kept = self.trouble();
        if let Err(error) = end {
            self.note(Some(error));
        } else if kept.is_some_and(|kept| kept != ProxyError::Unauthorised) {
            self.note(None);
        }
    }

    /// Its present status.
    pub fn status(&self) -> ProxyStatus {
        ProxyStatus {
            url: self.to_string(),
            trouble: self.trouble().map(|error| error.to_string()),
        }
    }

    /// Connects for plain HTTP through an HTTP proxy, which mostly allows a tunnel to port 443 alone: a stream to the
    /// proxy itself, for requests that name the whole URL (RFC 9112, section 3.2.2), and the value of their
    /// `Proxy-Authorization`. `None` for a proxy of another kind.
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
                    tracing::warn!(proxy = %self, "{error}; nothing is sent until it works")
                }
                None => tracing::info!(proxy = %self, "the proxy works again"),
            }
        }
        *trouble = now;
    }

    /// Begins the exchange that asks for a connection to a host.
    fn dialogue(&self, host: &Host<String>, port: u16) -> (Dialogue, dialogue::Output) {
        Dialogue::begin(self.protocol, self.credentials.as_ref(), host, port)
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
            // It closed in the middle of the exchange.
            ErrorKind::UnexpectedEof => ProxyError::Garbled,
            _ => ProxyError::Unreachable,
        };
        let (mut dialogue, mut write) = self.dialogue(host, port);
        let mut buffer = Zeroizing::new([0; dialogue::MOST]);
        loop {
            tcp.write_all(&write).await.map_err(broken)?;
            let read = &mut buffer[..dialogue.wants()];
            if read.is_empty() {
                return Ok(tcp);
            }
            // Never more than requested: what follows is the target's.
            tcp.read_exact(read).await.map_err(broken)?;
            write = dialogue.received(read)?;
        }
    }
}

/// Feeds a proxy's answers to an exchange: the first byte picks the protocol, and whether we have a password.
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
    let (mut dialogue, _) = proxy.dialogue(&host, 443);
    let mut read = 0;
    loop {
        let wants = dialogue.wants();
        assert!(wants <= dialogue::MOST && read <= dialogue::MAX_HEAD);
        if wants == 0 || rest.len() < wants {
            return;
        }
        let (now, later) = rest.split_at(wants);
        (rest, read) = (later, read + wants);
        if dialogue.received(now).is_err() {
            return;
        }
    }
}
