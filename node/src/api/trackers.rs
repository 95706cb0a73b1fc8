//! A channel's trackers: add, remove, announce now.

use axum::{Json, extract::State, http::StatusCode};

use super::{
    Api, dto,
    reply::{Body, Error, Named, Within},
};

/// Adds a tracker, in a tier of its own.
#[utoipa::path(post, path = "/v1/channels/{ch}/trackers", tag = "channels", request_body = dto::NewTracker,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 201, body = dto::Info), (status = 400, body = dto::Problem),
        (status = 404, body = dto::Problem), (status = 409, body = dto::Problem)))]
pub async fn add(
    State(api): State<Api>,
    Named(ch): Named,
    Body(new): Body<dto::NewTracker>,
) -> Result<(StatusCode, Json<dto::Info>), Error> {
    let cid = api.node.find(&ch).await?;
    api.node.add_tracker(cid, &new.url).await?;
    let info = dto::Info::new(&api.node.channel(cid).await?);
    Ok((StatusCode::CREATED, Json(info)))
}

/// Takes a tracker away. Members that have it in their files keep it.
#[utoipa::path(delete, path = "/v1/channels/{ch}/trackers/{url}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("url" = String, Path, description = "The tracker's URL, percent-encoded")),
    responses((status = 200, body = dto::Info), (status = 404, body = dto::Problem)))]
pub async fn remove(
    State(api): State<Api>,
    Within(ch, url): Within,
) -> Result<Json<dto::Info>, Error> {
    let cid = api.node.find(&ch).await?;
    api.node.remove_tracker(cid, &url).await?;
    Ok(Json(dto::Info::new(&api.node.channel(cid).await?)))
}

/// Announces now, as far as that hurries nobody: to all trackers, or to one.
#[utoipa::path(post, path = "/v1/channels/{ch}/announce", tag = "channels", request_body = dto::AnnounceNow,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = dto::Announcing), (status = 404, body = dto::Problem)))]
pub async fn announce(
    State(api): State<Api>,
    Named(ch): Named,
    Body(wanted): Body<dto::AnnounceNow>,
) -> Result<(StatusCode, Json<dto::Announcing>), Error> {
    let cid = api.node.find(&ch).await?;
    let trackers = api.node.announce_now(cid, wanted.url).await?;
    let id = cid.to_string();
    Ok((StatusCode::ACCEPTED, Json(dto::Announcing { id, trackers })))
}
