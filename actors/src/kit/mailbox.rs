//! Bounded mailboxes.

use std::{fmt, time::Duration};

use tokio::sync::{mpsc, oneshot};

/// How long an `ask` may take: beyond, the actor is stuck or overloaded, and the caller must not be.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// The sender of an answer. Dropping it notifies the caller that there will be none.
pub type Reply<T> = oneshot::Sender<T>;

/// The receiving end of a mailbox. It outlives the actor that reads it, so that a restart loses no message
/// but the one that was being handled.
pub type Inbox<M> = mpsc::Receiver<M>;

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The mailbox is full: the receiver is slower than its senders.
    #[error("the {0} is busy")]
    Full(&'static str),
    /// The actor has stopped for good.
    #[error("the {0} has stopped")]
    Stopped(&'static str),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The actor has stopped, or dropped the request because it failed while handling it.
    #[error("the {0} has stopped or failed")]
    Stopped(&'static str),
    /// No answer within 10 s.
    #[error("the {0} did not answer in time")]
    Timeout(&'static str),
}

/// Creates a mailbox of a fixed capacity. `name` names the actor in errors, spans and metrics.
pub fn mailbox<M>(name: &'static str, capacity: usize) -> (Addr<M>, Inbox<M>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Addr { sender, name }, receiver)
}

/// The sending end of a mailbox: cheap to clone.
pub struct Addr<M> {
    sender: mpsc::Sender<M>,
    name: &'static str,
}

impl<M> Clone for Addr<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            name: self.name,
        }
    }
}

impl<M> fmt::Debug for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.name)
    }
}

impl<M: Send> Addr<M> {
    /// Sends, waiting for room, so that back-pressure reaches the source. Cancel-safe: a cancelled send has sent
    /// nothing.
    pub async fn send(&self, message: M) -> Result<(), SendError> {
        self.sender
            .send(message)
            .await
            .map_err(|_| SendError::Stopped(self.name))
    }

    /// Sends without waiting; fails if the mailbox is full.
    pub fn try_send(&self, message: M) -> Result<(), SendError> {
        self.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SendError::Full(self.name),
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped(self.name),
        })
    }

    /// Sends a request and waits for its answer, both within one time-out of 10 s.
    pub async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> M) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.send(request(reply))
                .await
                .map_err(|_| AskError::Stopped(self.name))?;
            answer.await.map_err(|_| AskError::Stopped(self.name))
        };
        match tokio::time::timeout(ASK_TIMEOUT, exchange).await {
            Ok(result) => result,
            Err(_) => Err(AskError::Timeout(self.name)),
        }
    }

    /// Whether the actor has stopped for good.
    pub fn is_stopped(&self) -> bool {
        self.sender.is_closed()
    }
}
