//! Channels: listing, creating, joining, showing, leaving, exporting, connecting to an address.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bitchat_actors::{internals::tracker::public_trackers, node::ChannelRequest};
use bitchat_wire::channel::ChannelFile;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Body, Error, Named, Raw},
};
use crate::{config::host_port, error::Failure, shapes};

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        ("/v1/channels", &["get", "post"], get(list).post(create)),
        ("/v1/channels/join", &["post"], post(join)),
        (
            "/v1/channels/{ch}",
            &["get", "delete"],
            get(info).delete(leave),
        ),
        ("/v1/channels/{ch}/file", &["get"], get(file)),
        ("/v1/channels/{ch}/connect", &["post"], post(connect)),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(list, create, join, info, leave, file, connect))]
pub struct Document;

/// Lists the channels.
#[utoipa::path(get, path = "/v1/channels", tag = "channels",
    responses((status = 200, body = shapes::Channels), (status = 401, body = shapes::Problem)))]
pub async fn list(State(api): State<Api>) -> Result<Json<shapes::Channels>, Error> {
    let channels = api.node.channels().await?;
    Ok(Json(shapes::Channels {
        channels: channels.iter().map(shapes::Channel::new).collect(),
    }))
}

/// Creates a channel and joins it.
#[utoipa::path(post, path = "/v1/channels", tag = "channels", request_body = shapes::NewChannel,
    responses((status = 201, body = shapes::Created), (status = 400, body = shapes::Problem)))]
pub async fn create(
    State(api): State<Api>,
    Body(new): Body<shapes::NewChannel>,
) -> Result<(StatusCode, Json<shapes::Created>), Error> {
    let nodes = new
        .nodes
        .iter()
        .map(|node| {
            host_port(node).ok_or_else(|| Error::bad_request(format!("{node:?} is not HOST:PORT")))
        })
        .collect::<Result<_, _>>()?;
    let relays = new
        .relays
        .iter()
        .map(|relay| {
            relay
                .parse()
                .map_err(|error| Error::bad_request(format!("{relay:?}: {error}")))
        })
        .collect::<Result<_, _>>()?;
    let mut trackers = new.trackers.unwrap_or(api.trackers);
    if new.default_trackers {
        let more = public_trackers().into_iter();
        let new: Vec<_> = more.filter(|url| !trackers.contains(url)).collect();
        trackers.extend(new);
    }
    let file = api
        .node
        .create_channel(ChannelRequest {
            name: new.name,
            policy: new.policy.into(),
            rotation: new.rotate.into(),
            trackers,
            nodes,
            relays,
        })
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(shapes::Created {
            id: file.id().to_string(),
            name: file.info().name.clone(),
            infohash: hex::encode(file.infohash()),
            link: file.to_link(),
        }),
    ))
}

/// Joins a channel: the body is the bytes of a channel file, or a `bitchat:` link.
#[utoipa::path(post, path = "/v1/channels/join", tag = "channels",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = shapes::Info), (status = 400, body = shapes::Problem)))]
pub async fn join(State(api): State<Api>, Raw(body): Raw) -> Result<Json<shapes::Info>, Error> {
    let file = match std::str::from_utf8(&body) {
        Ok(text) if text.trim_start().starts_with("bitchat:") => {
            ChannelFile::parse_link(text.trim())
        }
        _ => ChannelFile::parse(&body),
    }
    .map_err(|e| {
        Error(
            StatusCode::BAD_REQUEST,
            Failure::new("bad_file", e.to_string()),
        )
    })?;
    let cid = api.node.join(file).await?.id();
    Ok(Json(shapes::Info::new(&api.node.channel(cid).await?)))
}

/// Returns a channel in detail.
#[utoipa::path(get, path = "/v1/channels/{ch}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = shapes::Info), (status = 404, body = shapes::Problem)))]
pub async fn info(State(api): State<Api>, Named(ch): Named) -> Result<Json<shapes::Info>, Error> {
    let cid = api.node.find(&ch).await?;
    Ok(Json(shapes::Info::new(&api.node.channel(cid).await?)))
}

/// Leaves a channel, and deletes it and all its messages from this node.
#[utoipa::path(delete, path = "/v1/channels/{ch}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = shapes::Left), (status = 404, body = shapes::Problem)))]
pub async fn leave(State(api): State<Api>, Named(ch): Named) -> Result<Json<shapes::Left>, Error> {
    let cid = api.node.find(&ch).await?;
    api.node.leave(cid).await?;
    Ok(Json(shapes::Left {
        id: cid.to_string(),
        left: true,
    }))
}

/// Returns the channel's file. A secret: anyone who has it can join.
#[utoipa::path(get, path = "/v1/channels/{ch}/file", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = shapes::Problem)))]
pub async fn file(State(api): State<Api>, Named(ch): Named) -> Result<Response, Error> {
    let cid = api.node.find(&ch).await?;
    let file = api.node.file(cid).await?;
    Ok((
        [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        file.to_bytes(),
    )
        .into_response())
}

/// Dials an address entered by hand, and keeps dialling it.
#[utoipa::path(post, path = "/v1/channels/{ch}/connect", tag = "channels", request_body = shapes::Address,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = shapes::Connecting), (status = 404, body = shapes::Problem)))]
pub async fn connect(
    State(api): State<Api>,
    Named(ch): Named,
    Body(address): Body<shapes::Address>,
) -> Result<(StatusCode, Json<shapes::Connecting>), Error> {
    let cid = api.node.find(&ch).await?;
    let address: std::net::SocketAddr = address.addr.trim().parse().map_err(|_| {
        Error::bad_request("an address looks like 192.0.2.1:4000 or [2001:db8::1]:4000")
    })?;
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(Error::bad_request(format!(
            "no peer can be reached at {address}"
        )));
    }
    api.node.connect(cid, address).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(shapes::Connecting {
            id: cid.to_string(),
            addr: address.to_string(),
        }),
    ))
}
