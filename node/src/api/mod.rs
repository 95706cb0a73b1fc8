//! The local API: HTTP/1 with JSON under `/v1`, on loopback, only for programs of the node's owner.
//!
//! Every request carries the home's bearer token, names this very address as its `Host` and, when a browser
//! sends it, as its `Origin` ([`auth`]). [`server`] owns the listener and its connections. The other modules are
//! one per capability, each with its handlers, their routes and their part of the OpenAPI document, which is served
//! at `/v1/openapi.json`.

pub mod auth;
pub mod channels;
pub mod chat;
pub mod dht;
pub mod members;
pub mod openapi;
pub mod profile;
pub mod reply;
pub mod server;
pub mod status;
pub mod stream;
pub mod trackers;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::MethodRouter,
};
use bitchat_actors::node::Node;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;

use crate::error::Failure;

/// The largest body: the longest message with every byte escaped, and its key; a channel file is smaller.
const BODY_CAP: usize = 512 * 1024;
/// A request that is not read and answered within this time is aborted. A stream counts as answered once it begins.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state that handlers share.
#[derive(Clone)]
pub struct Api {
    /// The node.
    pub node: Node,
    /// The trackers of channels that are created without any.
    pub trackers: Vec<String>,
    /// Ends the streams when it fires.
    pub stop: CancellationToken,
}

/// A path, its methods, and the router for them.
pub type Route = (&'static str, &'static [&'static str], MethodRouter<Api>);
/// The paths of a capability.
pub type Routes = Vec<Route>;
/// What a capability adds to the API: its paths, and its part of the OpenAPI document.
pub type Capability = (fn() -> Routes, fn() -> utoipa::openapi::OpenApi);

/// Every capability; a new one is a line here.
const CAPABILITIES: &[Capability] = &[
    (status::routes, status::Document::openapi),
    (openapi::routes, openapi::Document::openapi),
    (dht::routes, dht::Document::openapi),
    (channels::routes, channels::Document::openapi),
    (trackers::routes, trackers::Document::openapi),
    (members::routes, members::Document::openapi),
    (chat::routes, chat::Document::openapi),
    (profile::routes, profile::Document::openapi),
    (stream::routes, stream::Document::openapi),
];

/// The paths of all capabilities: the router is made of them, and a test compares the document with them.
pub fn all_routes() -> impl Iterator<Item = Route> {
    CAPABILITIES.iter().flat_map(|(routes, _)| routes())
}

/// Builds the router of the whole API, behind its guard.
pub fn router(api: Api, guard: auth::Guard) -> Router {
    let router = all_routes()
        .fold(Router::new(), |router, (path, _, handlers)| {
            router.route(path, handlers)
        })
        .with_state(api);
    guarded(router, guard)
}

/// Wraps any router in limits, JSON errors and the guard. The guard comes first: without the token, nothing can be
/// learned about which paths exist.
pub fn guarded(router: Router, guard: auth::Guard) -> Router {
    router
        .fallback(async || reply::Error::not_found("no such path; GET /v1/openapi.json lists all of them"))
        .method_not_allowed_fallback(async || {
            reply::Error(
                StatusCode::METHOD_NOT_ALLOWED,
                Failure::new("bad_request", "this path does not support this method; GET /v1/openapi.json lists those that it does"),
            )
        })
        .layer(DefaultBodyLimit::max(BODY_CAP))
        .layer(middleware::from_fn(patience))
        .layer(middleware::from_fn_with_state(
            std::sync::Arc::new(guard),
            auth::check,
        ))
}

async fn patience(request: Request, next: Next) -> Result<Response, reply::Error> {
    // Too large by its own Content-Length: rejected without reading any of it.
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_CAP as u64) {
        return Err(reply::Error(
            StatusCode::PAYLOAD_TOO_LARGE,
            Failure::new(
                "too_large",
                "the body is larger than any request can be (512 KiB)",
            ),
        ));
    }
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => Ok(response),
        Err(_) => Err(reply::Error(
            StatusCode::REQUEST_TIMEOUT,
            Failure::new("timeout", "the request took too long"),
        )),
    }
}
