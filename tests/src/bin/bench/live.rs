//! Messages that are sent while something else is measured; each carries the time when it was sent.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use bitchat_actors::{
    chat::{EventKind, Follow},
    node::Node,
};
use bitchat_wire::channel::ChannelId;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Prefix of such messages.
const MARK: &str = "said at ";

/// Sends a message at an interval until it is stopped; returns how many.
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
        node.chat(cid)?
            .send(format!("{MARK}{}", nanoseconds()))
            .await?;
        said += 1;
    }
}

/// Receives such messages as a user interface does; returns their latencies in milliseconds.
pub(crate) async fn listen(mut talk: Follow, heard: Arc<Mutex<Vec<f64>>>) -> Result<()> {
    loop {
        if let EventKind::Text(text) = talk.next().await?.context("the node has stopped")?.kind
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

/// The wall clock, which all processes of a machine share.
fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}
