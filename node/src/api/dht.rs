//! The DHT: the state of this node's part of it, and lookups by hand.

use axum::{Json, extract::State, routing};
use bitchat_actors::internals::dht::Id;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Error, Named},
};
use crate::shapes;

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/dht", &["get"], routing::get(show)),
        ("/v1/dht/{hash}", &["get"], routing::get(get)),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(show, get))]
pub struct Document;

/// Returns the state of this node's part of the DHT.
#[utoipa::path(get, path = "/v1/dht", tag = "node",
    responses((status = 200, body = shapes::Dht), (status = 409, body = shapes::Problem)))]
pub async fn show(State(api): State<Api>) -> Result<Json<shapes::Dht>, Error> {
    Ok(Json(shapes::Dht::new(&api.node.dht().await?)))
}

/// Looks up an infohash without announcing it. Takes up to 40 s.
#[utoipa::path(get, path = "/v1/dht/{hash}", tag = "node",
    params(("hash" = String, Path, description = "40 hexadecimal digits")),
    responses((status = 200, body = shapes::DhtFound), (status = 400, body = shapes::Problem),
        (status = 409, body = shapes::Problem)))]
pub async fn get(
    State(api): State<Api>,
    Named(hash): Named,
) -> Result<Json<shapes::DhtFound>, Error> {
    let hash = hex::decode(&hash)
        .ok()
        .and_then(|bytes| Id::read(&bytes))
        .ok_or_else(|| Error::bad_request("an infohash has 40 hexadecimal digits"))?;
    let result = api.node.dht_lookup(hash).await?;
    Ok(Json(shapes::DhtFound::new(hash, &result)))
}
