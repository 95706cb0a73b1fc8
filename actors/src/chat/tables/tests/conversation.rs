//! Events about others, and the search: what is kept is what counts, in whatever order it came.

use std::collections::{BTreeMap, BTreeSet};

use bitchat_wire::{
    event::{Body, EventId, Said},
    identity::IdentityId,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::{LogEntry, Reference, Tables, search::search_sql};
use crate::store::{NewEvent, Store, StoreError, tests::*};

async fn found(store: &Store, query: &str) -> Vec<String> {
    let found = Tables(store)
        .search(Some(CID), query, 100, None)
        .await
        .unwrap();
    found.iter().map(|entry| text_of(&entry.event)).collect()
}

impl Pen {
    fn edits(&mut self, target: EventId, text: &str) -> NewEvent {
        self.write(
            self.lamport + 1,
            &Body::edit(target, &Said::plain(text)).unwrap(),
        )
    }

    fn deletes(&mut self, target: EventId) -> NewEvent {
        self.write(self.lamport + 1, &Body::delete(target))
    }

    fn reacts(&mut self, target: EventId, emoji: &str) -> NewEvent {
        self.write(
            self.lamport + 1,
            &Body::react(target, &[emoji.to_owned()]).unwrap(),
        )
    }
}

#[tokio::test]
async fn words_are_found_as_they_are_shown_now() {
    let home = Home::new().await;
    let store = &home.store;
    let mut ann = Pen::started(store, 1, 2).await;
    let mut bob = Pen::started(store, 3, 4).await;
    let first = ann.says("The quick brown fox, Crème brûlée");
    let second = ann.says("a quick reply");
    let (one, two) = (first.event.id(), second.event.id());
    store.append(CID, vec![first, second]).await.unwrap();
    for (query, count) in [
        ("quick", 2),
        ("QUI", 2),
        ("quick fox", 1),
        ("\"quick brown\"", 1),
        ("\"brown quick\"", 0),
        ("\"quic\"", 0),
        ("creme brulee", 1),
        ("fox OR reply", 0),
        ("text:quick", 0),
        ("uick", 0),
    ] {
        assert_eq!(found(store, query).await.len(), count, "{query}");
    }
    // The newest first, page by page.
    let page = |before| Tables(store).search(None, "quick", 1, before);
    let newest = page(None).await.unwrap();
    assert_eq!(newest[0].event.id(), two);
    let older = page(Some(two)).await.unwrap();
    assert_eq!(older[0].event.id(), one);
    assert!(page(Some(one)).await.unwrap().is_empty());
    assert_eq!(
        page(Some(EventId([1; 32]))).await.map(|_| ()),
        Err(StoreError::NoEvent)
    );

    // An edit moves it to its new words, but another's does not; and what comes first waits.
    let edit = ann.edits(one, "a slow fox");
    let forged = bob.edits(two, "forged");
    store.append(CID, vec![edit, forged]).await.unwrap();
    assert_eq!(found(store, "brown").await.len(), 0);
    assert_eq!(found(store, "slow").await.len(), 1);
    assert_eq!(found(store, "forged").await.len(), 0);
    assert_eq!(found(store, "quick").await.len(), 1);
    let later = ann.says("will be here later");
    let early = Pen {
        next: 2,
        head: later.event.id(),
        lamport: 90,
        ..Pen::new(CID, 1, 9)
    };
    let mut desk = early.clone();
    desk.next = 0;
    desk.head = EventId::ZERO;
    let genesis = desk.first();
    let edit = desk.edits(later.event.id(), "changed before it came");
    store.append(CID, vec![genesis, edit]).await.unwrap();
    store.append(CID, vec![later]).await.unwrap();
    assert_eq!(found(store, "later").await.len(), 0);
    assert_eq!(found(store, "changed").await.len(), 1);

    // A deletion ends it, whatever comes after.
    let gone = ann.deletes(one);
    store.append(CID, vec![gone]).await.unwrap();
    let vain = ann.edits(one, "a slow fox again");
    store.append(CID, vec![vain]).await.unwrap();
    assert_eq!(found(store, "slow").await.len(), 0);

    for bad in ["", "\"", "?!", &"x".repeat(2_000)] {
        let refused = Tables(store).search(None, bad, 10, None).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{bad:?}");
    }
    // Everything is still there after a restart, and gone with the channel.
    let home = home.reopen().await;
    assert_eq!(found(&home.store, "changed").await.len(), 1);
    home.store.remove_channel(CID).await.unwrap();
    let left: (i64, i64) = home
        .store
        .tamper(|conn| {
            let count = |sql| conn.query_row(sql, [], |row| row.get(0)).unwrap();
            (
                count("SELECT count(*) FROM said"),
                count("SELECT count(*) FROM reference"),
            )
        })
        .await
        .unwrap();
    assert_eq!(left, (0, 0));
    home.stop().await;
}

#[tokio::test]
async fn a_refused_call_leaves_no_words() {
    let home = Home::new().await;
    let store = &home.store;
    let mut ann = Pen::started(store, 1, 2).await;
    let good = ann.says("kept");
    let _skipped = ann.says("skipped");
    let gap = ann.says("gap");
    let (one, two) = tokio::join!(store.append(CID, vec![good]), store.append(CID, vec![gap]));
    assert!(one.is_ok() && two.is_err());
    assert_eq!(found(store, "kept").await.len(), 1);
    assert_eq!(found(store, "gap").await.len(), 0);
    home.stop().await;
}

#[tokio::test]
async fn a_search_goes_from_its_words_to_the_events() {
    let home = Home::new().await;
    for of_channel in [true, false] {
        let sql = search_sql(of_channel);
        let plan: Vec<String> = home
            .store
            .tamper(move |conn| {
                let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let params = vec!["1"; statement.parameter_count()];
                let rows =
                    statement.query_map(rusqlite::params_from_iter(params), |row| row.get(3));
                rows.unwrap().map(Result::unwrap).collect()
            })
            .await
            .unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains("SCAN said VIRTUAL TABLE"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        assert_eq!(plan.matches("SCAN").count(), 1, "{plan}");
    }
    home.stop().await;
}

/// A database of the first version, where edits and the like were kept as unknown.
#[tokio::test]
async fn what_the_first_version_kept_is_understood_after_the_migration() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let mut ann = Pen::new(CID, 1, 2);
    let genesis = ann.first();
    let (plain, changed, gone) = (ann.says("plain"), ann.says("before"), ann.says("gone"));
    let events = [
        genesis.event.clone(),
        plain.event.clone(),
        changed.event.clone(),
        gone.event.clone(),
        ann.edits(changed.event.id(), "between").event,
        ann.edits(changed.event.id(), "after").event,
        ann.deletes(gone.event.id()).event,
        ann.reacts(plain.event.id(), "x").event,
        ann.write(30, &Body::status("at sea").unwrap()).event,
        ann.write(31, b"nonsense").event,
    ];
    {
        let conn = first_version(&path);
        let record = record(CID);
        conn.execute(
            "INSERT INTO channel (id, cid, file, joined_ms) VALUES (1, ?1, ?2, 0)",
            rusqlite::params![CID.0, record.file],
        )
        .unwrap();
        conn.execute(
            "INSERT INTO log (id, channel, device, identity, created, certificate, next, head)
             VALUES (1, 1, ?1, ?2, 0, ?3, 10, ?4)",
            rusqlite::params![
                ann.device().as_bytes(),
                ann.identity.as_bytes(),
                ann.certificate.signature,
                ann.head.0
            ],
        )
        .unwrap();
        for event in &events {
            let header = event.header();
            let kind = match Body::of(event) {
                Body::Genesis(_) => 1,
                Body::Text(_) => 2,
                _ => 0,
            };
            conn.execute(
                "INSERT INTO event (channel, log, seq, device, lamport, kind, arrival_ms, id, raw, signature)
                 VALUES (1, 1, ?1, ?2, ?3, ?4, 0, ?5, ?6, ?7)",
                rusqlite::params![
                    header.seq as i64,
                    header.device.as_bytes(),
                    header.lamport as i64,
                    kind,
                    event.id().0,
                    &event.raw()[..],
                    event.signature()
                ],
            )
            .unwrap();
        }
    }
    let home = Home::at(folder).await.unwrap();
    let store = &home.store;
    for (word, count) in [
        ("plain", 1),
        ("before", 0),
        ("between", 0),
        ("after", 1),
        ("gone", 0),
    ] {
        assert_eq!(found(store, word).await.len(), count, "{word}");
    }
    let counts = |entry: Option<LogEntry>| -> Vec<EventId> {
        let about = entry.unwrap().references;
        about.iter().map(|reference| reference.event.id()).collect()
    };
    let about = |id| async move { counts(Tables(store).entry(CID, id).await.unwrap()) };
    assert_eq!(about(changed.event.id()).await, [events[5].id()]);
    assert_eq!(about(gone.event.id()).await, [events[6].id()]);
    assert_eq!(about(plain.event.id()).await, [events[7].id()]);
    let profiles = Tables(store).profiles(CID).await.unwrap();
    assert_eq!(profiles[0].1.status(), "at sea");
    // And the log goes on.
    let next = ann.edits(plain.event.id(), "edited");
    store.append(CID, vec![next]).await.unwrap();
    assert_eq!(found(store, "edited").await.len(), 1);
    home.stop().await;
}

/// What one device does next; targets are texts, by their number.
#[derive(Clone, Debug)]
enum Act {
    Say,
    Edit(usize),
    Delete(usize),
    React(usize),
}

const DEVICES: usize = 4;
/// Texts that each device says first of all, so that anybody can be about anything.
const TEXTS: usize = 2;

fn act() -> impl Strategy<Value = (usize, Act)> {
    let target = 0..DEVICES * TEXTS;
    let act = prop_oneof![
        1 => Just(Act::Say),
        4 => target.clone().prop_map(Act::Edit),
        1 => target.clone().prop_map(Act::Delete),
        3 => target.prop_map(Act::React),
    ];
    (0..DEVICES, act)
}

/// All logs, as they were written.
fn write(acts: &[(usize, Act)]) -> Vec<Vec<NewEvent>> {
    let mut pens: Vec<Pen> = (0..DEVICES)
        .map(|d| Pen::new(CID, 100 + (d / 2) as u8, 1 + d as u8))
        .collect();
    let mut logs: Vec<Vec<NewEvent>> = pens.iter_mut().map(|pen| vec![pen.first()]).collect();
    let mut texts = Vec::new();
    for (device, log) in logs.iter_mut().enumerate() {
        for n in 0..TEXTS {
            let said = pens[device].says(&format!("t{device}x{n}"));
            texts.push(said.event.id());
            log.push(said);
        }
    }
    for (n, (device, act)) in acts.iter().enumerate() {
        let pen = &mut pens[*device];
        // Times that cross those of other devices, and sometimes meet them.
        pen.lamport += (n as u64 * 5 + *device as u64) % 4;
        logs[*device].push(match act {
            Act::Say => pen.says(&format!("s{n}")),
            Act::Edit(target) => pen.edits(texts[*target], &format!("e{n}")),
            Act::Delete(target) => pen.deletes(texts[*target]),
            Act::React(target) => pen.reacts(texts[*target], &format!("r{n}")),
        });
    }
    logs
}

/// What counts about a text, read off all events in the plainest way.
fn counts<'a>(events: &'a [&'a NewEvent], text: &NewEvent) -> (BTreeSet<EventId>, Option<String>) {
    let mut latest: BTreeMap<(u8, IdentityId), &NewEvent> = BTreeMap::new();
    for new in events {
        let body = Body::of(&new.event);
        if body.target() != Some(text.event.id()) {
            continue;
        }
        let kind = match body {
            Body::Edit { .. } => 0,
            Body::Delete { .. } => 1,
            _ => 2,
        };
        if kind < 2 && new.identity != text.identity {
            continue;
        }
        let known = latest.entry((kind, new.identity)).or_insert(new);
        if known.event.header().order() < new.event.header().order() {
            *known = new;
        }
    }
    let own = |kind| latest.get(&(kind, text.identity));
    let shown = match (own(1), own(0)) {
        (Some(_), _) => None,
        (None, Some(edit)) => match Body::of(&edit.event) {
            Body::Edit { said, .. } => Some(said.text),
            _ => None,
        },
        (None, None) => Some(text_of(&text.event)),
    };
    (latest.values().map(|new| new.event.id()).collect(), shown)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_order_of_arrival_keeps_and_finds_the_same(
        acts in prop::collection::vec(act(), 0..40),
        turns in prop::collection::vec((0..DEVICES, 1..4_usize), 0..60),
        fork in prop::option::of((0..DEVICES, 1..8_u64)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = Home::new().await;
            let store = &home.store;
            let mut logs = write(&acts);
            let mut events: Vec<&NewEvent> = logs.iter().flatten().collect();
            // Each turn brings some of one device; in the end comes the rest.
            let mut next = [0_usize; DEVICES];
            let all = (0..DEVICES).rev().map(|device| (device, usize::MAX));
            for (device, count) in turns.iter().copied().chain(all) {
                let log = &logs[device];
                let to = next[device].saturating_add(count).min(log.len());
                let batch = log[next[device]..to].to_vec();
                next[device] = to;
                if !batch.is_empty() {
                    store.append(CID, batch).await.unwrap();
                }
            }
            let forked;
            if let Some((device, seq)) = fork {
                let mut twin = Pen::new(CID, 100 + (device / 2) as u8, 1 + device as u8);
                twin.next = seq;
                twin.head = EventId([1; 32]);
                let other = twin.write(1, b"another");
                if let Some(own) = logs[device].get(seq as usize) {
                    store.close_log(CID, own.event.clone(), other.event.clone()).await.unwrap();
                    logs[device].truncate(seq as usize);
                }
                forked = logs.clone();
                events = forked.iter().flatten().collect();
            }
            for text in &events {
                if !matches!(Body::of(&text.event), Body::Text(_)) {
                    continue;
                }
                let (expected, shown) = counts(&events, text);
                let entry = Tables(store).entry(CID, text.event.id()).await.unwrap().unwrap();
                let kept: BTreeSet<EventId> = entry.references.iter()
                    .map(|Reference { event, .. }| event.id()).collect();
                assert_eq!(kept, expected);
                let first = text_of(&text.event);
                for word in std::iter::once(&first).chain(&shown) {
                    let hits = Tables(store).search(None, &format!("\"{word}\""), 10, None).await.unwrap();
                    let is_found = hits.iter().any(|hit| hit.event.id() == text.event.id());
                    assert_eq!(is_found, shown.as_ref() == Some(word), "{word}");
                }
            }
            home.stop().await;
        });
    }
}
