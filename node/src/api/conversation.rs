//! Texts after they were said: changed, taken back, reacted to, found again; and who writes and reads.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use super::{
    Api, dto,
    messages::{MAX_PAGE, check_key},
    reply::{Body, Error, Named, Query, Within},
};

/// Results of a search when no number is asked for.
const FOUND: usize = 50;

/// One event, as it is shown now.
#[utoipa::path(get, path = "/v1/channels/{ch}/messages/{event}", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or 6 digits or more of it")),
    responses((status = 200, body = dto::Message), (status = 404, body = dto::Problem)))]
pub async fn show(
    State(api): State<Api>,
    Within(ch, event): Within,
) -> Result<Json<dto::Message>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let id = chat.find_event(&event).await?;
    Ok(Json(dto::Message::new(chat.event(id).await?)))
}

/// Has one of your texts say something else.
#[utoipa::path(patch, path = "/v1/channels/{ch}/messages/{event}", tag = "messages", request_body = dto::NewText,
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or 6 digits or more of it")),
    responses((status = 200, body = dto::Changed), (status = 404, body = dto::Problem),
        (status = 409, body = dto::Problem, description = "Not yours, no text, or deleted")))]
pub async fn edit(
    State(api): State<Api>,
    Within(ch, event): Within,
    Body(new): Body<dto::NewText>,
) -> Result<Json<dto::Changed>, Error> {
    check_key(new.key.as_deref())?;
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.edit(target, new.text).key_if(new.key).await?;
    Ok(Json(dto::Changed {
        event_id: Some(id.to_string()),
        target: target.to_string(),
    }))
}

/// Takes one of your texts back: members hide it. Who has read it has read it.
#[utoipa::path(delete, path = "/v1/channels/{ch}/messages/{event}", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or 6 digits or more of it")),
    responses((status = 200, body = dto::Changed), (status = 404, body = dto::Problem),
        (status = 409, body = dto::Problem, description = "Not yours, or no text")))]
pub async fn delete(
    State(api): State<Api>,
    Within(ch, event): Within,
) -> Result<Json<dto::Changed>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.delete(target).await?;
    Ok(Json(dto::Changed {
        event_id: Some(id.to_string()),
        target: target.to_string(),
    }))
}

/// Adds an emoji to your reactions to a text, or takes it away.
#[utoipa::path(post, path = "/v1/channels/{ch}/messages/{event}/reactions", tag = "messages", request_body = dto::NewReaction,
    params(("ch" = String, Path, description = "Name, or prefix of the id"),
        ("event" = String, Path, description = "Its id, or 6 digits or more of it")),
    responses((status = 200, body = dto::Changed), (status = 404, body = dto::Problem),
        (status = 409, body = dto::Problem, description = "No text, or deleted")))]
pub async fn react(
    State(api): State<Api>,
    Within(ch, event): Within,
    Body(new): Body<dto::NewReaction>,
) -> Result<Json<dto::Changed>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let target = chat.find_event(&event).await?;
    let id = chat.react(target, &new.emoji, new.remove).await?;
    Ok(Json(dto::Changed {
        event_id: id.map(|id| id.to_string()),
        target: target.to_string(),
    }))
}

/// Tells the members that you are writing. Ask at every key: they hear it at most every 5 seconds.
#[utoipa::path(post, path = "/v1/channels/{ch}/typing", tag = "messages",
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 202, body = dto::Typing), (status = 404, body = dto::Problem)))]
pub async fn typing(
    State(api): State<Api>,
    Named(ch): Named,
) -> Result<(StatusCode, Json<dto::Typing>), Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    chat.typing().await?;
    let typing = dto::Typing {
        id: chat.id().to_string(),
    };
    Ok((StatusCode::ACCEPTED, Json(typing)))
}

/// You have read up to that event: members are told if the setting `read_marks` is on.
#[utoipa::path(post, path = "/v1/channels/{ch}/read", tag = "messages", request_body = dto::ReadUpTo,
    params(("ch" = String, Path, description = "Name, or prefix of the id")),
    responses((status = 200, body = dto::ReadTold), (status = 404, body = dto::Problem)))]
pub async fn read(
    State(api): State<Api>,
    Named(ch): Named,
    Body(upto): Body<dto::ReadUpTo>,
) -> Result<Json<dto::ReadTold>, Error> {
    let chat = api.node.chat(api.node.find(&ch).await?)?;
    let event = chat.find_event(&upto.event).await?;
    let told = chat.mark_read(event).await?;
    Ok(Json(dto::ReadTold { told }))
}

/// What is searched for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    q: String,
    channel: Option<String>,
    limit: Option<usize>,
    before: Option<String>,
}

/// Texts with these words as they are shown now, the last to arrive first. Each word must be there, as the
/// beginning of a word at least; what stands in double quotes must be there as it is.
#[utoipa::path(get, path = "/v1/search", tag = "messages",
    params(("q" = String, Query, description = "Words, or phrases in double quotes"),
        ("channel" = Option<String>, Query, description = "Only in this channel"),
        ("limit" = Option<usize>, Query, description = "At most this many (50; no more than 1,000)"),
        ("before" = Option<String>, Query, description = "Only what arrived before this event: its id, or with `channel` 6 digits or more of it")),
    responses((status = 200, body = dto::Messages), (status = 400, body = dto::Problem),
        (status = 404, body = dto::Problem)))]
pub async fn search(
    State(api): State<Api>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<dto::Messages>, Error> {
    let cid = match &wanted.channel {
        Some(name) => Some(api.node.find(name).await?),
        None => None,
    };
    let before = match (&wanted.before, cid) {
        (None, _) => None,
        (Some(event), Some(cid)) => Some(api.node.chat(cid)?.find_event(event).await?),
        (Some(event), None) => {
            let mut id = [0; 32];
            hex::decode_to_slice(event, &mut id).map_err(|_| {
                Error::bad_request("without a channel, `before` is an id of 64 hexadecimal digits")
            })?;
            Some(bitchat_wire::event::EventId(id))
        }
    };
    let limit = wanted.limit.unwrap_or(FOUND).min(MAX_PAGE);
    let found = api
        .node
        .chats()
        .search(cid, &wanted.q, limit, before)
        .await?;
    Ok(Json(dto::Messages {
        messages: found.into_iter().map(dto::Message::new).collect(),
    }))
}
