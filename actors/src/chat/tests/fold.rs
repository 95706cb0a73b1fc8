//! Any order of arrival folds to the same, and to what a slow and simple reading of the rules gives.

use std::collections::BTreeMap;

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId, Said},
    identity::{DeviceKey, IdentityId, IdentityKey},
};
use proptest::prelude::*;

use crate::chat::{
    fold::{Folded, MAX_SHOWN_EMOJI, fold, place, reactions_of},
    tables::Reference,
};

const CID: ChannelId = ChannelId([7; 32]);

fn who(person: u8) -> IdentityId {
    IdentityKey::from_seed(&[person; 32]).id()
}

/// An event of one of a person's two devices. Only its place and body matter here.
fn write(person: u8, desk: bool, lamport: u64, body: &[u8]) -> Reference {
    let device = DeviceKey::from_seed(&[person * 2 + u8::from(desk); 32]);
    let event = Event::author(
        &CID,
        &device,
        0,
        lamport,
        EventId([1; 32]),
        lamport,
        0,
        body,
    )
    .unwrap();
    Reference {
        event,
        author: who(person),
    }
}

fn text() -> Event {
    let said = Said {
        text: "first".into(),
        reply_to: Some(EventId([9; 32])),
        mentions: vec![[1; 32]],
    };
    write(1, false, 50, &said.encode().unwrap()).event
}

fn folded(about: &[Reference]) -> Folded {
    fold(&text(), &who(1), about).unwrap()
}

fn edit(person: u8, desk: bool, lamport: u64, words: &str) -> Reference {
    let body = Body::edit(text().id(), &Said::plain(words)).unwrap();
    write(person, desk, lamport, &body)
}

fn react(person: u8, desk: bool, lamport: u64, emoji: &[&str]) -> Reference {
    let emoji: Vec<String> = emoji.iter().map(|&e| e.to_owned()).collect();
    write(
        person,
        desk,
        lamport,
        &Body::react(text().id(), &emoji).unwrap(),
    )
}

fn delete(person: u8, lamport: u64) -> Reference {
    write(person, false, lamport, &Body::delete(text().id()))
}

#[test]
fn the_latest_edit_of_any_own_device_counts() {
    let shown = folded(&[
        edit(1, false, 60, "b"),
        edit(1, true, 70, "c"),
        edit(1, false, 65, "d"),
        edit(2, false, 99, "forged"),
    ]);
    assert_eq!(shown.said.text, "c");
    assert!(shown.edited && !shown.deleted);
    assert_eq!(shown.said.reply_to, Some(EventId([9; 32])));
    assert!(
        shown.said.mentions.is_empty(),
        "an edit has its own mentions"
    );
    // Even an edit that is "earlier" than the text: clocks cannot be trusted.
    assert_eq!(folded(&[edit(1, true, 3, "e")]).said.text, "e");
}

#[test]
fn a_deletion_wins_whenever_it_came_and_only_the_authors() {
    let shown = folded(&[
        delete(1, 60),
        edit(1, false, 70, "back"),
        react(2, false, 80, &["x"]),
    ]);
    assert!(shown.deleted && !shown.edited);
    assert_eq!((shown.said.text.as_str(), shown.reactions.len()), ("", 0));
    assert!(!folded(&[delete(2, 60)]).deleted);
}

#[test]
fn reactions_are_each_ones_latest_set() {
    let about = [
        react(2, false, 60, &["👍", "🎉"]),
        react(3, false, 61, &["👍"]),
        react(2, true, 62, &["🎉"]),
        react(4, false, 63, &["👍"]),
        react(4, false, 64, &[]),
    ];
    let shown = folded(&about);
    let by: Vec<_> = shown
        .reactions
        .iter()
        .map(|r| (r.emoji.as_str(), r.by.clone()))
        .collect();
    assert_eq!(by, [("👍", vec![who(3)]), ("🎉", vec![who(2)])]);
    assert_eq!(reactions_of(text().id(), &who(2), &about), ["🎉"]);
    assert!(reactions_of(text().id(), &who(4), &about).is_empty());
}

#[test]
fn shown_emoji_are_bounded() {
    let about: Vec<_> = (0..20)
        .map(|n| {
            let emoji: Vec<String> = (0..8).map(|k| format!("{n}-{k}")).collect();
            let emoji: Vec<&str> = emoji.iter().map(String::as_str).collect();
            react(n + 1, false, 100 + u64::from(n), &emoji)
        })
        .collect();
    let shown = folded(&about).reactions;
    assert_eq!(shown.len(), MAX_SHOWN_EMOJI);
    assert_eq!(
        (shown[0].emoji.as_str(), shown[63].emoji.as_str()),
        ("0-0", "7-7")
    );
}

#[test]
fn other_targets_and_other_kinds_are_ignored() {
    let other = EventId([3; 32]);
    let shown = folded(&[
        write(1, false, 60, &Body::delete(other)),
        write(1, false, 61, &Body::edit(other, &Said::plain("x")).unwrap()),
        write(
            2,
            false,
            62,
            &Body::react(other, &["x".to_owned()]).unwrap(),
        ),
        write(1, false, 63, &Body::text("y").unwrap()),
    ]);
    assert_eq!(shown, folded(&[]));
    assert!(fold(&edit(1, false, 60, "x").event, &who(1), &[]).is_none());
}

fn any_reference() -> impl Strategy<Value = Reference> {
    let emoji = prop::sample::subsequence(vec!["a", "b", "c"], 0..=3);
    (1..4_u8, any::<bool>(), 1..100_u64, 0..8_u8, emoji).prop_map(
        |(person, desk, lamport, what, emoji)| match what {
            0 => delete(person, lamport),
            1..4 => edit(person, desk, lamport, &format!("{person} {desk} {lamport}")),
            _ => react(person, desk, lamport, &emoji),
        },
    )
}

proptest! {
    #[test]
    fn any_order_of_arrival_folds_to_the_same(
        (sorted, mixed) in prop::collection::vec(any_reference(), 0..24)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        prop_assert_eq!(folded(&sorted), folded(&mixed));
        // What arrives twice changes nothing, and only the latest of each is needed.
        let twice = [&mixed[..], &sorted].concat();
        prop_assert_eq!(folded(&twice), folded(&sorted));
    }

    #[test]
    fn it_matches_a_plain_reading_of_the_rules(about in prop::collection::vec(any_reference(), 0..24)) {
        let mut sorted = about.clone();
        sorted.sort_by_key(|reference| place(&reference.event));
        let mut said = "first".to_owned();
        let mut deleted = false;
        let mut sets: BTreeMap<IdentityId, Vec<String>> = BTreeMap::new();
        for reference in &sorted {
            match Body::of(&reference.event) {
                Body::Edit { said: now, .. } if reference.author == who(1) => said = now.text,
                Body::Delete { .. } if reference.author == who(1) => deleted = true,
                Body::React { emoji, .. } => drop(sets.insert(reference.author, emoji)),
                _ => {}
            }
        }
        let shown = folded(&about);
        prop_assert_eq!(shown.deleted, deleted);
        if !deleted {
            prop_assert_eq!(shown.said.text, said);
            for emoji in ["a", "b", "c"] {
                let mut by = shown.reactions.iter().find(|r| r.emoji == emoji)
                    .map(|r| r.by.clone()).unwrap_or_default();
                by.sort_unstable();
                let expected: Vec<IdentityId> = sets.iter()
                    .filter(|(_, set)| set.iter().any(|e| e == emoji)).map(|(who, _)| *who).collect();
                prop_assert_eq!(by, expected);
            }
        }
    }
}
