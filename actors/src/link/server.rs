//! Answers `want` from the store: one `events` message per range, in the order of the requests.

use bitchat_wire::{
    channel::ChannelId,
    event::Event,
    identity::DeviceId,
    message::{self, MAX_EVENTS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::CloseReason;
use crate::store::Store;

/// Ranges queued to be answered. A member keeps two in flight; one that requests more at once than fit here breaks the
/// protocol.
pub(super) const WANT_QUEUE: usize = 64;
/// Raw bytes of the events in one answer.
const BATCH_BYTES: usize = 64 * 1024;

/// Answers until the reader or the writer ends.
pub(super) async fn run(
    store: Store,
    cid: ChannelId,
    mut wants: mpsc::Receiver<proto::Range>,
    backfill: mpsc::Sender<Bytes>,
) -> CloseReason {
    while let Some(range) = wants.recv().await {
        let to = range.to.min(range.from.saturating_add(MAX_EVENTS as u64));
        let events = match DeviceId::from_bytes(&range.device) {
            Ok(device) => store.events(cid, device, range.from, to, BATCH_BYTES).await,
            Err(_) => Ok(Vec::new()),
        };
        let events = events.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read events that a member requested");
            Vec::new()
        });
        let events = events.iter().map(signed).collect();
        let answer = message::encode(Kind::Events(proto::Events {
            events,
            backfill: true,
        }));
        if backfill.send(answer.into()).await.is_err() {
            break;
        }
    }
    CloseReason::Dropped
}

/// An event as links carry it.
pub(crate) fn signed(event: &Event) -> proto::SignedEvent {
    proto::SignedEvent {
        event: event.raw().clone(),
        signature: Bytes::copy_from_slice(event.signature()),
    }
}
