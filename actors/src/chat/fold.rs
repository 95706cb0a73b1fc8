//! What a text shows after all edits, deletions and reactions (`docs/PROTOCOL.md`, 9.3). Pure: the result does not depend on
//! the order in which the events came, and a page is folded from the events that it needs alone.

use std::{cmp::Reverse, collections::BTreeMap};

use bitchat_wire::{
    event::{Body, Event, EventId, Said},
    identity::{DeviceId, IdentityId},
};

use super::tables::Reference;

/// The number of different emoji shown on one text.
pub(super) const MAX_SHOWN_EMOJI: usize = 64;

/// A text as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    /// Its contents now. Empty when it was deleted, except for the event that it answers.
    pub said: Said,
    /// Whether its author edited it.
    pub edited: bool,
    /// Whether its author deleted it.
    pub deleted: bool,
    /// The reactions to it, the earliest first.
    pub reactions: Vec<Reaction>,
}

/// One emoji on a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The emoji itself.
    pub emoji: String,
    /// The identities that set it, each once, the earliest first.
    pub by: Vec<IdentityId>,
}

/// An event's place in the channel's order. Only the log of a device that forked has two events at one place, and not for
/// long; their ids make the order total even then.
pub(super) type Place = (u64, DeviceId, u64, EventId);

/// Folds a text; `None` if the event is not one. References to other events are ignored, and so are edits and deletions by
/// others than the text's author.
pub(super) fn fold(text: &Event, author: &IdentityId, about: &[Reference]) -> Option<Folded> {
    let Body::Text(first) = Body::of(text) else {
        return None;
    };
    let mut edit: Option<(Place, Said)> = None;
    let mut deleted = false;
    let mut reacted: BTreeMap<IdentityId, (Place, Vec<String>)> = BTreeMap::new();
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
                if reacted
                    .get(&reference.author)
                    .is_none_or(|(known, _)| *known < place) =>
            {
                reacted.insert(reference.author, (place, emoji));
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
        reactions: reactions(reacted),
    })
}

/// The emoji that `who` has set on the text, according to these events.
pub(super) fn reactions_of(text: EventId, who: &IdentityId, about: &[Reference]) -> Vec<String> {
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

fn reactions(reacted: BTreeMap<IdentityId, (Place, Vec<String>)>) -> Vec<Reaction> {
    let mut reacted: Vec<_> = reacted.into_iter().collect();
    reacted.sort_unstable_by_key(|(_, (place, _))| Reverse(*place));
    let mut shown: Vec<Reaction> = Vec::new();
    while let Some((who, (_, emoji))) = reacted.pop() {
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

pub(super) fn place(event: &Event) -> Place {
    let (lamport, device, seq) = event.header().order();
    (lamport, device, seq, event.id())
}
