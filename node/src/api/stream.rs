//! What happens, as server-sent events, resumable: the id of a `message` is its position, and a client that
//! comes back with `Last-Event-ID` (or `?after=`) gets everything that arrived since.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use bitchat_actors::{
    chat::{Follow, News, Position},
    node::NodeEvent,
};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    Api, dto,
    reply::{Error, Query},
};

/// A comment this often tells proxies and clients that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    after: Option<u64>,
    channel: Option<String>,
}

/// What happens from now on, or since a position: a stream of `position` (once, at the beginning), `message`,
/// `delivered`, `member`, `typing` (to be shown for 10 seconds, or until a text of that member comes),
/// `forked`, `channels` and `missed` (some of the last five were dropped: read again). A `message` of the kind
/// `edit`, `delete` or `react` says that its `target` may be shown otherwise now: ask for that one.
#[utoipa::path(get, path = "/v1/events", tag = "messages",
    params(("after" = Option<u64>, Query, description = "Go on after this position; left out: from now on"),
        ("channel" = Option<String>, Query, description = "Only of this channel"),
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`, and goes over it")),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
        (status = 404, body = dto::Problem)))]
pub async fn events(
    State(api): State<Api>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let cid = match &which.channel {
        Some(name) => Some(api.node.find(name).await?),
        None => None,
    };
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok())
        .or(which.after);
    let position = resumed.map_or(Position::Now, Position::After);
    let follow = api.node.chats().follow(cid, position).await?;
    let position = follow.position();
    let begin = json("position", &dto::Position { position }).id(position.to_string());
    let news = stream::unfold((follow, api.stop), |(mut follow, stop)| async move {
        let event = next(&mut follow, &stop).await?;
        Some((event, (follow, stop)))
    });
    let stream = stream::iter([begin]).chain(news).map(Ok);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The next event of the stream; `None` ends it. After an error the client comes back for the rest.
async fn next(follow: &mut Follow, stop: &CancellationToken) -> Option<Event> {
    loop {
        let news = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            news = follow.news() => news,
        };
        match news {
            Ok(Some(news)) => {
                if let Some(event) = shown(news) {
                    return Some(event);
                }
            }
            Ok(None) => return None,
            Err(error) => {
                tracing::warn!(%error, "an event stream ended");
                return None;
            }
        }
    }
}

/// News as an event of the stream; `None` if it is of a kind that is not shown.
fn shown(news: News) -> Option<Event> {
    let nothing = serde_json::json!({});
    Some(match news {
        News::Event(event) => {
            let id = event.position.to_string();
            json("message", &dto::Message::new(*event)).id(id)
        }
        News::Missed => json("missed", &nothing),
        News::Change(NodeEvent::Delivered { cid, member, next }) => json(
            "delivered",
            &dto::DeliveredEvent {
                channel: cid.to_string(),
                member: member.to_string(),
                next,
            },
        ),
        News::Change(NodeEvent::Member {
            cid,
            member,
            online,
        }) => json(
            "member",
            &dto::MemberEvent {
                channel: cid.to_string(),
                member: member.to_string(),
                online,
            },
        ),
        News::Change(NodeEvent::Typing { cid, member }) => json(
            "typing",
            &dto::TypingEvent {
                channel: cid.to_string(),
                member: member.to_string(),
            },
        ),
        News::Change(NodeEvent::Forked { cid, member }) => json(
            "forked",
            &dto::ForkedEvent {
                channel: cid.to_string(),
                member: member.to_string(),
            },
        ),
        News::Change(NodeEvent::Channels) => json("channels", &nothing),
        _ => return None,
    })
}

fn json<T: Serialize>(name: &str, data: &T) -> Event {
    let text = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(text)
}
