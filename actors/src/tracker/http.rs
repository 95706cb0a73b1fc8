//! Asks HTTP(S) trackers: what goes over the wire, where redirects may lead, and how much is read.
//!
//! A tracker's URL comes from a file that anyone may have written, and its answer from anyone at all. So
//! neither may lead into a loopback, private or link-local network, but for trackers that stand there
//! themselves, and then only at the path `/announce`. Names are resolved here, so that a public name
//! with a private address is judged by its address.

use std::{
    collections::HashSet,
    error::Error as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{self, HeaderMap, HeaderValue},
};
use url::{Host, Url};

use super::{announce, reply::MAX_BODY};
use crate::transport::Proxy;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Idle connections kept to one tracker.
const IDLE_PER_HOST: usize = 1;
/// The one path that may be asked for on a local network.
const LOCAL_PATH: &str = "/announce";

/// Why a tracker gave no answer, in words for its user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("answered with an error page (HTTP {0})")]
    Status(u16),
    #[error("answered with more than 1 MiB")]
    TooLarge,
    #[error("redirects in a loop")]
    RedirectLoop,
    #[error("redirects more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
    #[error("redirects into a private network: refused")]
    PrivateRedirect,
    #[error("redirects from https to http: refused")]
    Downgrade,
    #[error("redirects to something that is no web address")]
    BadRedirect,
    #[error("is in a private network, where only the path /announce is asked for: refused")]
    PrivateTracker,
    #[error("its name cannot be resolved")]
    NoSuchName,
    #[error("refused the connection")]
    ConnectionRefused,
    #[error("cannot be reached")]
    Unreachable,
    #[error("its TLS certificate or handshake is not acceptable: {0}")]
    Tls(String),
    #[error("broke off, or does not speak HTTP")]
    Broken,
}

/// The body of an answer, decompressed.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// It came from a loopback, private or link-local address.
    pub(super) local: bool,
}

/// Two clients: one that goes anywhere, and one that resolves no name to a local address.
pub(super) struct Http {
    anywhere: Client,
    public: Client,
    is_local: fn(IpAddr) -> bool,
    /// Through a proxy nobody sees where a tracker is, and names are the proxy's to resolve.
    proxied: bool,
}

impl Http {
    /// Cheap enough to build at each start of the actor. TLS with the bundled roots of Mozilla; no proxy
    /// from the environment.
    pub(super) fn new(
        is_local: fn(IpAddr) -> bool,
        proxy: Option<&Proxy>,
    ) -> Result<Self, reqwest::Error> {
        let tls = tls();
        let refuse = proxy.is_none().then_some(is_local);
        Ok(Self {
            anywhere: client(tls.clone(), None, proxy)?,
            public: client(tls, refuse, proxy)?,
            is_local,
            proxied: proxy.is_some(),
        })
    }

    /// Asks, following redirects; all of it within `limit`.
    pub(super) async fn get(&self, url: Url, limit: Duration) -> Result<Body, HttpError> {
        tokio::time::timeout(limit, self.follow(url))
            .await
            .unwrap_or(Err(HttpError::TimedOut(limit)))
    }

    async fn follow(&self, mut url: Url) -> Result<Body, HttpError> {
        // Whether the tracker's own host is on a local network; unknown before its first answer.
        let mut own = None;
        let mut seen = HashSet::new();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&url, own).await?;
            let local = if self.proxied {
                literal(&url).is_some_and(self.is_local)
            } else {
                let remote = response.remote_addr();
                remote.is_some_and(|remote| (self.is_local)(remote.ip()))
            };
            if !response.status().is_redirection() {
                return read(response, local).await;
            }
            own = own.or(Some(local));
            let next = target(&url, &response)?;
            seen.insert(std::mem::replace(&mut url, next));
            if seen.contains(&url) {
                return Err(HttpError::RedirectLoop);
            }
        }
        Err(HttpError::TooManyRedirects)
    }

    /// One request. `own` is `None` for the tracker itself, else whether it is on a local network.
    async fn ask(&self, url: &Url, own: Option<bool>) -> Result<Response, HttpError> {
        let refusal = match own {
            None => HttpError::PrivateTracker,
            Some(_) => HttpError::PrivateRedirect,
        };
        let anywhere = own.unwrap_or(true) && url.path() == LOCAL_PATH;
        if !anywhere && literal(url).is_some_and(self.is_local) {
            return Err(refusal);
        }
        let client = if anywhere {
            &self.anywhere
        } else {
            &self.public
        };
        client
            .get(url.clone())
            .headers(headers(url)?)
            .send()
            .await
            .map_err(|error| explain(&error, refusal))
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
        Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        Host::Domain(_) => None,
    }
}

