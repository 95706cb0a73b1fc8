//! The channel's protocol as a pure state machine: inputs and the time in, effects out.
//!
//! [`Machine::handle`] routes an input to the parts that it concerns, and returns the effects that these have left in
//! the [`Outbox`]. Each part owns its state, what it keeps of each link included:
//!
//! - [`Mesh`]: the links, and what members know of each other's;
//! - [`Sync`]: the logs, what others claim to have of them, events in and out. What may enter a log is decided by
//!   [`Rules`];
//! - [`Forks`]: proofs of forks, and logs that differ;
//! - [`Commits`]: events on their way to the disk, and requests that wait for them.
//!
//! The shell in `actor` carries the effects out; the simulator in `sim` does the same in a world of its own.

mod commits;
mod exchange;
mod forks;
mod mesh;
mod outbox;
mod sync;

use std::{sync::Arc, time::Instant};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::IdentityId,
};
use libp2p_identity::PeerId;

use commits::Commits;
use forks::Forks;
use mesh::Mesh;
use outbox::Outbox;
use sync::{Claim, Finding, Sync};

use super::{
    ChannelError,
    delivery::Marks,
    device::Device,
    effects::{Effect, Input, Now, Up},
    logs::Logs,
    rules::Rules,
};
use crate::{
    link::{Accept, Inbound, LinkId, LocalDevice},
    store::{Delivery, LogHead},
};

/// A channel's state.
pub(super) struct Machine {
    commits: Commits,
    mesh: Mesh,
    sync: Sync,
    forks: Forks,
    out: Outbox,
}

impl Machine {
    pub(super) fn new(
        cid: ChannelId,
        local: Arc<LocalDevice>,
        accept: Accept,
        our_peer_id: PeerId,
        heads: Vec<LogHead>,
        deliveries: &[Delivery],
        proofs: Vec<(Event, Event)>,
    ) -> Self {
        let mesh = Mesh::new(&local.certificate, our_peer_id);
        Self {
            sync: Sync::load(mesh.me, Rules::new(accept), heads, deliveries),
            commits: Commits::new(cid, local),
            mesh,
            forks: Forks::load(proofs),
            out: Outbox::default(),
        }
    }

    /// Starts our clock at `lamport` at least: what we write sorts behind it.
    pub(super) fn start_clock(&mut self, lamport: u64) {
        self.sync.logs.start_clock(lamport);
    }

