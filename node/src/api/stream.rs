//! The event stream: server-sent events, resumable. The id of a `message` is its position, and a client that
//! reconnects with `Last-Event-ID` (or `?after=`) receives everything that arrived since.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use bitchat_actors::{
    chat::{Follow, News, Position},
    node::NodeEvent,
};
use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use super::{
    Api, Routes,
    reply::{Error, Query},
};
use crate::shapes::{self, StreamEvent};

/// Interval of comments, from which proxies and clients see that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The paths of this capability.
pub fn routes() -> Routes {
    vec![("/v1/events", &["get"], get(events))]
}

/// Their part of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    paths(events),
    components(schemas(
        shapes::Message,
        shapes::Position,
        shapes::DeliveredEvent,
        shapes::MemberEvent,
        shapes::TypingEvent,
        shapes::ForkedEvent
    ))
)]
pub struct Document;

/// Streams what happens from now on, or since a position, as events: `position` (once, at the beginning), `message`,
/// `delivered`, `member`, `typing` (show it for 10 seconds, or until a text of that member arrives), `forked`,
/// `channels` and `missed` (some of the previous five were dropped: read the state again). After a `message` of the
/// kind `edit`, `delete` or `react`, its `target` may look different: read that message again.
#[utoipa::path(get, path = "/v1/events", tag = "messages",
    params(("after" = Option<u64>, Query, description = "Resume after this position; when left out, start now"),
        ("channel" = Option<String>, Query, description = "Only events of this channel"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence")),
    responses((status = 200, description = "Server-sent events", content_type = "text/event-stream", body = String),
        (status = 404, body = shapes::Problem)))]
pub async fn events(
    State(api): State<Api>,
    Query(query): Query<shapes::StreamQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    let cid = match &query.channel {
        Some(name) => Some(api.node.find(name).await?),
        None => None,
    };
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok())
        .or(query.after);
    let position = resumed.map_or(Position::Now, Position::After);
    let follow = api.node.chats().follow(cid, position).await?;
    let position = follow.position();
    let begin = sent(&StreamEvent::Position(shapes::Position { position }));
    let news = stream::unfold((follow, api.stop), |(mut follow, stop)| async move {
        let event = next(&mut follow, &stop).await?;
        Some((event, (follow, stop)))
    });
    let stream = stream::iter([begin]).chain(news).map(Ok);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Waits for the next event of the stream; `None` ends it. After an error the client reconnects for the rest.
async fn next(follow: &mut Follow, stop: &CancellationToken) -> Option<Event> {
    loop {
        let news = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            news = follow.news() => news,
        };
        match news {
            Ok(Some(news)) => {
                if let Some(event) = converted(news) {
                    return Some(sent(&event));
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

/// Converts the node's news; `None` if they are not part of the stream.
fn converted(news: News) -> Option<StreamEvent> {
    Some(match news {
        News::Event(event) => StreamEvent::Message(Box::new(shapes::Message::new(*event))),
        News::Missed => StreamEvent::Missed,
        News::Change(NodeEvent::Delivered { cid, member, next }) => {
            StreamEvent::Delivered(shapes::DeliveredEvent {
                channel: cid.to_string(),
                member: member.to_string(),
                next,
            })
        }
        News::Change(NodeEvent::Member {
            cid,
            member,
            online,
        }) => StreamEvent::Member(shapes::MemberEvent {
            channel: cid.to_string(),
            member: member.to_string(),
            online,
        }),
        News::Change(NodeEvent::Typing { cid, member }) => {
            StreamEvent::Typing(shapes::TypingEvent {
                channel: cid.to_string(),
                member: member.to_string(),
            })
        }
        News::Change(NodeEvent::Forked { cid, member }) => {
            StreamEvent::Forked(shapes::ForkedEvent {
                channel: cid.to_string(),
                member: member.to_string(),
            })
        }
        News::Change(NodeEvent::Channels) => StreamEvent::Channels,
        _ => return None,
    })
}

/// The event as it is sent: a `message`, and the `position` at the beginning, have their position as id.
fn sent(event: &StreamEvent) -> Event {
    let named = Event::default()
        .event(event.name())
        .data(event.data().unwrap_or_default());
    match event {
        StreamEvent::Message(message) => named.id(message.position.to_string()),
        StreamEvent::Position(at) => named.id(at.position.to_string()),
        _ => named,
    }
}
