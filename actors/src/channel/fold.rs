//! What a text shows, after all that was said about it (`docs/PROTOCOL.md`, 9.3). Pure: the same events
//! fold to the same, in whatever order they came, and a page is folded from the events it needs alone.

use std::{cmp::Reverse, collections::BTreeMap};

use bitchat_wire::{
    event::{Body, Event, EventId, Said},
    identity::{DeviceId, IdentityId},
};

use crate::store::Reference;

/// Different emoji shown on one text.
pub const MAX_SHOWN_EMOJI: usize = 64;

/// A text as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// What it says now; nothing when it was deleted, but what it answers stays.
    pub said: Said,
    /// Its author changed it.
    pub edited: bool,
    /// Its author took it back.
    pub deleted: bool,
    /// What others feel about it.
    pub reactions: Vec<Reaction>,
}

/// One emoji on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// Which.
    pub emoji: String,
    /// Whose: the earliest first, nobody twice.
    pub by: Vec<IdentityId>,
}

/// Where an event stands in the channel's order. Only the log of a device that forked holds two with one
/// place, and not for long; their ids make the order total even then.
type Place = (u64, DeviceId, u64, EventId);

/// What a text shows; `None` if the event is none. References to other events, and edits and deletions by
/// others than the text's author, mean nothing.
pub fn fold(text: &Event, author: &IdentityId, about: &[Reference]) -> Option<Folded> {
    let Body::Text(first) = Body::of(text) else {
        return None;
    };
    let mut edit: Option<(Place, Said)> = None;
    let mut deleted = false;
    let mut moods: BTreeMap<IdentityId, (Place, Vec<String>)> = BTreeMap::new();
    for reference in about {
        let body = Body::of(&reference.event);
        if body.target() != Some(text.id()) {
            continue;
        }
        let place = place(&reference.event);
        match body {
            Body::Delete { .. } => deleted |= reference.author == *author,
            Body::Edit { said, .. }
                if reference.author == *author
                    && edit.as_ref().is_none_or(|(known, _)| *known < place) =>
            {
                edit = Some((place, said));
            }
            Body::React { emoji, .. }
                if moods
                    .get(&reference.author)
                    .is_none_or(|(known, _)| *known < place) =>
            {
                moods.insert(reference.author, (place, emoji));
            }
            _ => {}
        }
    }
    let reply_to = first.reply_to;
    if deleted {
        return Some(Folded {
            said: Said {
                reply_to,
                ..Said::default()
            },
            deleted,
            ..Folded::default()
        });
    }
    let edited = edit.is_some();
    let said = edit.map_or(first, |(_, said)| Said { reply_to, ..said });
    Some(Folded {
        said,
        edited,
        deleted,
        reactions: reactions(moods),
    })
}

/// The emoji that identity set on the text, as far as these events tell.
pub fn reactions_of(text: EventId, who: &IdentityId, about: &[Reference]) -> Vec<String> {
    about
        .iter()
        .filter(|reference| reference.author == *who)
        .filter_map(|reference| match Body::of(&reference.event) {
            Body::React { target, emoji } if target == text => {
                Some((place(&reference.event), emoji))
            }
            _ => None,
        })
        .max_by_key(|(place, _)| *place)
        .map(|(_, emoji)| emoji)
        .unwrap_or_default()
}

fn reactions(moods: BTreeMap<IdentityId, (Place, Vec<String>)>) -> Vec<Reaction> {
    let mut moods: Vec<_> = moods.into_iter().collect();
    moods.sort_unstable_by_key(|(_, (place, _))| Reverse(*place));
    let mut shown: Vec<Reaction> = Vec::new();
    while let Some((who, (_, emoji))) = moods.pop() {
        for emoji in emoji {
            match shown.iter().position(|known| known.emoji == emoji) {
                Some(at) => shown[at].by.push(who),
                None if shown.len() < MAX_SHOWN_EMOJI => shown.push(Reaction {
                    emoji,
                    by: vec![who],
                }),
                None => {}
            }
        }
    }
    shown
}

fn place(event: &Event) -> Place {
    let (lamport, device, seq) = event.header().order();
    (lamport, device, seq, event.id())
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
