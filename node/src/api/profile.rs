//! The user's own profile.

use axum::{Json, extract::State, http::StatusCode, response::Response, routing::get};
use bitchat_wire::event::Picture;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{self, Body, Error, Raw},
};
use crate::{error::Failure, shapes};

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/profile", &["get", "put"], get(show).put(set)),
        (
            "/v1/profile/picture",
            &["get", "put", "delete"],
            get(picture).put(set_picture).delete(remove_picture),
        ),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(show, set, picture, set_picture, remove_picture))]
pub struct Document;

/// Returns your profile.
#[utoipa::path(get, path = "/v1/profile", tag = "profile",
    responses((status = 200, body = shapes::Profile), (status = 401, body = shapes::Problem)))]
pub async fn show(State(api): State<Api>) -> Result<Json<shapes::Profile>, Error> {
    let (status, picture) = api.node.chats().profile().await?;
    Ok(Json(shapes::Profile {
        id: api.node.id().to_string(),
        name: api.node.name().to_owned(),
        status,
        picture: picture.map(|picture| picture.kind().media_type().to_owned()),
    }))
}

/// Sets your status line in all channels.
#[utoipa::path(put, path = "/v1/profile", tag = "profile", request_body = shapes::NewProfile,
    responses((status = 200, body = shapes::Profile), (status = 400, body = shapes::Problem)))]
pub async fn set(
    State(api): State<Api>,
    Body(new): Body<shapes::NewProfile>,
) -> Result<Json<shapes::Profile>, Error> {
    api.node.chats().set_status(&new.status).await?;
    show(State(api)).await
}

/// Returns your picture.
#[utoipa::path(get, path = "/v1/profile/picture", tag = "profile",
    responses((status = 200, body = Vec<u8>, content_type = "image/*"), (status = 404, body = shapes::Problem)))]
pub async fn picture(State(api): State<Api>) -> Result<Response, Error> {
    let (_, picture) = api.node.chats().profile().await?;
    reply::picture(picture)
}

/// Sets your picture in all channels: a PNG, JPEG or WebP file of at most 49,152 bytes.
#[utoipa::path(put, path = "/v1/profile/picture", tag = "profile",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = shapes::Profile), (status = 400, body = shapes::Problem)))]
pub async fn set_picture(
    State(api): State<Api>,
    Raw(bytes): Raw,
) -> Result<Json<shapes::Profile>, Error> {
    let picture = Picture::new(bytes).map_err(|e| {
        Error(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_picture", e.to_string()),
        )
    })?;
    api.node.chats().set_picture(Some(&picture)).await?;
    show(State(api)).await
}

/// Removes your picture in all channels.
#[utoipa::path(delete, path = "/v1/profile/picture", tag = "profile",
    responses((status = 200, body = shapes::Profile), (status = 401, body = shapes::Problem)))]
pub async fn remove_picture(State(api): State<Api>) -> Result<Json<shapes::Profile>, Error> {
    api.node.chats().set_picture(None).await?;
    show(State(api)).await
}
