//! Carries out the commands of the handles.

use bitchat_wire::event::Body;

use super::{Answer, Shell};
use crate::{
    channel::{api::Signal, command::Command, effects::Input, machine::Machine},
    discovery::{Provenance, Sighting},
};

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
            Command::Hints(reply) => {
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
