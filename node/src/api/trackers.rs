//! A channel's trackers: adding, removing, announcing now.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{delete, post},
};
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Body, Error, Named, Within},
};
use crate::shapes;

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/channels/{ch}/trackers", &["post"], post(add)),
        (
            "/v1/channels/{ch}/trackers/{url}",
            &["delete"],
            delete(remove),
        ),
        ("/v1/channels/{ch}/announce", &["post"], post(announce)),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(add, remove, announce))]
pub struct Document;

/// Adds a tracker, in a tier of its own.
#[utoipa::path(post, path = "/v1/channels/{ch}/trackers", tag = "channels", request_body = shapes::NewTracker,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 201, body = shapes::Info), (status = 400, body = shapes::Problem),
        (status = 404, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn add(
    State(api): State<Api>,
    Named(ch): Named,
    Body(new): Body<shapes::NewTracker>,
) -> Result<(StatusCode, Json<shapes::Info>), Error> {
    let cid = api.node.find(&ch).await?;
    api.node.add_tracker(cid, &new.url).await?;
    let info = shapes::Info::new(&api.node.channel(cid).await?);
    Ok((StatusCode::CREATED, Json(info)))
}

/// Removes a tracker. Members whose channel files name it keep it.
#[utoipa::path(delete, path = "/v1/channels/{ch}/trackers/{url}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("url" = String, Path, description = "The tracker's URL, percent-encoded")),
    responses((status = 200, body = shapes::Info), (status = 404, body = shapes::Problem)))]
pub async fn remove(
    State(api): State<Api>,
    Within(ch, url): Within,
) -> Result<Json<shapes::Info>, Error> {
    let cid = api.node.find(&ch).await?;
    api.node.remove_tracker(cid, &url).await?;
    Ok(Json(shapes::Info::new(&api.node.channel(cid).await?)))
}

/// Announces now, to all trackers or to one, as far as their minimum intervals allow.
#[utoipa::path(post, path = "/v1/channels/{ch}/announce", tag = "channels", request_body = shapes::AnnounceNow,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = shapes::Announcing), (status = 404, body = shapes::Problem)))]
pub async fn announce(
    State(api): State<Api>,
    Named(ch): Named,
    Body(request): Body<shapes::AnnounceNow>,
) -> Result<(StatusCode, Json<shapes::Announcing>), Error> {
    let cid = api.node.find(&ch).await?;
    let trackers = api.node.announce_now(cid, request.url).await?;
    let id = cid.to_string();
    Ok((
        StatusCode::ACCEPTED,
        Json(shapes::Announcing { id, trackers }),
    ))
}
