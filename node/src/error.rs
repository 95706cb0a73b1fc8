//! Errors that a user sees: a stable code for programs, and a sentence for people.

use std::{borrow::Cow, fmt, io::ErrorKind, path::Path};

use bitchat_actors::{
    ChannelError, StoreError,
    chat::ChatError,
    node::{NodeError, StartError},
};

/// A failure with a stable code. The message says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Machine-readable code in `snake_case`; its meaning never changes.
    pub code: Cow<'static, str>,
    /// Human-readable message, on one line.
    pub message: String,
}

impl Failure {
    /// Creates a failure.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// A file or folder could not be used; `doing` is a verb such as `read`.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => ": check its owner and its permissions",
            ErrorKind::StorageFull => ": free some space, then try again",
            _ => "",
        };
        let code = match error.kind() {
            ErrorKind::StorageFull => "disk_full",
            _ => "io",
        };
        Self::new(
            code,
            format!("cannot {doing} {}: {error}{advice}", path.display()),
        )
    }

    /// Converts to JSON: `{"error":{"code":...,"message":...}}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {"code": self.code, "message": self.message}})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let code = match &error {
            NodeError::NoChannel(_) => "no_channel",
            NodeError::Ambiguous(_) => "ambiguous",
            NodeError::File(_) => "bad_file",
            NodeError::InviteOnly(_) => "invite_only",
            NodeError::Channel(error) => channel_code(error),
            NodeError::Chat(error) => chat_code(error),
            NodeError::Store(error) => store_code(error),
            NodeError::KnownTracker => "exists",
            NodeError::NoTracker(_) => "no_tracker",
            NodeError::NoDht => "dht_off",
            NodeError::Stopping => "stopping",
            _ => "internal",
        };
        Self::new(code, error.to_string())
    }
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        NodeError::from(error).into()
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Store(error) => store_code(error),
            StartError::Listen { .. } => "listen",
            _ => "internal",
        };
        Self::new(code, error.to_string())
    }
}

fn chat_code(error: &ChatError) -> &'static str {
    match error {
        ChatError::BadText(_) | ChatError::BadBody(_) => "bad_text",
        ChatError::NoEvent | ChatError::NoMatch(_) => "no_event",
        ChatError::Ambiguous(_) => "ambiguous",
        ChatError::NotText => "not_text",
        ChatError::NotOurs => "not_yours",
        ChatError::Deleted => "deleted",
        ChatError::Channel(error) => channel_code(error),
        ChatError::Store(error) => store_code(error),
        _ => "internal",
    }
}

fn channel_code(error: &ChannelError) -> &'static str {
    match error {
        ChannelError::TooLong(_) => "bad_text",
        ChannelError::Closed => "forked",
        ChannelError::Store(error) => store_code(error),
        ChannelError::Gone => "busy",
        _ => "internal",
    }
}

fn store_code(error: &StoreError) -> &'static str {
    match error {
        StoreError::Newer { .. } => "newer_database",
        StoreError::DiskFull => "disk_full",
        StoreError::NoChannel => "no_channel",
        StoreError::NoEvent => "no_event",
        StoreError::Invalid(_) => "bad_request",
        StoreError::Gone => "busy",
        _ => "database",
    }
}
