//! Builds the [`State`] of the channel.

use std::collections::HashSet;

use bitchat_wire::identity::IdentityId;

use super::Shell;
use crate::channel::{
    api::{MemberState, State},
    machine::Machine,
};

impl Shell {
    pub(super) fn state(&self, machine: &Machine) -> State {
        let me = self.config.local.certificate.identity;
        let mut identities: Vec<IdentityId> = machine
            .logs()
            .iter()
            .map(|(_, log)| log.certificate.identity)
            .collect();
        identities.extend(self.links.values().map(|link| link.identity));
        identities.push(me);
        identities.sort_unstable();
        identities.dedup();
        let forked: HashSet<IdentityId> = machine
            .logs()
            .iter()
            .filter(|(_, log)| log.closed_at.is_some())
            .map(|(_, log)| log.certificate.identity)
            .collect();
        let members = identities
            .into_iter()
            .map(|id| MemberState {
                id,
                online: id == me || machine.is_online(&id),
                path: self.path(&id),
                forked: forked.contains(&id),
            })
            .collect();
        State {
            members,
            marks: machine.marks().by_author(),
            me,
            my_device: self.config.local.certificate.device,
            sent_to: machine.sent_to(),
            trouble: self.trouble.as_ref().map(|(text, _)| text.clone()),
        }
    }
}
