//! Commands of the channel's user.

use std::net::SocketAddr;

use bitchat_wire::event::{Body, EventId};

use super::Shell;
use crate::{
    channel::{ChannelError, Signal, State, effects::Input, machine::Machine},
    discovery::{Provenance, Sighting},
    kit::Reply,
    link::LinkHandle,
};

/// A message in the channel's mailbox.
pub(in crate::channel) enum Command {
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
    /// The trackers in the configuration have changed. Answered once discovery knows them.
    Trackers(Reply<()>),
}

/// Who waits for the result of an append.
pub(super) enum Answer {
    /// Nobody: the channel appended on its own account.
    Nobody,
    User(Reply<Result<EventId, ChannelError>>),
    Leave(Reply<Result<(), ChannelError>>),
}

impl Shell {
    pub(super) fn command(&mut self, machine: &mut Machine, command: Command) {
        match command {
            Command::Append { body, key, reply } => {
                self.append(machine, Answer::User(reply), body, key);
            }
            Command::Connect(address, reply) => {
                let sighting = Sighting {
                    peer: None,
                    addresses: vec![address.into()],
                    source: Provenance::Hand,
                    local: true,
                    via: None,
                };
                let (discovery, cid) = (self.config.discovery.clone(), self.config.cid());
                self.background.spawn(async move {
                    discovery.sighted(cid, sighting).await;
                    let _ = reply.send(());
                    None
                });
            }
            Command::Trackers(reply) => {
                let (discovery, wanted) = (self.config.discovery.clone(), self.config.wanted());
                self.background.spawn(async move {
                    discovery.want(wanted).await;
                    let _ = reply.send(());
                    None
                });
            }
            Command::Links(reply) => {
                let links = self.links.values().map(|link| link.handle.clone());
                drop(reply.send(links.collect()));
            }
            Command::Signal(Signal::Typing) => self.step(machine, Input::Typing),
            Command::State(reply) => drop(reply.send(self.state(machine))),
            Command::Leave(reply) => {
                self.append(machine, Answer::Leave(reply), Body::leave(), None);
            }
        }
    }
}
