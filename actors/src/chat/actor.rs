//! The actor behind a chat: publishes our read marks at their pace.

use std::time::{Duration, Instant};

use bitchat_wire::event::{Body, ReadMark};
use tokio::{task::JoinSet, time::sleep_until};

use super::reading::Reading;
use crate::{
    channel::{Channel, ChannelError},
    kit::{Actor, Inbox, Reply, Scope},
};

/// Commands queued for the actor. It handles each at once, so this is more than a user and a few programs can queue.
pub(super) const COMMANDS: usize = 64;
/// Time after which a channel that is in trouble is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// A message in the chat's mailbox.
pub(super) enum Command {
    /// Our user has read up to `mark`; `published` is the latest mark in our log.
    Read {
        mark: ReadMark,
        published: Option<ReadMark>,
        /// Gets false if that was published before.
        reply: Reply<bool>,
    },
}

/// One life of a chat's actor.
pub(super) struct Marks {
    channel: Channel,
    reading: Reading,
    /// The append under way, at most one.
    appends: JoinSet<(ReadMark, Result<(), ChannelError>)>,
}

impl Marks {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            reading: Reading::default(),
            appends: JoinSet::new(),
        }
    }

    fn publish(&mut self, mark: ReadMark) {
        let channel = self.channel.clone();
        self.appends.spawn(async move {
            let appended = channel.append(Body::read_mark(&mark), None).await;
            (mark, appended.map(drop))
        });
    }
}

impl Actor for Marks {
    type Msg = Command;
    type Error = std::convert::Infallible;

    async fn run(mut self, inbox: &mut Inbox<Command>, scope: &Scope) -> Result<(), Self::Error> {
        loop {
            let due = self.reading.due().filter(|_| self.appends.is_empty());
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                Some(done) = self.appends.join_next(), if !self.appends.is_empty() => {
                    // Nothing else is tried again: a later mark says the same and more.
                    match done {
                        Ok((mark, Err(ChannelError::Trouble(_)))) => {
                            self.reading.postpone(mark, Instant::now() + RETRY);
                        }
                        Ok((mark, Err(_))) => self.reading.lost(mark),
                        Ok((_, Ok(()))) | Err(_) => {}
                    }
                }
                command = inbox.recv() => match command {
                    Some(Command::Read { mark, published, reply }) => {
                        self.reading.published(published);
                        let _ = reply.send(self.reading.up_to(mark, Instant::now()));
                    }
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    if let Some(mark) = self.reading.take(Instant::now()) {
                        self.publish(mark);
                    }
                }
            }
        }
    }
}
