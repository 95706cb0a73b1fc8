//! What one says of oneself in all channels, and the pictures of others.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bitchat_wire::{event::Picture, identity::IdentityId};

use super::{
    Api, dto,
    reply::{Body, Error, Raw, Within},
};
use crate::error::Failure;

/// Your profile.
#[utoipa::path(get, path = "/v1/profile", tag = "profile",
    responses((status = 200, body = dto::Profile), (status = 401, body = dto::Problem)))]
pub async fn show(State(api): State<Api>) -> Result<Json<dto::Profile>, Error> {
    let (status, picture) = api.node.chats().profile().await?;
    Ok(Json(dto::Profile {
        id: api.node.id().to_string(),
        name: api.node.name().to_owned(),
        status,
        picture: picture.map(|picture| picture.kind().media_type()),
    }))
}

/// Sets the line about you, in every channel.
#[utoipa::path(put, path = "/v1/profile", tag = "profile", request_body = dto::NewProfile,
    responses((status = 200, body = dto::Profile), (status = 400, body = dto::Problem)))]
pub async fn set(
    State(api): State<Api>,
    Body(new): Body<dto::NewProfile>,
) -> Result<Json<dto::Profile>, Error> {
    api.node.chats().set_status(&new.status).await?;
    show(State(api)).await
}

/// Your picture.
#[utoipa::path(get, path = "/v1/profile/picture", tag = "profile",
    responses((status = 200, body = Vec<u8>, content_type = "image/*"), (status = 404, body = dto::Problem)))]
pub async fn picture(State(api): State<Api>) -> Result<Response, Error> {
    let (_, picture) = api.node.chats().profile().await?;
    drawn(picture)
}

/// Sets your picture, in every channel: a PNG, JPEG or WebP file of at most 49,152 bytes.
#[utoipa::path(put, path = "/v1/profile/picture", tag = "profile",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = dto::Profile), (status = 400, body = dto::Problem)))]
pub async fn set_picture(
    State(api): State<Api>,
    Raw(bytes): Raw,
) -> Result<Json<dto::Profile>, Error> {
    let picture = Picture::new(bytes).map_err(|e| {
        Error(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_picture", e.to_string()),
        )
    })?;
    api.node.chats().set_picture(Some(&picture)).await?;
    show(State(api)).await
}

/// Takes your picture away, in every channel.
#[utoipa::path(delete, path = "/v1/profile/picture", tag = "profile",
    responses((status = 200, body = dto::Profile), (status = 401, body = dto::Problem)))]
pub async fn remove_picture(State(api): State<Api>) -> Result<Json<dto::Profile>, Error> {
    api.node.chats().set_picture(None).await?;
    show(State(api)).await
}

/// A member's picture, as the member signed it: a stranger's file, of which only size and first bytes were
/// looked at.
#[utoipa::path(get, path = "/v1/channels/{ch}/members/{id}/picture", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("id" = String, Path, description = "Bit Chat ID")),
    responses((status = 200, body = Vec<u8>, content_type = "image/*"), (status = 404, body = dto::Problem)))]
pub async fn member_picture(
    State(api): State<Api>,
    Within(ch, id): Within,
) -> Result<Response, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let member: IdentityId = id
        .parse()
        .map_err(|_| Error::bad_request("a member is named by its Bit Chat ID"))?;
    drawn(chat.picture(member).await?)
}

/// Nothing in it may run, whatever it turns out to be.
fn drawn(picture: Option<Picture>) -> Result<Response, Error> {
    let picture = picture.ok_or_else(|| Error::not_found("there is no picture"))?;
    let headers = [
        (header::CONTENT_TYPE, picture.kind().media_type()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, picture.bytes().clone()).into_response())
}
