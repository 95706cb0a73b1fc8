//! A channel's members as their events and signals describe them: profiles, who left, who is typing. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::{Body, Event, ReadMark},
    identity::{DeviceId, IdentityId},
};

use super::profile::Profile;

/// A typing notice is shown for this long, unless the text comes first.
const TYPING_SHOWN: Duration = Duration::from_secs(10);

/// The members of one channel.
#[derive(Default)]
pub(super) struct People {
    profiles: HashMap<IdentityId, Profile>,
    /// Of each device, whether its log ends with a leave. Whoever left and came back has another device, and the former
    /// one stays as it was.
    left: HashMap<IdentityId, HashMap<DeviceId, bool>>,
    typing: HashMap<IdentityId, Instant>,
}

impl People {
    /// Takes the profiles, and of each device whether its log ends with a leave.
    pub(super) fn load(
        profiles: Vec<(IdentityId, Profile)>,
        left: Vec<(IdentityId, DeviceId, bool)>,
    ) -> Self {
        let mut people = Self {
            profiles: profiles.into_iter().collect(),
            ..Self::default()
        };
        for (who, device, left) in left {
            people.left.entry(who).or_default().insert(device, left);
        }
        people
    }

    /// Takes an event of a member.
    pub(super) fn committed(&mut self, who: IdentityId, event: &Event) {
        let body = Body::of(event);
        let devices = self.left.entry(who).or_default();
        devices.insert(event.header().device, body == Body::Leave);
        match body {
            Body::Profile { .. } | Body::Status(_) | Body::Picture(_) | Body::Read(_) => {
                self.profiles.entry(who).or_default().take(event);
            }
            Body::Text(_) => {
                self.typing.remove(&who);
            }
            _ => {}
        }
    }

    /// Takes a typing notice of a member.
    pub(super) fn typing(&mut self, who: IdentityId, now: Instant) {
        self.typing.insert(who, now + TYPING_SHOWN);
    }

    /// Notes that a member's last link went down.
    pub(super) fn gone(&mut self, who: &IdentityId) {
        self.typing.remove(who);
    }

    /// Replaces a member's profile, after some of its events were removed.
    pub(super) fn replace(&mut self, who: IdentityId, profile: Profile) {
        self.profiles.insert(who, profile);
    }

    /// Whether a member left on all of its devices.
    pub(super) fn has_left(&self, who: &IdentityId) -> bool {
        let devices = self.left.get(who);
        devices.is_some_and(|devices| devices.values().all(|left| *left))
    }

    pub(super) fn is_typing(&self, who: &IdentityId, now: Instant) -> bool {
        self.typing.get(who).is_some_and(|until| *until > now)
    }

    pub(super) fn profile(&self, who: &IdentityId) -> Option<&Profile> {
        self.profiles.get(who)
    }

    pub(super) fn names(&self) -> HashMap<IdentityId, String> {
        self.profiles
            .iter()
            .filter(|(_, profile)| !profile.name().is_empty())
            .map(|(who, profile)| (*who, profile.name().to_owned()))
            .collect()
    }

    pub(super) fn reads(&self) -> HashMap<IdentityId, ReadMark> {
        self.profiles
            .iter()
            .filter_map(|(who, profile)| Some((*who, profile.read()?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_ends_by_itself() {
        let who = bitchat_wire::identity::IdentityKey::from_seed(&[1; 32]).id();
        let now = Instant::now();
        let mut people = People::default();
        assert!(!people.is_typing(&who, now));
        people.typing(who, now);
        assert!(people.is_typing(&who, now + Duration::from_secs(9)));
        assert!(!people.is_typing(&who, now + Duration::from_secs(10)));
        people.gone(&who);
        assert!(!people.is_typing(&who, now));
    }
}
