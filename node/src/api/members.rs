//! The members of a channel, and their pictures.

use axum::{Json, extract::State, response::Response, routing::get};
use bitchat_wire::identity::IdentityId;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Error, Named, Within, picture},
};
use crate::shapes;

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/channels/{ch}/members", &["get"], get(members)),
        (
            "/v1/channels/{ch}/members/{id}/picture",
            &["get"],
            get(member_picture),
        ),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(members, member_picture), components(schemas(shapes::Member)))]
pub struct Document;

/// Lists the members, yourself first.
#[utoipa::path(get, path = "/v1/channels/{ch}/members", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = shapes::Members), (status = 404, body = shapes::Problem)))]
pub async fn members(
    State(api): State<Api>,
    Named(ch): Named,
) -> Result<Json<shapes::Members>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let members = chat.members().await?;
    Ok(Json(shapes::Members {
        members: members.into_iter().map(shapes::Member::new).collect(),
    }))
}

/// Returns a member's picture, as the member signed it: a file from a stranger, of which only the size and the
/// first bytes have been checked.
#[utoipa::path(get, path = "/v1/channels/{ch}/members/{id}/picture", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("id" = String, Path, description = "Bit Chat ID")),
    responses((status = 200, body = Vec<u8>, content_type = "image/*"), (status = 404, body = shapes::Problem)))]
pub async fn member_picture(
    State(api): State<Api>,
    Within(ch, id): Within,
) -> Result<Response, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let member: IdentityId = id
        .parse()
        .map_err(|_| Error::bad_request("a member is identified by a Bit Chat ID"))?;
    picture(chat.picture(member).await?)
}
