//! What a user sees when something does not work: a stable code for programs and a sentence for people.

use std::{fmt, io::ErrorKind, path::Path};

use bitchat_actors::{
    channel::ChannelError,
    node::{NodeError, StartError},
    store::StoreError,
};

/// A failure with a stable code. The message says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs; a word in `snake_case` that never changes its meaning.
    pub code: &'static str,
    /// For people; one line.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A file or folder could not be used.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => ": check who owns it and its permissions",
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

    /// As a JSON object: `{"error":{"code":...,"message":...}}`.
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
            NodeError::Ambiguous(_) | NodeError::AmbiguousEvent(_) => "ambiguous",
            NodeError::NoEvent(_) => "no_event",
            NodeError::File(_) => "bad_file",
            NodeError::InviteOnly(_) => "invite_only",
            NodeError::Channel(error) => channel_code(error),
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

fn channel_code(error: &ChannelError) -> &'static str {
    match error {
        ChannelError::BadText(_) => "bad_text",
        ChannelError::BadBody(_) => "bad_text",
        ChannelError::NoEvent => "no_event",
        ChannelError::NotText => "not_text",
        ChannelError::NotOurs => "not_yours",
        ChannelError::Deleted => "deleted",
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
