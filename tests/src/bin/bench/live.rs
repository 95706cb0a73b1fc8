//! Talk that goes on while something else is measured: each word carries the moment when it was said.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use bitchat_actors::{
    channel::EventKind,
    node::{Node, NodeEvent},
};
use bitchat_wire::channel::ChannelId;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// How such words begin.
const MARK: &str = "said at ";
/// Events read from the store at a time.
const BATCH: usize = 1_000;

/// Says a word every so often until told to stop; returns how many.
pub(crate) async fn chat(
    node: Arc<Node>,
    cid: ChannelId,
    every: Duration,
    stop: CancellationToken,
) -> Result<usize> {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = 0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(said),
            _ = tick.tick() => {}
        }
        node.send(cid, format!("{MARK}{}", nanoseconds()), None)
            .await?;
        said += 1;
    }
}

/// Hears such words as a user interface does: woken by the node's events, reading the store. Milliseconds each.
pub(crate) async fn listen(
    node: Arc<Node>,
    mut events: Receiver<NodeEvent>,
    mut position: u64,
    heard: Arc<Mutex<Vec<f64>>>,
) -> Result<()> {
    loop {
        match events.recv().await {
            Ok(NodeEvent::Committed { position: at, .. }) if at <= position => continue,
            Ok(NodeEvent::Committed { .. }) | Err(RecvError::Lagged(_)) => {}
            Ok(_) => continue,
            Err(RecvError::Closed) => return Ok(()),
        }
        for view in node.since(None, position, BATCH).await? {
            position = position.max(view.position);
            if let EventKind::Text(text) = view.kind
                && let Some(said) = text.strip_prefix(MARK)
            {
                let took = nanoseconds().saturating_sub(said.parse()?) as f64 / 1e6;
                heard
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(took);
            }
        }
    }
}

/// All processes of a machine share this clock.
fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}
