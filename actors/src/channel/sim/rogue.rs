//! A member driven by a script: it lies about what it has, signs what it should not, forks its logs, sends answers that
//! were not requested.

use std::collections::VecDeque;

use bitchat_wire::{
    event::{Body, Event, EventId, SEQ_LIMIT, genesis_body},
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use rand::rngs::StdRng;

use super::author::{Author, CID};
use crate::{channel::device::Device, link::signed};

/// Events, devices and ranges that it remembers.
const MEMORY: usize = 64;

/// Bytes that decide what happens; zeros once they are used up.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.byte().is_multiple_of(n)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// A small number, or one that programs get wrong.
    fn number(&mut self, near: u64) -> u64 {
        match self.byte() % 8 {
            0 => 0,
            1 => near,
            2 => near.saturating_add(1),
            3 => near.saturating_sub(1),
            4 => near + u64::from(self.byte()),
            5 => SEQ_LIMIT - 1,
            6 => u64::MAX,
            _ => u64::from(self.byte()),
        }
    }
}

/// The hostile member: the first of its devices has the links.
pub(super) struct Rogue {
    pub(super) authors: Vec<Author>,
    received: VecDeque<Event>,
    devices: Vec<Device>,
    wanted: VecDeque<proto::Range>,
}

impl Rogue {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let authors: Vec<Author> = (0..3).map(|_| Author::new(rng)).collect();
        let mut devices: Vec<Device> = authors.iter().map(Author::device).collect();
        devices.push([9; 32]);
        Self {
            authors,
            received: VecDeque::new(),
            devices,
            wanted: VecDeque::new(),
        }
    }

    /// Takes an honest member's message.
    pub(super) fn receive(&mut self, kind: Kind) {
        match kind {
            Kind::Events(batch) => {
                for event in batch.events {
                    let event = Event::from_store(&CID, event.event, &event.signature).unwrap();
                    self.received.push_back(event);
                }
                while self.received.len() > MEMORY {
                    self.received.pop_front();
                }
            }
            Kind::Have(proto::Have { claims, .. }) | Kind::Ack(proto::Ack { claims }) => {
                for claim in claims {
                    let device = Device::try_from(claim.device.as_ref()).unwrap();
                    if self.devices.len() < MEMORY && !self.devices.contains(&device) {
                        self.devices.push(device);
                    }
                }
            }
            Kind::Want(want) => {
                self.wanted.extend(want.ranges);
                self.wanted.truncate(MEMORY);
            }
            _ => {}
        }
    }

    /// Its next message, encoded.
    pub(super) fn message(&mut self, script: &mut Script<'_>) -> Bytes {
        let kind = match script.byte() % 12 {
            0 => {
                let len = script.below(256).min(script.0.len());
                let (raw, rest) = script.0.split_at(len);
                script.0 = rest;
                return Bytes::copy_from_slice(raw);
            }
            1 => Kind::Have(proto::Have {
                claims: self.claims(script),
                more: script.one_in(8),
            }),
            2 => Kind::Ack(proto::Ack {
                claims: self.claims(script),
            }),
            3 => {
                let which = script.below(self.authors.len());
                let author = &mut self.authors[which];
                for _ in 0..=script.below(4) {
                    author.write("mischief");
                }
                let from = script.below(author.events.len());
                events(&author.events[from..], script.one_in(4))
            }
            4 => self.answer(script),
            5 | 6 => self.odd_event(script),
            7 => Kind::Ids(self.ids(script)),
            8 => self.proof(script),
            9 => {
                let mut echo: Vec<Event> = self.received.iter().cloned().collect();
                if !echo.is_empty() {
                    let at = script.below(echo.len());
                    echo.rotate_left(at);
                }
                echo.truncate(1 + script.below(8));
                events(&echo, script.one_in(2))
            }
            10 => Kind::Peers(self.peers(script)),
            _ => {
                let device = self.device(script);
                let from = script.number(0) % SEQ_LIMIT;
                let to = from.saturating_add(1 + u64::from(script.byte()));
                Kind::Want(proto::Want {
                    ranges: vec![proto::Range { device, from, to }],
                })
            }
        };
        message::encode(kind).into()
    }

    fn device(&mut self, script: &mut Script<'_>) -> Bytes {
        let at = script.below(self.devices.len());
        Bytes::copy_from_slice(&self.devices[at])
    }

    fn claims(&mut self, script: &mut Script<'_>) -> Vec<proto::Claim> {
        let claim = |script: &mut Script<'_>| {
            let device = self.device(script);
            let next = script.number(2);
            let head = [script.byte(); 16];
            proto::Claim {
                device,
                floor: if script.one_in(8) {
                    script.number(1)
                } else {
                    0
                },
                next,
                head: if next == 0 {
                    Bytes::new()
                } else {
                    Bytes::copy_from_slice(&head)
                },
            }
        };
        let mut claim = claim;
        (0..=script.below(4)).map(|_| claim(script)).collect()
    }

    /// Answers a request, more or less.
    fn answer(&mut self, script: &mut Script<'_>) -> Kind {
        let Some(range) = self.wanted.pop_front() else {
            return events(&[], true);
        };
        let of = |author: &&Author| author.device()[..] == range.device[..];
        let log = self
            .authors
            .iter()
            .find(of)
            .map(|author| &author.events[..]);
        let (from, most) = (range.from as usize, script.below(16));
        let found: Vec<Event> = log
            .unwrap_or_default()
            .iter()
            .skip(from)
            .take(most)
            .cloned()
            .collect();
        events(&found, !script.one_in(8))
    }

    /// An event with a number, predecessor or time that it should not have; often a fork.
    fn odd_event(&mut self, script: &mut Script<'_>) -> Kind {
        let which = script.below(self.authors.len());
        let author = &self.authors[which];
        let near = author.events.len() as u64 - 1;
        let (seq, lamport) = (script.number(near), script.number(near));
        let at = script.below(author.events.len());
        let prev = match script.byte() % 4 {
            0 => EventId::ZERO,
            1 => EventId([script.byte(); 32]),
            2 => author.events[at].id(),
            _ => seq
                .checked_sub(1)
                .and_then(|before| author.events.get(before as usize))
                .map_or(EventId::ZERO, Event::id),
        };
        let body = match script.byte() % 4 {
            0 => genesis_body(&author.certificate()).to_vec(),
            1 => Body::leave(),
            2 => vec![script.byte(); script.below(64)],
            _ => Body::text("the other one").unwrap(),
        };
        match Event::author(&CID, &author.key, 0, seq, prev, lamport, 1, &body) {
            Ok(event) => events(&[event], script.one_in(4)),
            Err(_) => Kind::Typing(proto::Typing {}),
        }
    }

    fn ids(&mut self, script: &mut Script<'_>) -> proto::Ids {
        let known: Vec<Bytes> = self
            .received
            .iter()
            .map(|event| Bytes::copy_from_slice(&event.id().0))
            .collect();
        let skip = script.below(known.len());
        let mut ids: Vec<Bytes> = known
            .into_iter()
            .skip(skip)
            .take(script.below(16))
            .collect();
        if script.one_in(2) {
            ids.push(Bytes::copy_from_slice(&[script.byte(); 32]));
        }
        proto::Ids {
            device: self.device(script),
            from: script.number(0),
            ids,
        }
    }

    fn proof(&mut self, script: &mut Script<'_>) -> Kind {
        let which = script.below(self.authors.len());
        let author = &self.authors[which];
        let at = script.below(author.events.len());
        let event = &author.events[at];
        let header = event.header();
        let body = Body::text("forked").unwrap();
        let other = Event::author(
            &CID,
            &author.key,
            0,
            header.seq,
            header.prev,
            header.lamport,
            1,
            &body,
        );
        Kind::Fork(proto::Fork {
            a: Some(signed(event)),
            b: other.ok().as_ref().map(signed),
        })
    }

    fn peers(&mut self, script: &mut Script<'_>) -> proto::Peers {
        let peer = proto::Peer {
            device: self.device(script),
            identity: Bytes::copy_from_slice(&[script.byte(); 32]),
            peer_id: Bytes::copy_from_slice(&[script.byte(); 38]),
            addresses: vec![Bytes::copy_from_slice(&[4, 127, 0, 0, script.byte()])],
        };
        proto::Peers {
            linked: vec![peer],
            unlinked: vec![self.device(script)],
        }
    }
}

fn events(events: &[Event], backfill: bool) -> Kind {
    Kind::Events(proto::Events {
        events: events.iter().map(signed).collect(),
        backfill,
    })
}