/// All headers, in this order. `Host` is named here only because it would be sent last otherwise.
fn headers(url: &Url) -> Result<HeaderMap, HttpError> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let host = HeaderValue::from_str(&host).map_err(|_| HttpError::BadRedirect)?;
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::HOST, host);
    for (name, value) in [
        (header::USER_AGENT, announce::USER_AGENT),
        (header::ACCEPT, announce::ACCEPT),
        (header::ACCEPT_ENCODING, announce::ACCEPT_ENCODING),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(headers)
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Result<Url, HttpError> {
    let status = response.status().as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Err(HttpError::Status(status));
    }
    let next = response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .filter(|next| next.has_host())
        .ok_or(HttpError::BadRedirect)?;
    match (from.scheme(), next.scheme()) {
        ("https", "http") => Err(HttpError::Downgrade),
        (_, "http" | "https") => Ok(next),
        _ => Err(HttpError::BadRedirect),
    }
}

/// Reads the body piece by piece, so that neither length nor compression can make it large.
async fn read(mut response: Response, local: bool) -> Result<Body, HttpError> {
    if !response.status().is_success() {
        return Err(HttpError::Status(response.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| HttpError::Broken)? {
        if bytes.len() + piece.len() > MAX_BODY {
            return Err(HttpError::TooLarge);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Body { bytes, local })
}

/// Finds the cause that a user can do something about.
fn explain(error: &reqwest::Error, refusal: HttpError) -> HttpError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(name) = cause.downcast_ref::<NameError>() {
            return match name {
                NameError::Local => refusal,
                NameError::Unknown => HttpError::NoSuchName,
            };
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return HttpError::Tls(tls.to_string());
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return HttpError::ConnectionRefused;
            }
            // An error of TLS is wrapped by one of input and output, which shows it not as a source.
            if let Some(tls) = io
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            {
                return HttpError::Tls(tls.to_string());
            }
        }
        source = cause.source();
    }
    if error.is_connect() {
        HttpError::Unreachable
    } else {
        HttpError::Broken
    }
}

fn tls() -> rustls::ClientConfig {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn client(
    tls: rustls::ClientConfig,
    refuse: Option<fn(IpAddr) -> bool>,
    proxy: Option<&Proxy>,
) -> Result<Client, reqwest::Error> {
    let builder = match proxy.and_then(Proxy::full_url) {
        Some(url) => Client::builder().proxy(reqwest::Proxy::all(url)?),
        None => Client::builder().no_proxy(),
    };
    builder
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Names { refuse }))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .http1_only()
        .http1_title_case_headers()
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
}

/// The system's resolver, which may refuse some addresses.
struct Names {
    refuse: Option<fn(IpAddr) -> bool>,
}

#[derive(Debug, thiserror::Error)]
enum NameError {
    #[error("the name leads into a private network")]
    Local,
    #[error("no such name")]
    Unknown,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let refuse = self.refuse;
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_| NameError::Unknown)?
                .collect();
            if all.is_empty() {
                return Err(NameError::Unknown.into());
            }
            let good: Vec<SocketAddr> = all
                .into_iter()
                .filter(|address| !refuse.is_some_and(|refuse| refuse(address.ip())))
                .collect();
            if good.is_empty() {
                return Err(NameError::Local.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}
