//! The HTTP(S) client: sends requests, decides where requests and redirects may lead, and bounds what is read.
//!
//! A tracker's URL comes from a file that anyone may have written, and its answer from anyone at all. So neither may
//! lead into a loopback, private or link-local network, except for trackers that are there themselves, and then only at
//! the path `/announce`. Names are resolved here, so that a public name with a private address is judged by its
//! address.
//!
//! Requests are hyper's HTTP/1 with the headers of the client that the node looks like, in its order ([`request`]):
//! clients above hyper add some of their own. They are sent over a connection from [`connect`] or through a proxy.

mod body;
mod connect;
mod line;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::{
    Request, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use self::{
    connect::{Connector, Forward},
    line::{Line, Reply},
};
use super::TrackerConfig;
use crate::disguise::{Client, Disguise};

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Connections kept for later, one per tracker and family.
const MAX_IDLE: usize = 32;
/// How long they are kept: as long as libcurl keeps them.
const IDLE_TIME: Duration = Duration::from_secs(118);
/// The one path that may be requested on a local network.
const LOCAL_PATH: &str = "/announce";
/// The path that replaces it in a scrape.
const LOCAL_SCRAPE: &str = "/scrape";

/// Why a tracker gave no answer, as a phrase for its user.
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
    #[error("redirects to something that is not a web address")]
    BadRedirect,
    #[error("is in a private network, where only the path /announce is asked for: refused")]
    PrivateTracker,
    #[error("its name cannot be resolved")]
    NoSuchName,
    #[error("has no address of that family")]
    OtherFamily,
    #[error("is not asked: {0}")]
    Proxy(String),
    #[error("refused the connection")]
    ConnectionRefused,
    #[error("cannot be reached")]
    Unreachable,
    #[error("its TLS certificate or handshake is not acceptable: {0}")]
    Tls(String),
    #[error("broke off, or does not speak HTTP")]
    Broken,
}

impl HttpError {
    /// Whether there was no answer at all, as when something on the path blocks the tracker.
    pub(super) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::TimedOut(_) | Self::ConnectionRefused | Self::Unreachable | Self::Broken
        )
    }
}

/// The body of an answer, decompressed.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// Whether it came from a loopback, private or link-local address.
    pub(super) local: bool,
}

/// The address family that a request is restricted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == Self::V4)
    }
}

/// What a kept connection may be used for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
    family: Option<Family>,
    /// Whether local addresses were acceptable when it was made.
    anywhere: bool,
}

/// The HTTP(S) client.
pub(super) struct Http {
    disguise: Disguise,
    connector: Connector,
    tls: TlsConnector,
    idle: Mutex<HashMap<Origin, (Line, Instant)>>,
}

impl Http {
    /// A client that trusts the bundled roots of Mozilla and reads no proxy from the environment. Cheap enough to build
    /// at each start of the actor.
    pub(super) fn new(config: &TrackerConfig) -> Result<Self, rustls::Error> {
        let disguise = config.torrents.disguise();
        Ok(Self {
            disguise,
            connector: Connector::new(config.is_local, config.proxy.clone()),
            tls: connect::tls(disguise.client().alpn, &config.roots)?,
            idle: Mutex::default(),
        })
    }

    /// Sends a request and follows redirects; all of it within `limit`. `family`: the only family of addresses to use.
    pub(super) async fn get(
        &self,
        url: Url,
        family: Option<Family>,
        limit: Duration,
    ) -> Result<Body, HttpError> {
        // Boxed, since it nests many small state machines.
        tokio::time::timeout(limit, Box::pin(self.follow(url, family)))
            .await
            .unwrap_or(Err(HttpError::TimedOut(limit)))
    }

