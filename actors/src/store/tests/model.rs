//! Random sequences of operations, against a model in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::Delivery;

/// Devices that write; each person has two.
const DEVICES: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    /// The next `count` events of a device in one call, with a key perhaps, and all calls until the next
    /// other operation in flight together.
    Append {
        device: usize,
        count: u8,
        key: Option<u8>,
    },
    /// An event that was skipped, so that this one has a gap before it.
    Gap {
        device: usize,
    },
    /// A proof that a device forked at a number.
    Fork {
        device: usize,
        seq: u64,
    },
    Deliver {
        member: usize,
        author: usize,
        next: u64,
    },
    Reopen,
    Leave,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..DEVICES, 1..4_u8, prop::option::of(0..20_u8))
            .prop_map(|(device, count, key)| Op::Append { device, count, key }),
        2 => (0..DEVICES).prop_map(|device| Op::Gap { device }),
        1 => (0..DEVICES, 1..12_u64).prop_map(|(device, seq)| Op::Fork { device, seq }),
        3 => (0..DEVICES, 0..DEVICES, 0..30_u64)
            .prop_map(|(member, author, next)| Op::Deliver { member, author, next }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Leave),
    ]
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    /// The events of each log.
    logs: BTreeMap<usize, Vec<Event>>,
    closed: BTreeMap<usize, u64>,
    /// All events with their positions.
    arrived: Vec<(u64, Event)>,
    keys: BTreeMap<u8, EventId>,
    marks: BTreeMap<(usize, usize), u64>,
    last: u64,
}

impl Model {
    fn append(&mut self, device: usize, events: &[NewEvent], key: Option<u8>) -> Expected {
        if let Some(used) = key.and_then(|key| self.keys.get(&key)) {
            return Err(StoreError::KeyUsed(*used));
        }
        let log = self.logs.entry(device).or_default();
        for (next, new) in (log.len() as u64..).zip(events) {
            let seq = new.event.header().seq;
            if let Some(at) = self.closed.get(&device).filter(|at| seq >= **at) {
                return Err(StoreError::Closed { at: *at });
            }
            if seq != next {
                return Err(StoreError::Gap { seq });
            }
        }
        if let Some(key) = key {
            self.keys.insert(key, events[0].event.id());
        }
        for new in events {
            log.push(new.event.clone());
            self.last += 1;
            self.arrived.push((self.last, new.event.clone()));
        }
        Ok(())
    }

    fn close(&mut self, device: usize, seq: u64) {
        let at = self.closed.entry(device).or_insert(seq);
        *at = seq.min(*at);
        let at = *at;
        if let Some(log) = self.logs.get_mut(&device) {
            let gone: BTreeSet<_> = log
                .drain((at as usize).min(log.len())..)
                .map(|event| event.id())
                .collect();
            self.arrived
                .retain(|(_, event)| !gone.contains(&event.id()));
        }
    }
}

type Expected = Result<(), StoreError>;

fn pen(device: usize) -> Pen {
    let device = u8::try_from(device).unwrap();
    Pen::new(CID, 100 + device / 2, 1 + device)
}

/// The first events of a device's log, written from its beginning: always the same ones.
fn script(device: usize, count: u64) -> Vec<NewEvent> {
    let mut pen = pen(device);
    let mut events = vec![pen.first()];
    for n in 1..count {
        // Times that interleave with those of other devices.
        let lamport = pen.lamport + 1 + n * 7 % (device as u64 + 3);
        let body = match n % 5 {
            0 => Body::profile(&format!("name {n}")).unwrap(),
            _ => Body::text(&format!("{device}: {n}")).unwrap(),
        };
        events.push(pen.write(lamport, &body));
    }
    events
}

