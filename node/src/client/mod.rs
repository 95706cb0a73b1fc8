//! A client of the local API, typed by [`crate::shapes`]: the command line, the tests and other faces use it.
//!
//! This module makes requests and reads answers; each capability's calls are in a file of its name.

mod channels;
mod chat;
mod dht;
mod error;
mod members;
mod profile;
mod sse;
mod status;
mod stream;
mod trackers;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, redirect};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use self::error::{Lost, refusal};
pub use self::{error::no_node, stream::Events};
use crate::{error::Failure, home::Home};

/// Bound on connecting: a node on this machine accepts at once, or is not running.
const CONNECT: Duration = Duration::from_secs(5);
/// Bound on a whole answer, streams excepted.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest answer in bytes. The command line asks for pages of 250 messages, which stay below it even if each is
/// of the largest size and fully escaped.
const ANSWER_CAP: usize = 64 * 1024 * 1024;

/// A client of the node that runs for a home.
pub struct Client {
    home: Home,
    http: reqwest::Client,
    base: String,
    token: Zeroizing<String>,
}

impl Client {
    /// Creates a client of the node that runs for this home.
    pub fn of(home: &Home) -> Result<Self, Failure> {
        let running = home.running()?.ok_or_else(|| no_node(home))?;
        let token = home.known_token()?.ok_or_else(|| no_node(home))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|e| Failure::new("internal", format!("cannot create an HTTP client: {e}")))?;
        Ok(Self {
            home: home.clone(),
            http,
            base: running.api,
            token,
        })
    }

    /// Starts a request for a path made of segments, each percent-encoded here.
    fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.url(segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self
            .http
            .request(method, url)
            .bearer_auth(self.token.as_str()))
    }

    fn url(&self, segments: &[&str]) -> Result<url::Url, Failure> {
        let mut url = url::Url::parse(&self.base)
            .map_err(|e| Failure::new("internal", format!("node.json: {e}")))?;
        for segment in segments {
            // URLs give `.` and `..` a meaning of their own: this folder, and the one above.
            if matches!(*segment, "" | "." | "..") {
                return Err(Failure::new(
                    "no_channel",
                    format!(
                        "{segment:?} cannot name a channel here: use a prefix of the channel's id"
                    ),
                ));
            }
        }
        url.path_segments_mut()
            .map_err(|()| Failure::new("internal", "node.json: the API's URL has no path"))?
            .extend(segments);
        Ok(url)
    }

    /// Makes a GET request and reads its JSON answer.
    async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let request = self.request(Method::GET, segments, query)?;
        self.answer(self.json(request).await)
    }

    /// Makes a DELETE request and reads its JSON answer.
    async fn remove<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Failure> {
        let request = self.request(Method::DELETE, segments, &[])?;
        self.answer(self.json(request).await)
    }

    /// Makes a request with a JSON body and reads its JSON answer.
    async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.with_json(method, segments, body)?;
        self.answer(self.json(request).await)
    }

    /// As [`Self::send_json`], for a request that may be repeated. If the connection breaks, the request is made once
    /// more: the node may have been restarted in the meantime.
    async fn send_json_twice<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let first = self.with_json(method.clone(), segments, body)?;
        match self.json(first).await {
            Err(Lost::Connection(_)) => {
                let client = Self::of(&self.home)?;
                client.send_json(method, segments, body).await
            }
            other => self.answer(other),
        }
    }

    /// Makes a request with bytes as its body and reads its JSON answer.
    async fn send_bytes<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Vec<u8>,
    ) -> Result<T, Failure> {
        let request = self
            .request(method, segments, &[])?
            .header("content-type", "application/octet-stream")
            .body(body);
        self.answer(self.json(request).await)
    }

    /// Makes a GET request and reads its answer as bytes.
    async fn get_bytes(&self, segments: &[&str]) -> Result<Vec<u8>, Failure> {
        let request = self.request(Method::GET, segments, &[])?;
        self.answer(self.bytes(request).await)
    }

    /// Converts the reason why there is no answer.
    fn answer<T>(&self, answer: Result<T, Lost>) -> Result<T, Failure> {
        answer.map_err(|lost| lost.explain(&self.home))
    }

    fn with_json(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<RequestBuilder, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::new("internal", e.to_string()))?;
        Ok(self
            .request(method, segments, &[])?
            .header("content-type", "application/json")
            .body(body))
    }

    /// Sends a request; an error that the API answers becomes a [`Failure`].
    async fn open(&self, request: RequestBuilder) -> Result<Response, Lost> {
        let response = request.send().await.map_err(Lost::Connection)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(Lost::Refused(refusal(response, status).await))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Lost> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Lost::Refused(Failure::new(
                "internal",
                format!(
                    "cannot read the node's answer ({e}): does it run another version of bitchat?"
                ),
            ))
        })
    }

    async fn bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, Lost> {
        let response = self.open(request.timeout(ANSWER)).await?;
        read(response, ANSWER_CAP).await
    }
}

async fn read(mut response: Response, cap: usize) -> Result<Vec<u8>, Lost> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Lost::Connection)? {
        if bytes.len() + chunk.len() > cap {
            return Err(Lost::Refused(Failure::new(
                "too_large",
                "the node's answer is too large: ask for less with --limit",
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
