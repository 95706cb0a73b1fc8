//! Channels: list, create, join, show, leave, export, connect by hand, members.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bitchat_actors::{node::ChannelRequest, tracker::public_trackers};
use bitchat_wire::channel::ChannelFile;

use super::{
    Api, dto,
    reply::{Body, Error, Named, Raw},
};
use crate::{config::host_port, error::Failure};

/// The channels.
#[utoipa::path(get, path = "/v1/channels", tag = "channels",
    responses((status = 200, body = dto::Channels), (status = 401, body = dto::Problem)))]
pub async fn list(State(api): State<Api>) -> Result<Json<dto::Channels>, Error> {
    let channels = api.node.channels().await?;
    Ok(Json(dto::Channels {
        channels: channels.iter().map(dto::Channel::new).collect(),
    }))
}

/// Makes a channel and joins it.
#[utoipa::path(post, path = "/v1/channels", tag = "channels", request_body = dto::NewChannel,
    responses((status = 201, body = dto::Created), (status = 400, body = dto::Problem)))]
pub async fn create(
    State(api): State<Api>,
    Body(new): Body<dto::NewChannel>,
) -> Result<(StatusCode, Json<dto::Created>), Error> {
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
        Json(dto::Created {
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
    responses((status = 200, body = dto::Info), (status = 400, body = dto::Problem)))]
pub async fn join(State(api): State<Api>, Raw(body): Raw) -> Result<Json<dto::Info>, Error> {
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
    Ok(Json(dto::Info::new(&api.node.channel(cid).await?)))
}

/// All about a channel.
#[utoipa::path(get, path = "/v1/channels/{ch}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = dto::Info), (status = 404, body = dto::Problem)))]
pub async fn info(State(api): State<Api>, Named(ch): Named) -> Result<Json<dto::Info>, Error> {
    let cid = api.node.find(&ch).await?;
    Ok(Json(dto::Info::new(&api.node.channel(cid).await?)))
}

/// Leaves a channel, and forgets it and all that was said in it.
#[utoipa::path(delete, path = "/v1/channels/{ch}", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = dto::Left), (status = 404, body = dto::Problem)))]
pub async fn leave(State(api): State<Api>, Named(ch): Named) -> Result<Json<dto::Left>, Error> {
    let cid = api.node.find(&ch).await?;
    api.node.leave(cid).await?;
    Ok(Json(dto::Left {
        id: cid.to_string(),
        left: true,
    }))
}

/// The channel's file. A secret: whoever has it may come in.
#[utoipa::path(get, path = "/v1/channels/{ch}/file", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = dto::Problem)))]
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

/// Tries an address told by hand, and keeps trying it.
#[utoipa::path(post, path = "/v1/channels/{ch}/connect", tag = "channels", request_body = dto::Address,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = dto::Connecting), (status = 404, body = dto::Problem)))]
pub async fn connect(
    State(api): State<Api>,
    Named(ch): Named,
    Body(address): Body<dto::Address>,
) -> Result<(StatusCode, Json<dto::Connecting>), Error> {
    let cid = api.node.find(&ch).await?;
    let address: std::net::SocketAddr = address.addr.trim().parse().map_err(|_| {
        Error::bad_request("an address is like 192.0.2.1:4000 or [2001:db8::1]:4000")
    })?;
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(Error::bad_request(format!("nobody can be at {address}")));
    }
    api.node.connect(cid, address).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(dto::Connecting {
            id: cid.to_string(),
            addr: address.to_string(),
        }),
    ))
}

/// The members, oneself first.
#[utoipa::path(get, path = "/v1/channels/{ch}/members", tag = "channels",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = dto::Members), (status = 404, body = dto::Problem)))]
pub async fn members(
    State(api): State<Api>,
    Named(ch): Named,
) -> Result<Json<dto::Members>, Error> {
    let cid = api.node.find(&ch).await?;
    let members = api.node.chat(cid)?.members().await?;
    Ok(Json(dto::Members {
        members: members.into_iter().map(dto::Member::new).collect(),
    }))
}
