//! What the parts of the machine share to send with: the effects of the present input, the links' credits, and
//! the time at which batched changes go out.

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    channel::effects::{Effect, Notice, Now},
    link::LinkId,
};

/// Low-priority changes (claims to members other than the author, peer exchange, delivery marks to be kept) are
/// held this long and sent together; sent one by one, a mesh of N would exchange O(N^3) messages.
const BATCH: Duration = Duration::from_secs(1);
/// Credits of a link that only peer exchange, wants and forks may use, so that pushing never starves them.
const RESERVED_CREDITS: usize = 16;

/// Effects, credits and the batch timer.
#[derive(Default)]
pub(super) struct Outbox {
    effects: Vec<Effect>,
    /// Messages that each link's mailbox still takes.
    credits: BTreeMap<LinkId, usize>,
    /// When batched changes are due; `None` when there are none.
    flush_at: Option<Instant>,
}

impl Outbox {
    /// Adds a link whose mailbox takes `credits` messages.
    pub(super) fn up(&mut self, link: LinkId, credits: usize) {
        self.credits.insert(link, credits);
    }

    /// Removes a link.
    pub(super) fn down(&mut self, link: LinkId) {
        self.credits.remove(&link);
    }

    /// Returns credits to a link; false if there is no such link.
    pub(super) fn room(&mut self, link: LinkId, credits: usize) -> bool {
        match self.credits.get_mut(&link) {
            Some(room) => {
                *room += credits;
                true
            }
            None => false,
        }
    }

    /// Whether a link has room for messages that may not use the reserve.
    pub(super) fn has_room(&self, link: LinkId) -> bool {
        self.credits
            .get(&link)
            .is_some_and(|credits| *credits > RESERVED_CREDITS)
    }

    /// Sends a message that must not be lost on the way to the link; false if the link has no credit for it.
    pub(super) fn send(&mut self, link: LinkId, message: Bytes) -> bool {
        let Some(credits) = self.credits.get_mut(&link) else {
            return false;
        };
        if *credits == 0 {
            return false;
        }
        *credits -= 1;
        self.effects.push(Effect::Send(link, message));
        true
    }

    /// Adds an effect.
    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Notifies the channel's users.
    pub(super) fn notify(&mut self, notice: Notice) {
        self.effects.push(Effect::Notify(notice));
    }

    /// Takes the effects of the present input.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }

    /// Has batched changes sent soon.
    pub(super) fn flush_soon(&mut self, now: Now) {
        self.flush_at.get_or_insert(now.at + BATCH);
    }

    /// When batched changes are due.
    pub(super) fn next_flush(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Whether batched changes are due now; true once.
    pub(super) fn take_flush(&mut self, now: Now) -> bool {
        self.flush_at.take_if(|at| now.at >= *at).is_some()
    }
}
