//! Recovery from refused commits, and the end of a life.

use std::time::{Duration, Instant};

use bitchat_wire::proto::bye::Reason;
use futures_util::StreamExt;
use tokio::{sync::mpsc, time::timeout};

use super::{Shell, now};
use crate::{
    channel::{api::ChannelError, machine::Machine},
    link::LinkEvent,
    store::StoreError,
};

/// Time for which nothing new is given to the store after it refused.
const RECOVERY: Duration = Duration::from_secs(2);
/// Time limit for saying goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

impl Shell {
    /// Handles a refused commit: the machine forgets all that was not committed and starts again from what the store has.
    /// Links stay.
    pub(super) async fn recover(
        &mut self,
        machine: &mut Machine,
        number: u64,
        error: StoreError,
    ) -> Result<(), StoreError> {
        let mut failed = vec![(number, error.clone())];
        while let Some((number, result)) = self.commits.next().await {
            match result {
                // Not all later commits build on the refused one.
                Ok(positions) => self.committed(machine, number, positions),
                Err(error) => failed.push((number, error)),
            }
        }
        self.unread.clear();
        let heads = self.config.store.heads(self.config.cid()).await?;
        for (number, error) in failed {
            if let StoreError::KeyUsed(id) = error {
                machine.key_was_used(number, id);
            }
        }
        let effects = machine.reload(heads, &ChannelError::Store(error.clone()), now());
        self.perform(effects);
        if !matches!(
            error,
            StoreError::KeyUsed(_) | StoreError::Gap { .. } | StoreError::Closed { .. }
        ) {
            tracing::warn!(%error, "the store refuses arriving events");
            self.trouble = Some((error.to_string(), Instant::now() + RECOVERY));
        }
        Ok(())
    }

    /// Waits for the commits in flight and closes all links.
    pub(super) async fn farewell(
        &mut self,
        machine: &mut Machine,
        events: &mut mpsc::Receiver<LinkEvent>,
    ) {
        let ending = async {
            while let Some((number, result)) = self.commits.next().await {
                if let Ok(positions) = result {
                    self.committed(machine, number, positions);
                }
            }
            for link in self.links.values() {
                link.handle.close(Reason::Stopping);
            }
            while !self.links.is_empty()
                && let Some(event) = events.recv().await
            {
                if let LinkEvent::Closed { link, .. } = event {
                    self.links.remove(&link);
                }
            }
        };
        // A link that no longer answers is closed with its connection.
        let _ = timeout(GOODBYE, ending).await;
    }
}