    async fn follow(&self, mut url: Url, family: Option<Family>) -> Result<Body, HttpError> {
        // Whether the tracker's own host is on a local network; unknown before its first answer.
        let mut own = None;
        let mut seen = HashSet::new();
        for _ in 0..=MAX_REDIRECTS {
            let (reply, local) = self.ask(&url, family, own).await?;
            if reply.status.is_success() {
                let bytes = body::decoded(&reply.headers, reply.body).await?;
                return Ok(Body { bytes, local });
            }
            own = own.or(Some(local));
            let next = target(&url, reply.status, &reply.headers)?;
            seen.insert(std::mem::replace(&mut url, next));
            if seen.contains(&url) {
                return Err(HttpError::RedirectLoop);
            }
        }
        Err(HttpError::TooManyRedirects)
    }

    /// Sends one request. `own`: whether the tracker is on a local network; `None` for the request to the tracker
    /// itself.
    async fn ask(
        &self,
        url: &Url,
        family: Option<Family>,
        own: Option<bool>,
    ) -> Result<(Reply, bool), HttpError> {
        let host = url.host().ok_or(HttpError::BadRedirect)?;
        let origin = Origin {
            https: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            family,
            anywhere: own.unwrap_or(true) && matches!(url.path(), LOCAL_PATH | LOCAL_SCRAPE),
        };
        let client = self.disguise.client();
        if let Some(line) = self.take(&origin) {
            let local = line.local;
            let request = request(url, client, line.forward.as_ref())?;
            // The tracker may have closed it in the meantime, without an answer.
            if let Some(reply) = self.exchange(line, request, &origin).await? {
                return Ok((reply, local));
            }
        }
        let line = self.connect(host, &origin, own.is_none()).await?;
        let local = line.local;
        let request = request(url, client, line.forward.as_ref())?;
        let reply = self.exchange(line, request, &origin).await?;
        Ok((reply.ok_or(HttpError::Broken)?, local))
    }

    async fn connect(
        &self,
        host: Host<&str>,
        origin: &Origin,
        first: bool,
    ) -> Result<Line, HttpError> {
        let connected = self.connector.connect(host, origin).await;
        let mut connected = connected.map_err(|error| match error {
            HttpError::PrivateTracker if !first => HttpError::PrivateRedirect,
            other => other,
        })?;
        if origin.https {
            connected.io = connect::secure(&self.tls, &origin.host, connected.io).await?;
        }
        Line::new(connected).await
    }

    /// Sends a request over a connection, which is kept if it can be used again. `None` if it had ended.
    async fn exchange(
        &self,
        mut line: Line,
        request: Request<String>,
        origin: &Origin,
    ) -> Result<Option<Reply>, HttpError> {
        let Some(reply) = line.exchange(request).await? else {
            return Ok(None);
        };
        if reply.reusable && self.disguise.client().keeps_connections {
            let now = Instant::now();
            let mut idle = self.idle();
            idle.retain(|_, (_, since)| now.duration_since(*since) < IDLE_TIME);
            if idle.len() < MAX_IDLE {
                idle.insert(origin.clone(), (line, now));
            }
        }
        Ok(Some(reply))
    }

    fn take(&self, origin: &Origin) -> Option<Line> {
        let (line, since) = self.idle().remove(origin)?;
        (since.elapsed() < IDLE_TIME).then_some(line)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Origin, (Line, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request, with all its headers in the client's order.
fn request(
    url: &Url,
    client: &Client,
    forward: Option<&Forward>,
) -> Result<Request<String>, HttpError> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut target = match forward {
        Some(_) => format!("http://{host}"),
        None => String::new(),
    };
    let host = HeaderValue::from_str(&host).map_err(|_| HttpError::BadRedirect)?;
    target.push_str(url.path());
    if let Some(query) = url.query() {
        target.push('?');
        target.push_str(query);
    }
    let mut request = Request::new(String::new());
    *request.uri_mut() = target.parse().map_err(|_| HttpError::BadRedirect)?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, host);
    if let Some(authorization) = forward.and_then(|forward| forward.authorization.as_ref()) {
        headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    for (name, value) in client.headers {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Ok(request)
}

/// The target of a redirect.
fn target(from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Url, HttpError> {
    let status = status.as_u16();
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Err(HttpError::Status(status));
    }
    let next = headers
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

#[cfg(test)]
mod tests;
