//! Messages: reading pages, sending, editing, deleting, reacting, searching; typing notifications and read marks.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use bitchat_actors::PageQuery;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Body, Error, Named, Query, Within},
};
use crate::shapes;

/// The size of a page when no limit is given.
const PAGE: usize = 100;
/// The largest page.
pub const MAX_PAGE: usize = 1_000;
/// Number of search results when no limit is given.
const RESULTS: usize = 50;
/// The longest idempotency key, in bytes: keys are stored for ever.
const MAX_KEY: usize = 128;
const TOO_LONG: usize = MAX_KEY + 1;

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![
        (
            "/v1/channels/{ch}/messages",
            &["get", "post"],
            get(page).post(send),
        ),
        (
            "/v1/channels/{ch}/messages/{event}",
            &["get", "patch", "delete"],
            get(show).patch(edit).delete(delete),
        ),
        (
            "/v1/channels/{ch}/messages/{event}/reactions",
            &["post"],
            post(react),
        ),
        ("/v1/channels/{ch}/typing", &["post"], post(typing)),
        ("/v1/channels/{ch}/read", &["post"], post(read)),
        ("/v1/search", &["get"], get(search)),
    ]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(paths(page, send, show, edit, delete, react, typing, read, search))]
pub struct Document;

/// Returns a page of the log, oldest first.
#[utoipa::path(get, path = "/v1/channels/{ch}/messages", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("limit" = Option<usize>, Query, description = "At most this many, the newest (default 100, at most 1,000)"),
        ("before" = Option<String>, Query, description = "Only events before this one (its id, or at least 6 digits of it)"),
        ("all" = Option<bool>, Query, description = "Include profiles and other events that are not conversation")),
    responses((status = 200, body = shapes::Messages), (status = 404, body = shapes::Problem)))]
pub async fn page(
    State(api): State<Api>,
    Named(ch): Named,
    Query(page): Query<shapes::LogQuery>,
) -> Result<Json<shapes::Messages>, Error> {
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
    Ok(Json(shapes::Messages {
        messages: events.into_iter().map(shapes::Message::new).collect(),
    }))
}

/// Sends a message. The answer comes once it is stored on this node's disk.
#[utoipa::path(post, path = "/v1/channels/{ch}/messages", tag = "messages", request_body = shapes::NewMessage,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 201, body = shapes::Sent), (status = 404, body = shapes::Problem), (status = 507, body = shapes::Problem)))]
pub async fn send(
    State(api): State<Api>,
    Named(ch): Named,
    Body(message): Body<shapes::NewMessage>,
) -> Result<(StatusCode, Json<shapes::Sent>), Error> {
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
        Json(shapes::Sent {
            event_id: hex::encode(id.0),
        }),
    ))
}

fn check_key(key: Option<&str>) -> Result<(), Error> {
    match key.map(str::len) {
        Some(len @ (0 | TOO_LONG..)) => Err(Error::bad_request(format!(
            "a key has 1 to {MAX_KEY} bytes, but this one has {len}"
        ))),
        _ => Ok(()),
    }
}

/// Returns one event in its current form.
#[utoipa::path(get, path = "/v1/channels/{ch}/messages/{event}", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or at least 6 digits of it")),
    responses((status = 200, body = shapes::Message), (status = 404, body = shapes::Problem)))]
pub async fn show(
    State(api): State<Api>,
    Within(ch, event): Within,
) -> Result<Json<shapes::Message>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let id = chat.find_event(&event).await?;
    Ok(Json(shapes::Message::new(chat.event(id).await?)))
}

/// Replaces the wording of one of your texts.
#[utoipa::path(patch, path = "/v1/channels/{ch}/messages/{event}", tag = "messages", request_body = shapes::NewText,
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or at least 6 digits of it")),
    responses((status = 200, body = shapes::Changed), (status = 404, body = shapes::Problem),
        (status = 409, body = shapes::Problem, description = "Not your message, not a text, or deleted")))]
pub async fn edit(
    State(api): State<Api>,
    Within(ch, event): Within,
    Body(new): Body<shapes::NewText>,
) -> Result<Json<shapes::Changed>, Error> {
    check_key(new.key.as_deref())?;
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.edit(target, new.text).key_if(new.key).await?;
    Ok(Json(shapes::Changed {
        event_id: Some(id.to_string()),
        target: target.to_string(),
    }))
}

