//! A device that signs events of the simulated channel, well or badly.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId, genesis_body},
    identity::{Certificate, DeviceKey, IdentityKey},
};
use rand::rngs::StdRng;

use crate::channel::device::Device;

/// The simulated channel.
pub(super) const CID: ChannelId = ChannelId([7; 32]);

/// A device and the log that it signed.
pub(super) struct Author {
    pub(super) key: DeviceKey,
    pub(super) identity: IdentityKey,
    pub(super) events: Vec<Event>,
}

impl Author {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let (identity, key) = (IdentityKey::generate(rng), DeviceKey::generate(rng));
        let mut author = Self {
            key,
            identity,
            events: Vec::new(),
        };
        let body = genesis_body(&author.certificate());
        author.sign(0, EventId::ZERO, 1, &body);
        author
    }

    pub(super) fn certificate(&self) -> Certificate {
        self.identity.certify(&self.key.id(), 1)
    }

    /// Signs an event with this number, predecessor and time, right or wrong.
    pub(super) fn sign(&mut self, seq: u64, prev: EventId, lamport: u64, body: &[u8]) {
        let event = Event::author(&CID, &self.key, 0, seq, prev, lamport, 1, body).unwrap();
        self.events.push(event);
    }

    /// Signs a text that follows its last event.
    pub(super) fn write(&mut self, text: &str) {
        let last = self.events.last().unwrap();
        let (seq, prev, lamport) = (last.header().seq + 1, last.id(), last.header().lamport + 1);
        self.sign(seq, prev, lamport, &Body::text(text).unwrap());
    }

    pub(super) fn device(&self) -> Device {
        *self.key.id().as_bytes()
    }
}
