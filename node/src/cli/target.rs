//! Arguments that name a channel or a message.

use clap::Args;

// No doc comments on these two: clap would show them as the help of the commands that they are part of.
#[derive(Debug, Args)]
pub(super) struct OfChannel {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
}

#[derive(Debug, Args)]
pub(super) struct OfEvent {
    /// The channel's name, or a prefix of its id
    #[arg(value_name = "CH")]
    pub channel: String,
    /// The message's id, or at least 6 digits of it
    pub event: String,
}
