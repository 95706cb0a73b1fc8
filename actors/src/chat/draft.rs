//! Texts and edits that are about to be written.

use std::future::IntoFuture;

use bitchat_wire::event::EventId;
use futures_util::future::BoxFuture;

use super::{Chat, ChatError};

/// A text or an edit. Awaiting it writes the event and returns its id once it is on the disk.
#[must_use = "nothing is written until it is awaited"]
pub struct Draft {
    chat: Chat,
    text: String,
    kind: Kind,
    key: Option<String>,
}

enum Kind {
    Text { reply_to: Option<EventId> },
    Edit { target: EventId },
}

impl Draft {
    pub(super) fn text(chat: &Chat, text: String, reply_to: Option<EventId>) -> Self {
        Self::new(chat, text, Kind::Text { reply_to })
    }

    pub(super) fn edit(chat: &Chat, text: String, target: EventId) -> Self {
        Self::new(chat, text, Kind::Edit { target })
    }

    fn new(chat: &Chat, text: String, kind: Kind) -> Self {
        Self {
            chat: chat.clone(),
            text,
            kind,
            key: None,
        }
    }

    /// Sets an idempotency key: when it was used before, nothing is written, and the id of the event that it made then is returned.
    pub fn key(self, key: impl ToString) -> Self {
        self.key_if(Some(key))
    }

    /// As [`Draft::key`] if there is a key.
    pub fn key_if(mut self, key: Option<impl ToString>) -> Self {
        self.key = key.map(|key| key.to_string());
        self
    }
}

impl IntoFuture for Draft {
    type Output = Result<EventId, ChatError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            chat,
            text,
            kind,
            key,
        } = self;
        Box::pin(async move {
            match kind {
                Kind::Text { reply_to } => chat.write_text(&text, reply_to, key).await,
                Kind::Edit { target } => chat.write_edit(target, &text, key).await,
            }
        })
    }
}
