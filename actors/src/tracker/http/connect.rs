//! Connecting to a tracker: names, addresses and TLS; or a proxy, which resolves names itself.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::header::HeaderValue;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Host;

use super::{HttpError, Origin};
use crate::transport::{Duplex, Proxy, ProxyError};

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 6;
/// How long an address is awaited before the next one is tried as well (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A connection.
pub(super) struct Connected {
    pub(super) io: Box<dyn Duplex>,
    /// Whether it leads to a local address.
    pub(super) local: bool,
    /// Set if it ends at a proxy that forwards requests.
    pub(super) forward: Option<Forward>,
}

/// What requests to a forwarding proxy contain besides.
pub(super) struct Forward {
    /// Our credentials, if the proxy asks for any.
    pub(super) authorization: Option<HeaderValue>,
}

pub(super) struct Connector {
    is_local: fn(IpAddr) -> bool,
    proxy: Option<Proxy>,
}

impl Connector {
    pub(super) fn new(is_local: fn(IpAddr) -> bool, proxy: Option<Proxy>) -> Self {
        Self { is_local, proxy }
    }

    /// Connects to a host, over one family or any, and to local addresses only if `anywhere`.
    pub(super) async fn connect(
        &self,
        host: Host<&str>,
        origin: &Origin,
    ) -> Result<Connected, HttpError> {
        let &Origin {
            port,
            family,
            anywhere,
            ..
        } = origin;
        let literal = match host {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        };
        if !anywhere && literal.is_some_and(|ip| (self.is_local)(ip)) {
            return Err(HttpError::PrivateTracker);
        }
        if let Some(proxy) = &self.proxy {
            // For a name, only the proxy knows the address.
            let local = literal.is_some_and(|ip| (self.is_local)(ip));
            return through(proxy, host, origin, local).await;
        }
        let all: Vec<SocketAddr> = match (host, literal) {
            (Host::Domain(name), _) => tokio::net::lookup_host((name, port))
                .await
                .map_err(|_| HttpError::NoSuchName)?
                .collect(),
            (_, Some(ip)) => vec![(ip, port).into()],
            (_, None) => Vec::new(),
        };
        if all.is_empty() {
            return Err(HttpError::NoSuchName);
        }
        let allowed: Vec<SocketAddr> = all
            .into_iter()
            .filter(|address| anywhere || !(self.is_local)(address.ip()))
            .collect();
        if allowed.is_empty() {
            return Err(HttpError::PrivateTracker);
        }
        let fitting: Vec<SocketAddr> = allowed
            .into_iter()
            .filter(|address| family.is_none_or(|family| family.has(address.ip())))
            .take(MAX_ADDRESSES)
            .collect();
        if fitting.is_empty() {
            return Err(HttpError::OtherFamily);
        }
        let (tcp, ip) = first(&fitting).await?;
        Ok(Connected {
            io: Box::new(tcp),
            local: (self.is_local)(ip),
            forward: None,
        })
    }
}

/// Connects through a proxy, which resolves names. Plain HTTP is forwarded if the proxy does so; everything else uses a
/// tunnel.
async fn through(
    proxy: &Proxy,
    host: Host<&str>,
    origin: &Origin,
    local: bool,
) -> Result<Connected, HttpError> {
    let refused = |error: ProxyError| HttpError::Proxy(error.to_string());
    if !origin.https
        && let Some(forward) = proxy.forward().await
    {
        let (tcp, authorization) = forward.map_err(refused)?;
        let authorization = authorization.and_then(|text| HeaderValue::from_str(&text).ok());
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        return Ok(Connected {
            io: Box::new(tcp),
            local,
            forward: Some(Forward { authorization }),
        });
    }
    let tcp = proxy.connect(&host.to_owned(), origin.port).await;
    Ok(Connected {
        io: Box::new(tcp.map_err(refused)?),
        local,
        forward: None,
    })
}

/// The connection that is established first.
async fn first(addresses: &[SocketAddr]) -> Result<(TcpStream, IpAddr), HttpError> {
    let mut attempts: FuturesUnordered<_> = (0..)
        .zip(addresses)
        .map(|(place, &address)| async move {
            tokio::time::sleep(STAGGER * place).await;
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok((tcp, address.ip()))
        })
        .collect();
    let mut failure = HttpError::Unreachable;
    while let Some(end) = attempts.next().await {
        match end {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = explain(&error),
        }
    }
    Err(failure)
}

/// Starts TLS on a connection. `host`: as written in the URL.
pub(super) async fn secure(
    tls: &TlsConnector,
    host: &str,
    io: Box<dyn Duplex>,
) -> Result<Box<dyn Duplex>, HttpError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned()).map_err(|_| HttpError::NoSuchName)?;
    match tls.connect(name, io).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(explain(&error)),
    }
}

/// Maps an error to its cause, as far as a user can act on it.
fn explain(error: &io::Error) -> HttpError {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, error.kind()) {
        (Some(tls), _) => HttpError::Tls(tls.to_string()),
        (None, io::ErrorKind::ConnectionRefused) => HttpError::ConnectionRefused,
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => HttpError::Broken,
        (None, _) => HttpError::Unreachable,
    }
}

/// A TLS client that trusts Mozilla's roots and `more` besides.
pub(super) fn tls(alpn: &[&str], more: &[Vec<u8>]) -> Result<TlsConnector, rustls::Error> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in more {
        roots.add(CertificateDer::from(root.as_slice()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}
