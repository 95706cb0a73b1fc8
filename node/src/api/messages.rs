//! The log of a channel: read a page, say a line.

use axum::{Json, extract::State, http::StatusCode};
use bitchat_actors::store::PageQuery;
use serde::Deserialize;

use super::{
    Api, dto,
    reply::{Body, Error, Named, Query},
};

/// The size of a page when none is asked for.
const PAGE: usize = 100;
/// The largest page.
pub const MAX_PAGE: usize = 1_000;
/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 128;
const TOO_LONG: usize = MAX_KEY + 1;

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    limit: Option<usize>,
    before: Option<String>,
    #[serde(default)]
    all: bool,
}

/// A page of the log, oldest first.
#[utoipa::path(get, path = "/v1/channels/{ch}/messages", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("limit" = Option<usize>, Query, description = "At most this many of the newest (100; no more than 1,000)"),
        ("before" = Option<String>, Query, description = "Only what comes before this event (its id, or 6 digits or more of it)"),
        ("all" = Option<bool>, Query, description = "Also profiles and other events that are not talk")),
    responses((status = 200, body = dto::Messages), (status = 404, body = dto::Problem)))]
pub async fn page(
    State(api): State<Api>,
    Named(ch): Named,
    Query(page): Query<Page>,
) -> Result<Json<dto::Messages>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let before = match &page.before {
        Some(event) => Some(chat.find_event(event).await?),
        None => None,
    };
    let query = PageQuery {
        before,
        limit: page.limit.unwrap_or(PAGE).min(MAX_PAGE),
        conversation_only: !page.all,
    };
    let events = chat.page(query).await?;
    Ok(Json(dto::Messages {
        messages: events.into_iter().map(dto::Message::new).collect(),
    }))
}

/// Says a line. Answered once it is on this node's disk.
#[utoipa::path(post, path = "/v1/channels/{ch}/messages", tag = "messages", request_body = dto::NewMessage,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 201, body = dto::Sent), (status = 404, body = dto::Problem), (status = 507, body = dto::Problem)))]
pub async fn send(
    State(api): State<Api>,
    Named(ch): Named,
    Body(message): Body<dto::NewMessage>,
) -> Result<(StatusCode, Json<dto::Sent>), Error> {
    check_key(message.key.as_deref())?;
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let id = match &message.reply_to {
        None => chat.send(message.text).key_if(message.key).await?,
        Some(event) => {
            let target = chat.find_event(event).await?;
            chat.reply(target, message.text).key_if(message.key).await?
        }
    };
    Ok((
        StatusCode::CREATED,
        Json(dto::Sent {
            event_id: hex::encode(id.0),
        }),
    ))
}

/// A key is short enough to be kept for ever.
pub fn check_key(key: Option<&str>) -> Result<(), Error> {
    match key.map(str::len) {
        Some(len @ (0 | TOO_LONG..)) => Err(Error::bad_request(format!(
            "a key has 1 to {MAX_KEY} bytes, this one has {len}"
        ))),
        _ => Ok(()),
    }
}