    /// Takes one input, and returns what is to be done.
    pub(super) fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let (sync, mesh, out) = (&mut self.sync, &mut self.mesh, &mut self.out);
        match input {
            Input::Up(up) => self.up(*up, now),
            Input::Down(link) => self.down(link, now),
            Input::Message(link, message) => self.message(link, message, now),
            Input::Room(link, credits) => {
                if out.room(link, credits) {
                    sync.pump(link, mesh, out);
                }
            }
            Input::Append { token, body, key } => {
                let logs = &mut sync.logs;
                self.commits.append(token, &body, key, logs, out, now);
            }
            Input::Typing => mesh.typing(out, now),
            Input::Committed(number, positions) => {
                if let Some(committed) = self.commits.committed(number, &positions, out) {
                    sync.committed(&committed, mesh, out, now);
                }
            }
            Input::FirstDifference(link, event) => {
                self.forks
                    .show_difference(link, &event, &mut sync.logs, out);
            }
            Input::Proven(pair) => self.prove(None, *pair, now),
            Input::Reachable(reach) => mesh.reachable(reach, out),
            Input::Tick => {}
        }
        self.sync.ask(&mut self.out, now);
        self.forks.retry(&mut self.sync.logs, &mut self.out, now);
        if self.out.take_flush(now) {
            self.flush(now);
        }
        self.out.take()
    }

    /// When [`Input::Tick`] is due if nothing else happens; `None` if it is not.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        self.out
            .next_flush()
            .into_iter()
            .chain(self.sync.pull.next_wake(now))
            .chain(self.forks.next_retry())
            .min()
    }

    /// Begins again with what the store has, after it refused a commit: what was not committed is forgotten here, and
    /// comes again from members that have it. The user's requests are answered with the error. No commit may be in
    /// flight.
    pub(super) fn reload(
        &mut self,
        heads: Vec<LogHead>,
        error: &ChannelError,
        now: Now,
    ) -> Vec<Effect> {
        self.commits.fail(error, &mut self.out);
        self.sync.reload(heads, &mut self.out, now);
        self.sync.pump_all(&self.mesh, &mut self.out);
        self.out.take()
    }

    /// Answers a commit's requests with the event that the store has under their idempotency key, which we did not
    /// know.
    pub(super) fn key_was_used(&mut self, number: u64, id: EventId) {
        self.commits.key_was_used(number, id, &mut self.out);
    }

    // ---- what others see ---------------------------------------------------------------------------

    /// Number of commits under way.
    pub(super) fn in_flight(&self) -> usize {
        self.commits.in_flight()
    }

    /// Our device.
    pub(super) fn me(&self) -> Device {
        self.mesh.me
    }

    pub(super) fn logs(&self) -> &Logs {
        &self.sync.logs
    }

    /// How far each member has each log.
    pub(super) fn marks(&self) -> &Marks {
        &self.sync.marks
    }

    /// Our events below this number were handed to at least one link.
    pub(super) fn sent_to(&self) -> u64 {
        self.sync.sent_to
    }

    /// Whether any device of an identity is linked.
    pub(super) fn is_online(&self, identity: &IdentityId) -> bool {
        self.mesh.is_online(identity)
    }

    /// Whether any link is too far behind our log to be pushed to.
    #[cfg(test)]
    pub(super) fn is_any_behind(&self) -> bool {
        self.sync.is_any_behind()
    }

    // ---- inputs that concern several parts ---------------------------------------------------------

    fn up(&mut self, up: Up, now: Now) {
        let link = up.link;
        self.out.up(link, up.credits);
        self.mesh.up(up);
        self.forks.up(link);
        self.sync.up(link, &mut self.out);
        self.mesh.introduce(link, &mut self.out, now);
    }

    fn down(&mut self, link: LinkId, now: Now) {
        let Some(gone) = self.mesh.down(link) else {
            return;
        };
        self.out.down(link);
        self.forks.down(link);
        self.sync.down(link, &gone.device);
        // A spare takes over where its own cursor stands: nothing is lost, doubles are known by number.
        if let Some(link) = self.mesh.succeed(&gone, &mut self.out, now) {
            self.sync.pump(link, &self.mesh, &mut self.out);
        }
    }

    fn message(&mut self, link: LinkId, message: Inbound, now: Now) {
        if self.mesh.get(link).is_none() {
            return; // it was closed while the message was on its way up
        }
        let (mesh, out) = (&mut self.mesh, &mut self.out);
        match message {
            Inbound::Events { events, backfill } => self.events(link, events, backfill, now),
            Inbound::Claims { claims, initial } => {
                let claims = claims.into_iter();
                for claim in claims.filter_map(|claim| Claim::read(claim, initial)) {
                    self.claim(link, &claim, now);
                }
            }
            Inbound::Peers(peers) => mesh.on_peers(link, peers, out, now),
            Inbound::Ids(ids) => out.push(Effect::Compare(link, ids)),
            Inbound::Fork(pair) => self.prove(Some(link), *pair, now),
            Inbound::Typing => mesh.on_typing(link, out, now),
        }
    }

    fn claim(&mut self, link: LinkId, claim: &Claim, now: Now) {
        let (sync, mesh, out) = (&mut self.sync, &self.mesh, &mut self.out);
        let device = claim.device;
        if claim.next > 0 {
            self.forks.show_proof(link, device, out, now);
        }
        if sync.on_claim(link, claim, mesh, out, now) {
            self.forks.suspect(link, device, &mut sync.logs, out, now);
        }
        if device == mesh.me {
            sync.catch_up(link, claim.next, mesh, out);
        }
    }

    fn events(&mut self, link: LinkId, events: Vec<Event>, backfill: bool, now: Now) {
        let (sync, mesh, out) = (&mut self.sync, &self.mesh, &mut self.out);
        let mut arrival = sync.arrive(link, backfill, mesh);
        for event in events {
            match sync.offer(&mut arrival, event, mesh, out, now) {
                None => {}
                Some(Finding::MayFork(event)) => out.push(Effect::CompareEvent(Box::new(event))),
                Some(Finding::Differs(device)) => {
                    self.forks.suspect(link, device, &mut sync.logs, out, now);
                }
            }
        }
        let accepted = sync.arrived(arrival, now);
        let live_from = (!backfill).then_some(link);
        self.commits
            .accept(accepted, live_from, &sync.logs, out, now);
    }

    fn prove(&mut self, from: Option<LinkId>, pair: (Event, Event), now: Now) {
        let Sync { logs, pull, .. } = &mut self.sync;
        self.forks.prove(from, pair, logs, pull, &mut self.out, now);
    }

    /// Sends what was batched.
    fn flush(&mut self, now: Now) {
        self.forks.flush(&self.sync.pull, &mut self.out, now);
        self.sync.flush(&self.mesh, &mut self.out, now);
        self.mesh.flush(&mut self.out);
    }
}
