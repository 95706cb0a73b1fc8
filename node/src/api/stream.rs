//! What happens, as server-sent events, resumable: the id of a `message` is its position, and a client that
//! comes back with `Last-Event-ID` (or `?after=`) gets everything that arrived since.
//!
//! The broadcast of the node only wakes the stream; what it sends is read from the store by position. So
//! nothing is lost when the broadcast overflows, and nothing is sent twice.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use bitchat_actors::node::NodeEvent;
use bitchat_wire::channel::ChannelId;
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    Api, dto,
    reply::{Error, Query},
};

/// Events read from the store at a time.
const BATCH: usize = 256;
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
    // First the subscription, then the position: what is committed between the two is read, not lost.
    let news = api.node.subscribe();
    let cid = match &which.channel {
        Some(name) => Some(api.node.find(name).await?),
        None => None,
    };
    let resumed = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse().ok())
        .or(which.after);
    let last = match resumed {
        Some(position) => position,
        None => api.node.last_position().await?,
    };
    let begin = json("position", &dto::Position { position: last }).id(last.to_string());
    let follow = Follow {
        api,
        news,
        cid,
        last,
        behind: true,
        ready: VecDeque::from([begin]),
    };
    let stream = stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok(event), follow))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Follow {
    api: Api,
    news: Receiver<NodeEvent>,
    cid: Option<ChannelId>,
    /// Everything up to here was sent.
    last: u64,
    /// There may be more in the store.
    behind: bool,
    /// At most one batch and one more.
    ready: VecDeque<Event>,
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.behind {
                self.read().await?;
                continue;
            }
            let news = tokio::select! {
                biased;
                () = self.api.stop.cancelled() => return None,
                news = self.news.recv() => news,
            };
            match news {
                Ok(event) => self.take(event),
                Err(RecvError::Lagged(_)) => {
                    self.behind = true;
                    self.ready.push_back(json("missed", &serde_json::json!({})));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads the next batch. On an error the stream ends, and the client comes back for the rest.
    async fn read(&mut self) -> Option<()> {
        let page = tokio::select! {
            biased;
            () = self.api.stop.cancelled() => return None,
            page = self.api.node.since(self.cid, self.last, BATCH) => page,
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "an event stream ended");
                return None;
            }
        };
        self.behind = page.len() >= BATCH;
        for event in page {
            if event.position <= self.last {
                continue;
            }
            self.last = event.position;
            let id = event.position.to_string();
            self.ready
                .push_back(json("message", &dto::Message::new(event)).id(id));
        }
        Some(())
    }

    fn take(&mut self, event: NodeEvent) {
        let wanted = |cid: ChannelId| self.cid.is_none_or(|only| only == cid);
        match event {
            NodeEvent::Committed { cid, position } => {
                // One that was read already wakes nobody.
                self.behind |= wanted(cid) && position > self.last;
            }
            NodeEvent::Delivered { cid, member, next } if wanted(cid) => {
                self.ready.push_back(json(
                    "delivered",
                    &dto::DeliveredEvent {
                        channel: cid.to_string(),
                        member: member.to_string(),
                        next,
                    },
                ));
            }
            NodeEvent::Member {
                cid,
                member,
                online,
            } if wanted(cid) => self.ready.push_back(json(
                "member",
                &dto::MemberEvent {
                    channel: cid.to_string(),
                    member: member.to_string(),
                    online,
                },
            )),
            NodeEvent::Typing { cid, member } if wanted(cid) => self.ready.push_back(json(
                "typing",
                &dto::TypingEvent {
                    channel: cid.to_string(),
                    member: member.to_string(),
                },
            )),
            NodeEvent::Forked { cid, member } if wanted(cid) => self.ready.push_back(json(
                "forked",
                &dto::ForkedEvent {
                    channel: cid.to_string(),
                    member: member.to_string(),
                },
            )),
            NodeEvent::Channels => self
                .ready
                .push_back(json("channels", &serde_json::json!({}))),
            _ => {}
        }
    }
}

fn json<T: Serialize>(name: &str, data: &T) -> Event {
    let text = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(name).data(text)
}