/// Deletes one of your texts: members hide it. Whoever has read it already has read it.
#[utoipa::path(delete, path = "/v1/channels/{ch}/messages/{event}", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or at least 6 digits of it")),
    responses((status = 200, body = shapes::Changed), (status = 404, body = shapes::Problem),
        (status = 409, body = shapes::Problem, description = "Not your message, or not a text")))]
pub async fn delete(
    State(api): State<Api>,
    Within(ch, event): Within,
) -> Result<Json<shapes::Changed>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.delete(target).await?;
    Ok(Json(shapes::Changed {
        event_id: Some(id.to_string()),
        target: target.to_string(),
    }))
}

/// Adds an emoji to your reactions to a text, or removes it.
#[utoipa::path(post, path = "/v1/channels/{ch}/messages/{event}/reactions", tag = "messages", request_body = shapes::NewReaction,
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or at least 6 digits of it")),
    responses((status = 200, body = shapes::Changed), (status = 404, body = shapes::Problem),
        (status = 409, body = shapes::Problem, description = "Not a text, or deleted")))]
pub async fn react(
    State(api): State<Api>,
    Within(ch, event): Within,
    Body(new): Body<shapes::NewReaction>,
) -> Result<Json<shapes::Changed>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.react(target, &new.emoji, new.remove).await?;
    Ok(Json(shapes::Changed {
        event_id: id.map(|id| id.to_string()),
        target: target.to_string(),
    }))
}

/// Notifies the members that you are typing. Call it on every key press: they are notified at most every 5 seconds.
#[utoipa::path(post, path = "/v1/channels/{ch}/typing", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = shapes::Typing), (status = 404, body = shapes::Problem)))]
pub async fn typing(
    State(api): State<Api>,
    Named(ch): Named,
) -> Result<(StatusCode, Json<shapes::Typing>), Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    chat.typing().await?;
    let typing = shapes::Typing {
        id: chat.id().to_string(),
    };
    Ok((StatusCode::ACCEPTED, Json(typing)))
}

/// Marks everything up to an event as read. Members are notified if the setting `read_marks` is on.
#[utoipa::path(post, path = "/v1/channels/{ch}/read", tag = "messages", request_body = shapes::ReadUpTo,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = shapes::ReadTold), (status = 404, body = shapes::Problem)))]
pub async fn read(
    State(api): State<Api>,
    Named(ch): Named,
    Body(up_to): Body<shapes::ReadUpTo>,
) -> Result<Json<shapes::ReadTold>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let event = chat.find_event(&up_to.event).await?;
    let told = chat.mark_read(event).await?;
    Ok(Json(shapes::ReadTold { told }))
}

/// Searches for texts by their current wording; the last to arrive come first. Each word must match a word of the
/// text or its beginning; a phrase in double quotes must match exactly.
#[utoipa::path(get, path = "/v1/search", tag = "messages",
    params(("q" = String, Query, description = "Words, or phrases in double quotes"),
        ("channel" = Option<String>, Query, description = "Only in this channel"),
        ("limit" = Option<usize>, Query, description = "At most this many (default 50, at most 1,000)"),
        ("before" = Option<String>, Query, description = "Only texts that arrived before this event: its id or, together with `channel`, at least 6 digits of it")),
    responses((status = 200, body = shapes::Messages), (status = 400, body = shapes::Problem),
        (status = 404, body = shapes::Problem)))]
pub async fn search(
    State(api): State<Api>,
    Query(query): Query<shapes::SearchQuery>,
) -> Result<Json<shapes::Messages>, Error> {
    let cid = match &query.channel {
        Some(name) => Some(api.node.find(name).await?),
        None => None,
    };
    let before = match (&query.before, cid) {
        (None, _) => None,
        (Some(event), Some(cid)) => Some(api.node.chat(cid)?.find_event(event).await?),
        (Some(event), None) => {
            let mut id = [0; 32];
            hex::decode_to_slice(event, &mut id).map_err(|_| {
                Error::bad_request(
                    "without a channel, `before` must be a full id of 64 hexadecimal digits",
                )
            })?;
            Some(bitchat_wire::event::EventId(id))
        }
    };
    let limit = query.limit.unwrap_or(RESULTS).min(MAX_PAGE);
    let found = api
        .node
        .chats()
        .search(cid, &query.q, limit, before)
        .await?;
    Ok(Json(shapes::Messages {
        messages: found.into_iter().map(shapes::Message::new).collect(),
    }))
}