async fn compare(store: &Store, model: &Model) {
    let heads = store.heads(CID).await.unwrap();
    let written: BTreeSet<_> = heads.iter().map(|head| head.certificate.device).collect();
    for device in 0..DEVICES {
        let key = pen(device).device();
        let log = model.logs.get(&device).map_or(&[][..], Vec::as_slice);
        if log.is_empty() {
            assert!(!written.contains(&key));
            continue;
        }
        let head = heads.iter().find(|h| h.certificate.device == key).unwrap();
        let last = log.last().unwrap();
        assert_eq!(head.next, log.len() as u64);
        assert_eq!(head.head, last.id());
        assert_eq!(head.lamport, last.header().lamport);
        assert_eq!(head.closed_at, model.closed.get(&device).copied());
        let kept = store.events(CID, key, 0, u64::MAX, usize::MAX).await;
        assert_eq!(kept.unwrap(), log);
    }
    assert_eq!(store.forks(CID).await.unwrap().len(), model.closed.len());
    let since = Tables(store).since(Some(CID), 0, 1_000).await.unwrap();
    let since: Vec<_> = since.into_iter().map(|e| (e.position, e.event)).collect();
    assert_eq!(since, model.arrived);
    assert_eq!(store.last_position().await.unwrap(), model.last);

    // The whole order, in pages of three from the end.
    let mut order: Vec<_> = model.arrived.iter().map(|(_, e)| e.clone()).collect();
    order.sort_by_key(|event| event.header().order());
    let mut read: Vec<Event> = Vec::new();
    loop {
        let query = PageQuery {
            before: read.first().map(Event::id),
            limit: 3,
            conversation_only: false,
        };
        let page = Tables(store).page(CID, query).await.unwrap();
        if page.is_empty() {
            break;
        }
        read.splice(..0, page.into_iter().map(|entry| entry.event));
    }
    assert_eq!(read, order);
    order.retain(|event| matches!(Body::of(event), Body::Text(_)));
    let said: Vec<_> = order.iter().map(text_of).collect();
    assert_eq!(texts(store, None, 1_000).await, said);

    for (key, id) in &model.keys {
        let kept = store.by_key(CID, &key.to_string()).await;
        assert_eq!(kept, Ok(Some(*id)));
    }
    let marks = store.deliveries(CID).await.unwrap();
    assert_eq!(marks.len(), model.marks.len());
    for ((member, author), next) in &model.marks {
        let mark = mark(*member, *author, *next);
        assert!(marks.contains(&mark));
    }
}

fn mark(member: usize, author: usize, next: u64) -> Delivery {
    Delivery {
        member: pen(member).device(),
        identity: pen(member).identity,
        author: pen(author).device(),
        next,
    }
}

async fn run(ops: Vec<Op>) {
    let mut home = Home::new().await;
    let mut model = Model::default();
    let mut flying = Vec::new();
    for op in ops {
        if !matches!(op, Op::Append { .. } | Op::Gap { .. } | Op::Deliver { .. }) {
            settle(&mut flying).await;
        }
        match op {
            Op::Append { device, count, key } => {
                let next = model.logs.get(&device).map_or(0, Vec::len);
                let until = next + usize::from(count);
                let mut events = script(device, until as u64).split_off(next);
                events[0].key = key.map(|key| key.to_string());
                let expected = model.append(device, &events, key);
                flying.push((Box::pin(home.store.append(CID, events)), expected));
            }
            Op::Gap { device } => {
                let next = model.logs.get(&device).map_or(0, Vec::len);
                let events = script(device, next as u64 + 2).split_off(next + 1);
                let expected = model.append(device, &events, None);
                flying.push((Box::pin(home.store.append(CID, events)), expected));
            }
            Op::Deliver {
                member,
                author,
                next,
            } => {
                let known = model.marks.entry((member, author)).or_insert(next);
                *known = next.max(*known);
                let marks = vec![mark(member, author, next)];
                home.store.set_deliveries(CID, marks).await.unwrap();
            }
            Op::Fork { device, seq } => {
                let events = script(device, seq + 1);
                let one = events[seq as usize].event.clone();
                let mut twin = pen(device);
                twin.next = seq;
                twin.head = one.header().prev;
                let other = twin.write(one.header().lamport + 99, &[]).event;
                home.store.close_log(CID, one, other).await.unwrap();
                model.close(device, seq);
            }
            Op::Reopen => home = home.reopen().await,
            Op::Leave => {
                home.store.remove_channel(CID).await.unwrap();
                home.store.put_channel(record(CID)).await.unwrap();
                model = Model {
                    last: model.last,
                    ..Model::default()
                };
            }
        }
    }
    settle(&mut flying).await;
    compare(&home.store, &model).await;
    let home = home.reopen().await;
    compare(&home.store, &model).await;
    home.stop().await;
}

async fn settle<F>(flying: &mut Vec<(F, Expected)>)
where
    F: Future<Output = Result<Vec<u64>, StoreError>> + Unpin,
{
    for (call, expected) in flying.drain(..) {
        assert_eq!(call.await.map(drop), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_store_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(ops));
    }
}
