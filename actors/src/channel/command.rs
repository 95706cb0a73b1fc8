//! Commands from the handles to the channel's actor.

use std::net::SocketAddr;

use bitchat_wire::event::EventId;

use super::api::{ChannelError, Signal, State};
use crate::{kit::Reply, link::LinkHandle};

/// A message in the channel's mailbox.
pub(super) enum Command {
    /// Append an event with this body to our log; with a key that was used, answer what it made.
    Append {
        body: Vec<u8>,
        key: Option<String>,
        reply: Reply<Result<EventId, ChannelError>>,
    },
    State(Reply<State>),
    Signal(Signal),
    Leave(Reply<Result<(), ChannelError>>),
    Links(Reply<Vec<LinkHandle>>),
    /// Try this address. Answered once discovery knows it.
    Connect(SocketAddr, Reply<()>),
    /// The hints in the configuration have changed. Answered once discovery knows them.
    Hints(Reply<()>),
}
