//! What goes into the actor's mailbox, and what comes out of it.

use bitchat_wire::{channel::ChannelId, stream::StreamKind};

use super::client::Input;
use crate::transport::{Connection, Stream, Target};

/// A message to the actor.
pub(super) enum Msg {
    /// A peer opened a stream of a relay's kind.
    Stream(Connection, StreamKind, Stream),
    /// An input of the client's state.
    Input(Box<Input>),
    /// A peer has connected to this node directly, so that others can, too.
    Reached,
    /// The transport has learned more about the node's address.
    Placed,
    /// The network has changed.
    Moved,
}

/// Members of a channel, met at a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The channel under whose key they are registered.
    pub cid: ChannelId,
    /// Circuits to them.
    pub targets: Vec<Target>,
}
