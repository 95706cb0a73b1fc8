//! Talk that goes on while something else is measured: each word carries the moment when it was said.

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

/// How such words begin.
const MARK: &str = "said at ";

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
        node.chat(cid)?
            .send(format!("{MARK}{}", nanoseconds()))
            .await?;
        said += 1;
    }
}

/// Hears such words as a user interface does. Milliseconds each.
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

/// All processes of a machine share this clock.
fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos()
}
