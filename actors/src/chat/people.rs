//! A channel's members as their events and signals describe them: profiles, who left, who is typing. Pure.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::{Body, Event, ReadMark},
    identity::IdentityId,
};

use super::profile::Profile;

/// A typing notice is shown for this long, unless the text comes first.
const TYPING_SHOWN: Duration = Duration::from_secs(10);

/// The members of one channel.
#[derive(Default)]
pub(super) struct People {
    profiles: HashMap<IdentityId, Profile>,
    left: HashSet<IdentityId>,
    typing: HashMap<IdentityId, Instant>,
}

impl People {
    pub(super) fn load(profiles: Vec<(IdentityId, Profile)>, left: HashSet<IdentityId>) -> Self {
        Self {
            profiles: profiles.into_iter().collect(),
            left,
            typing: HashMap::new(),
        }
    }

    /// Takes an event of a member.
    pub(super) fn committed(&mut self, who: IdentityId, event: &Event) {
        match Body::of(event) {
            Body::Profile { .. } | Body::Status(_) | Body::Picture(_) | Body::Read(_) => {
                self.profiles.entry(who).or_default().take(event);
            }
            Body::Leave => {
                self.left.insert(who);
            }
            Body::Text(_) => {
                self.left.remove(&who);
                self.typing.remove(&who);
            }
            Body::Genesis(_) => {
                self.left.remove(&who);
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

    pub(super) fn has_left(&self, who: &IdentityId) -> bool {
        self.left.contains(who)
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
