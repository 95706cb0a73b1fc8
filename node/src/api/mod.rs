//! The local API: HTTP/1 with JSON under `/v1`, on loopback, for the owner's programs alone.
//!
//! Every request carries the home's bearer token, names this very address as its `Host` and, when a browser
//! sends it, as its `Origin` ([`auth`]). [`server`] owns the listener and its connections; [`stream`] is the
//! resumable stream of what happens. The document that describes it all is at `/v1/openapi.json`.

pub mod auth;
pub mod channels;
pub mod conversation;
pub mod dht;
pub mod dto;
pub mod messages;
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
    routing::{MethodRouter, get, post},
};
use bitchat_actors::node::Node;
use tokio_util::sync::CancellationToken;

use crate::error::Failure;

/// The largest body: the longest message with every byte escaped, and its key; a channel file is smaller.
const BODY_CAP: usize = 512 * 1024;
/// A request that is not read and answered within this is given up. Streams are answered at once, and go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// The node.
    pub node: Node,
    /// Trackers of channels created without any.
    pub trackers: Vec<String>,
    /// When it fires, streams end.
    pub stop: CancellationToken,
}

/// Every path with its methods: the router is made of it, and a test compares the document with it.
pub fn routes() -> Vec<(&'static str, &'static [&'static str], MethodRouter<Api>)> {
    vec![
        ("/v1/status", &["get"], get(status::status)),
        ("/v1/openapi.json", &["get"], get(openapi::document)),
        ("/v1/doctor", &["get"], get(status::doctor)),
        ("/metrics", &["get"], get(status::metrics)),
        ("/v1/dht", &["get"], get(dht::show)),
        ("/v1/dht/{hash}", &["get"], get(dht::get)),
        (
            "/v1/channels",
            &["get", "post"],
            get(channels::list).post(channels::create),
        ),
        ("/v1/channels/join", &["post"], post(channels::join)),
        (
            "/v1/channels/{ch}",
            &["get", "delete"],
            get(channels::info).delete(channels::leave),
        ),
        ("/v1/channels/{ch}/file", &["get"], get(channels::file)),
        (
            "/v1/channels/{ch}/connect",
            &["post"],
            post(channels::connect),
        ),
        ("/v1/channels/{ch}/trackers", &["post"], post(trackers::add)),
        (
            "/v1/channels/{ch}/trackers/{url}",
            &["delete"],
            axum::routing::delete(trackers::remove),
        ),
        (
            "/v1/channels/{ch}/announce",
            &["post"],
            post(trackers::announce),
        ),
        (
            "/v1/channels/{ch}/members",
            &["get"],
            get(channels::members),
        ),
        (
            "/v1/channels/{ch}/messages",
            &["get", "post"],
            get(messages::page).post(messages::send),
        ),
        (
            "/v1/channels/{ch}/messages/{event}",
            &["get", "patch", "delete"],
            get(conversation::show)
                .patch(conversation::edit)
                .delete(conversation::delete),
        ),
        (
            "/v1/channels/{ch}/messages/{event}/reactions",
            &["post"],
            post(conversation::react),
        ),
        (
            "/v1/channels/{ch}/typing",
            &["post"],
            post(conversation::typing),
        ),
        (
            "/v1/channels/{ch}/read",
            &["post"],
            post(conversation::read),
        ),
        (
            "/v1/channels/{ch}/members/{id}/picture",
            &["get"],
            get(profile::member_picture),
        ),
        ("/v1/search", &["get"], get(conversation::search)),
        (
            "/v1/profile",
            &["get", "put"],
            get(profile::show).put(profile::set),
        ),
        (
            "/v1/profile/picture",
            &["get", "put", "delete"],
            get(profile::picture)
                .put(profile::set_picture)
                .delete(profile::remove_picture),
        ),
        ("/v1/events", &["get"], get(stream::events)),
    ]
}

/// The whole API behind its guard.
pub fn router(api: Api, guard: auth::Guard) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, _, handlers)| {
            router.route(path, handlers)
        })
        .with_state(api);
    guarded(router, guard)
}

/// Puts limits, JSON errors and the guard around any router. The guard comes first: a stranger does not
/// even learn which paths there are.
pub fn guarded(router: Router, guard: auth::Guard) -> Router {
    router
        .fallback(async || reply::Error::not_found("no such path: /v1/openapi.json lists them all"))
        .method_not_allowed_fallback(async || {
            reply::Error(
                StatusCode::METHOD_NOT_ALLOWED,
                Failure::new("bad_request", "that path does not take that method"),
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
    // Said to be too large: refused before any of it is waited for.
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_CAP as u64) {
        return Err(reply::Error(
            StatusCode::PAYLOAD_TOO_LARGE,
            Failure::new("too_large", "the body is larger than any request needs"),
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
