//! The DHT: how our node of it does, and lookups by hand.

use axum::{Json, extract::State};
use bitchat_actors::dht::Id;

use super::{
    Api, dto,
    reply::{Error, Named},
};

/// How this node's part of the DHT does.
#[utoipa::path(get, path = "/v1/dht", tag = "node",
    responses((status = 200, body = dto::Dht), (status = 409, body = dto::Problem)))]
pub async fn show(State(api): State<Api>) -> Result<Json<dto::Dht>, Error> {
    Ok(Json(dto::Dht::new(&api.node.dht().await?)))
}

/// Looks an infohash up, without announcing it. Takes up to 40 s.
#[utoipa::path(get, path = "/v1/dht/{hash}", tag = "node",
    params(("hash" = String, Path, description = "40 hexadecimal digits")),
    responses((status = 200, body = dto::DhtFound), (status = 400, body = dto::Problem),
        (status = 409, body = dto::Problem)))]
pub async fn get(State(api): State<Api>, Named(hash): Named) -> Result<Json<dto::DhtFound>, Error> {
    let hash = hex::decode(&hash)
        .ok()
        .and_then(|bytes| Id::read(&bytes))
        .ok_or_else(|| Error::bad_request("an infohash has 40 hexadecimal digits"))?;
    let result = api.node.dht_lookup(hash).await?;
    Ok(Json(dto::DhtFound::new(hash, &result)))
}
