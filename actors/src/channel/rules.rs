//! The rules that an event must keep to enter a channel's logs: whose logs there may be and how many, and how far a
//! clock may run ahead (`docs/PROTOCOL.md`, events). Pure, and the same at every member.

use bitchat_wire::{
    event::{Event, EventHeader},
    identity::Certificate,
};

use super::device::MAX_DEVICES;
use crate::link::Accept;

/// How far an event's Lamport time may be ahead of all that we accepted. One further ahead waits, so that the clock of
/// one author does not drag ours along.
const MAX_LEAP: u64 = 1 << 20;

/// A channel's rules.
#[derive(Default)]
pub(super) struct Rules {
    /// Whose logs there may be.
    accept: Accept,
    /// The Lamport time from which our clock starts.
    pub(super) clock: u64,
}

impl Rules {
    pub(super) fn new(accept: Accept) -> Self {
        Self { accept, clock: 0 }
    }

    /// Whether an event's Lamport time is too far ahead of `clock` to be accepted yet.
    pub(super) fn is_ahead(&self, header: &EventHeader, clock: u64) -> bool {
        header.lamport > clock.saturating_add(MAX_LEAP)
    }

    /// Checks what holds for every event; an error names the broken rule.
    pub(super) fn check(&self, header: &EventHeader) -> Result<(), &'static str> {
        if header.epoch != 0 {
            return Err("its epoch is not known");
        }
        Ok(())
    }

    /// Checks the first event of a log, in a channel that has this many `devices`; an error names the broken rule.
    ///
    /// There is no limit for one identity: which of its devices came first differs from member to member, and so would
    /// their logs.
    pub(super) fn check_first(
        &self,
        event: &Event,
        devices: usize,
    ) -> Result<Certificate, &'static str> {
        let Some(certificate) = event.certificate() else {
            return Err("it does not begin a log");
        };
        if !self.accept.allows(&certificate.identity) {
            return Err("its identity is not a member");
        }
        if devices >= MAX_DEVICES {
            return Err("the channel has reached its limit of devices");
        }
        Ok(certificate)
    }

    /// Checks an event that follows one with the Lamport time `before`; an error names the broken rule.
    pub(super) fn check_next(&self, header: &EventHeader, before: u64) -> Result<(), &'static str> {
        if header.lamport <= before {
            return Err("its Lamport time does not grow");
        }
        Ok(())
    }
}
