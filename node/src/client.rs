//! The command line's side of the local API.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{error::Failure, home::Home};

/// A node on this machine takes a connection at once, or is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest answer to a request that is no stream.
const ANSWER: Duration = Duration::from_secs(60);
/// The largest answer: a page of 1,000 messages, each the longest, fully escaped, would be larger; pages
/// are halved when that happens.
const ANSWER_CAP: usize = 64 * 1024 * 1024;

/// A client of the node that runs for a home.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Zeroizing<String>,
}

/// No node runs for this home.
pub fn no_node(home: &Home) -> Failure {
    let given = match Home::find(None) {
        Ok(usual) if usual.root() == home.root() => String::new(),
        _ => format!(" --home {}", home.root().display()),
    };
    Failure::new(
        "no_node",
        format!("no node runs for this home; start one with `bitchat{given} up`"),
    )
}

impl Client {
    /// A client of the node that runs for this home.
    pub fn of(home: &Home) -> Result<Self, Failure> {
        let running = home.running()?.ok_or_else(|| no_node(home))?;
        let token = home.known_token()?.ok_or_else(|| no_node(home))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .map_err(|e| Failure::new("internal", format!("no HTTP client: {e}")))?;
        Ok(Self {
            http,
            base: running.api,
            token,
        })
    }

    /// A request to a path made of segments, each percent-encoded here.
    pub fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, Failure> {
        Ok(self
            .http
            .request(method, self.url(segments)?)
            .bearer_auth(self.token.as_str()))
    }

    fn url(&self, segments: &[&str]) -> Result<url::Url, Failure> {
        let mut url = url::Url::parse(&self.base)
            .map_err(|e| Failure::new("internal", format!("node.json: {e}")))?;
        for segment in segments {
            // The URL rules would take these two for the folder itself and the one above.
            if matches!(*segment, "" | "." | "..") {
                return Err(Failure::new(
                    "no_channel",
                    format!("{segment:?} cannot be asked for: use a prefix of the channel's id"),
                ));
            }
        }
        url.path_segments_mut()
            .map_err(|()| Failure::new("internal", "node.json: no base"))?
            .extend(segments);
        Ok(url)
    }

    /// A GET with parameters.
    pub fn get(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.url(segments)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.get(url).bearer_auth(self.token.as_str()))
    }

    /// A POST of JSON.
    pub fn post(&self, segments: &[&str], body: &Value) -> Result<RequestBuilder, Failure> {
        self.with_json(Method::POST, segments, body)
    }

    /// A request with JSON.
    pub fn with_json(
        &self,
        method: Method,
        segments: &[&str],
        body: &Value,
    ) -> Result<RequestBuilder, Failure> {
        Ok(self
            .request(method, segments)?
            .header("content-type", "application/json")
            .body(body.to_string()))
    }

    /// Sends a request, and turns the API's errors into ours.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Lost> {
        let response = request.send().await.map_err(Lost::Connection)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(Lost::Refused(refusal(response, status).await))
    }

    /// Sends a request and reads its JSON answer.
    pub async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        Ok(self.try_json(request).await?)
    }

    /// As [`Self::json`]; the caller can tell a refusal from a lost connection.
    pub async fn try_json(&self, request: RequestBuilder) -> Result<Value, Lost> {
        let bytes = self.try_bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Lost::Refused(Failure::new(
                "internal",
                format!("the node's answer is not understood ({e}): is it another version?"),
            ))
        })
    }

    /// Sends a request and reads its answer as bytes.
    pub async fn bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, Failure> {
        Ok(self.try_bytes(request).await?)
    }

    async fn try_bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, Lost> {
        let response = self.send(request.timeout(ANSWER)).await?;
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

/// Why there is no answer.
#[derive(Debug)]
pub enum Lost {
    /// The node said no.
    Refused(Failure),
    /// The node could not be asked, or went away before it answered: it may have done it all the same.
    Connection(reqwest::Error),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Refused(failure) => failure,
            Lost::Connection(e) if e.is_timeout() => {
                Self::new("timeout", "the node does not answer; is it very busy?")
            }
            Lost::Connection(e) if e.is_connect() => Self::new(
                "no_node",
                "the node of this home cannot be reached; if it has stopped, start it with `bitchat up`",
            ),
            Lost::Connection(_) => Self::new(
                "no_node",
                "the node went away before it answered; if it has stopped, start it with `bitchat up`",
            ),
        }
    }
}

async fn refusal(response: Response, status: StatusCode) -> Failure {
    let told = async {
        let bytes = read(response, 64 * 1024).await.ok()?;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let error = value.get("error")?;
        let message = error.get("message")?.as_str()?.to_owned();
        Some(Failure::new(known(error.get("code")?.as_str()?), message))
    };
    told.await
        .unwrap_or_else(|| Failure::new("internal", format!("the node answered {status}")))
}

/// Codes are static words here; the API's are among these.
fn known(code: &str) -> &'static str {
    const CODES: &[&str] = &[
        "ambiguous",
        "bad_file",
        "bad_host",
        "bad_origin",
        "bad_picture",
        "bad_request",
        "bad_text",
        "busy",
        "database",
        "deleted",
        "dht_off",
        "disk_full",
        "exists",
        "forked",
        "internal",
        "invite_only",
        "newer_database",
        "no_channel",
        "no_event",
        "no_tracker",
        "not_found",
        "not_text",
        "not_yours",
        "stopping",
        "timeout",
        "too_large",
        "unauthorized",
    ];
    CODES
        .iter()
        .find(|known| **known == code)
        .copied()
        .unwrap_or("internal")
}
