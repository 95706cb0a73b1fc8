//! What is known of members beside their logs: profiles, who left, who types; and our own read mark.
//! Pure.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::{Body, Event, ReadMark},
    identity::IdentityId,
};

use crate::store::Profile;

/// Somebody who was heard typing is shown so for this long, unless the text comes first.
const TYPING_SHOWN: Duration = Duration::from_secs(10);
/// Our read mark is said at most this often: each stays in our log for ever.
const READ_PAUSE: Duration = Duration::from_secs(10);

/// The members.
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

    /// A member says something.
    pub(super) fn heard(&mut self, who: IdentityId, event: &Event) {
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

    /// A member is writing.
    pub(super) fn typing(&mut self, who: IdentityId, now: Instant) {
        self.typing.insert(who, now + TYPING_SHOWN);
    }

    /// A member went away.
    pub(super) fn gone(&mut self, who: &IdentityId) {
        self.typing.remove(who);
    }

    /// Some of what that member said does not count any more; this does.
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

    pub(super) fn name(&self, who: &IdentityId) -> &str {
        self.profiles.get(who).map_or("", Profile::name)
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

/// How far we have read, and how far we have said so.
#[derive(Default)]
pub(super) struct Reading {
    said: Option<ReadMark>,
    wanted: Option<ReadMark>,
    next: Option<Instant>,
}

impl Reading {
    pub(super) fn load(said: Option<ReadMark>) -> Self {
        Self {
            said,
            ..Self::default()
        }
    }

    /// We have read so far. False when that was said before.
    pub(super) fn upto(&mut self, mark: ReadMark, now: Instant) -> bool {
        if self.said.max(self.wanted) >= Some(mark) {
            return false;
        }
        self.wanted = Some(mark);
        self.next.get_or_insert(now);
        true
    }

    /// When there is something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wanted.and(self.next)
    }

    /// What is to be said now.
    pub(super) fn take(&mut self, now: Instant) -> Option<ReadMark> {
        if self.due()? > now {
            return None;
        }
        let mark = self.wanted.take();
        self.said = mark;
        self.next = Some(now + READ_PAUSE);
        mark
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn read_marks_rise_and_are_said_seldom() {
        let mark = |lamport| ReadMark {
            lamport,
            device: [0; 32],
            seq: 0,
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut reading = Reading::load(Some(mark(5)));
        assert!(!reading.upto(mark(5), at(0)) && reading.due().is_none());
        assert!(reading.upto(mark(6), at(0)));
        assert_eq!(reading.take(at(0)), Some(mark(6)));
        assert_eq!((reading.take(at(0)), reading.due()), (None, None));
        assert!(reading.upto(mark(7), at(1)) && reading.upto(mark(9), at(2)));
        assert!(!reading.upto(mark(8), at(3)), "it never falls");
        assert_eq!(reading.due(), Some(at(10)));
        assert_eq!(reading.take(at(9)), None);
        assert_eq!(reading.take(at(10)), Some(mark(9)));
        assert!(reading.upto(mark(10), at(60)));
        assert_eq!(
            reading.take(at(60)),
            Some(mark(10)),
            "after a long time at once"
        );
    }

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
