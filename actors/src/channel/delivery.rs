//! Who has what, as each member claims on its own link. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use bitchat_wire::identity::{Certificate, DeviceId, IdentityId};

use super::device::{Device, MAX_DEVICES};
use crate::store::Delivery;

/// Delivery marks: how far each member's device has each log.
#[derive(Default)]
pub(super) struct Marks {
    members: HashMap<Device, Member>,
    /// Devices whose mark of our log changed.
    changed: HashSet<Device>,
}

struct Member {
    device: DeviceId,
    identity: IdentityId,
    /// For each log, the number below which it has all events.
    has: HashMap<Device, u64>,
}

impl Marks {
    /// The marks as the store has them.
    pub(super) fn load(kept: &[Delivery]) -> Self {
        let mut marks = Self::default();
        for mark in kept {
            let member = marks.member(mark.member, mark.identity);
            member.has.insert(*mark.author.as_bytes(), mark.next);
        }
        marks
    }

    /// Records a member's claim to have `author`'s log below `next`; true if that is more than before. Marks of our log
    /// (`ours`) are to be kept.
    pub(super) fn mark(
        &mut self,
        member: &Certificate,
        author: Device,
        next: u64,
        ours: bool,
    ) -> bool {
        let entry = self.member(member.device, member.identity);
        if entry.has.len() >= MAX_DEVICES && !entry.has.contains_key(&author) {
            return false;
        }
        let has = entry.has.entry(author).or_insert(0);
        let news = next > *has;
        *has = (*has).max(next);
        if news && ours {
            self.changed.insert(*member.device.as_bytes());
        }
        news
    }

    /// Removes a device's marks.
    pub(super) fn forget(&mut self, member: &Device) {
        self.changed.remove(member);
        self.members.remove(member);
    }

    /// The marks of our log that changed since the last call.
    pub(super) fn take_changed(&mut self, ours: &Device) -> Vec<Delivery> {
        let changed = std::mem::take(&mut self.changed);
        let Ok(author) = DeviceId::from_bytes(ours) else {
            return Vec::new();
        };
        changed
            .iter()
            .filter_map(|device| self.members.get(device))
            .filter_map(|member| {
                let next = *member.has.get(ours)?;
                Some(Delivery {
                    member: member.device,
                    identity: member.identity,
                    author,
                    next,
                })
            })
            .collect()
    }

    /// How far any member has a log; 0 if none has it.
    pub(super) fn highest(&self, author: &Device) -> u64 {
        self.members
            .values()
            .filter_map(|member| member.has.get(author))
            .copied()
            .max()
            .unwrap_or(0)
    }

    /// For each log, how far each identity has it on the device that has most.
    pub(super) fn by_author(&self) -> HashMap<Device, BTreeMap<IdentityId, u64>> {
        let mut all: HashMap<Device, BTreeMap<IdentityId, u64>> = HashMap::new();
        for member in self.members.values() {
            for (author, next) in &member.has {
                let mark = all
                    .entry(*author)
                    .or_default()
                    .entry(member.identity)
                    .or_insert(0);
                *mark = (*mark).max(*next);
            }
        }
        all
    }

    fn member(&mut self, device: DeviceId, identity: IdentityId) -> &mut Member {
        self.members
            .entry(*device.as_bytes())
            .or_insert_with(|| Member {
                device,
                identity,
                has: HashMap::new(),
            })
    }
}
