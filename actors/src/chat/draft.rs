//! Texts and edits before they are written.

use std::future::IntoFuture;

use bitchat_wire::event::EventId;
use futures_util::future::BoxFuture;

use super::api::ChatError;

type Written = BoxFuture<'static, Result<EventId, ChatError>>;

/// A text or an edit. Awaiting it writes the event and returns its id once it is on the disk.
#[must_use = "nothing is written until it is awaited"]
pub struct Draft {
    write: Box<dyn FnOnce(Option<String>) -> Written + Send>,
    key: Option<String>,
}

impl Draft {
    /// `write` writes the event under an idempotency key, if there is one.
    pub(super) fn new(write: impl FnOnce(Option<String>) -> Written + Send + 'static) -> Self {
        Self {
            write: Box::new(write),
            key: None,
        }
    }

    /// Sets an idempotency key: if it was used before, nothing is written, and the id of the event that it made then is
    /// returned.
    pub fn key(self, key: impl ToString) -> Self {
        self.key_if(Some(key))
    }

    /// Sets an idempotency key if there is one. See [`Draft::key`].
    pub fn key_if(mut self, key: Option<impl ToString>) -> Self {
        self.key = key.map(|key| key.to_string());
        self
    }
}

impl IntoFuture for Draft {
    type Output = Result<EventId, ChatError>;
    type IntoFuture = Written;

    fn into_future(self) -> Written {
        (self.write)(self.key)
    }
}
