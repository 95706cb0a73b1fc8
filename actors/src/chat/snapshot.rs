//! A channel at one moment, as it is shown.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use bitchat_wire::{
    event::ReadMark,
    identity::{DeviceId, IdentityId},
};

use super::{
    api::{MemberView, Mesh},
    people::People,
    profile::Profile,
};
use crate::channel::{MemberState, State};

/// A channel at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The members, ourselves first.
    pub members: Vec<MemberView>,
    /// How complete the mesh is.
    pub mesh: Mesh,
    /// Why arriving events cannot be stored at the moment (the disk is full, for example); `None` if they can.
    pub trouble: Option<String>,
    pub(super) names: HashMap<IdentityId, String>,
    pub(super) reads: HashMap<IdentityId, ReadMark>,
    /// Every identity with a log or a link here, members that left included, by its bytes.
    pub(super) known: HashMap<[u8; 32], IdentityId>,
    /// As [`State::marks`].
    pub(super) marks: HashMap<[u8; 32], BTreeMap<IdentityId, u64>>,
    pub(super) me: IdentityId,
    pub(super) my_device: DeviceId,
    pub(super) sent_to: u64,
}

impl Snapshot {
    pub(super) fn new(state: State, people: &People, now: Instant) -> Self {
        let me = state.me;
        let known = state
            .members
            .iter()
            .map(|member| (*member.id.as_bytes(), member.id))
            .collect();
        let mut members: Vec<MemberView> = state
            .members
            .into_iter()
            // Members that left are not shown, unless they are linked all the same.
            .filter(|member| member.online || !people.has_left(&member.id))
            .map(|member| view(member, me, people, now))
            .collect();
        members.sort_by(|a, b| {
            b.me.cmp(&a.me)
                .then_with(|| a.name.cmp(&b.name))
                .then_with(|| a.id.cmp(&b.id))
        });
        let (online, all) = (members.iter().filter(|m| m.online).count(), members.len());
        let mesh = match online {
            _ if online == all && all > 1 => Mesh::Full,
            0 | 1 => Mesh::None,
            _ => Mesh::Partial,
        };
        Self {
            members,
            mesh,
            trouble: state.trouble,
            names: people.names(),
            reads: people.reads(),
            known,
            marks: state.marks,
            me,
            my_device: state.my_device,
            sent_to: state.sent_to,
        }
    }
}

fn view(member: MemberState, me: IdentityId, people: &People, now: Instant) -> MemberView {
    let nothing = Profile::default();
    let profile = people.profile(&member.id).unwrap_or(&nothing);
    MemberView {
        id: member.id,
        name: profile.name().to_owned(),
        status: profile.status().to_owned(),
        picture: profile.picture(),
        typing: people.is_typing(&member.id, now),
        me: member.id == me,
        online: member.online,
        path: member.path,
        forked: member.forked,
    }
}
