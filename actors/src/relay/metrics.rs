//! The relay's metrics. None has a label that distinguishes peers.

use bitchat_wire::proto::refused::Reason;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::kit;

type Label = [(&'static str, &'static str); 1];

/// The metrics of both halves.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    /// Reservations that others hold here.
    pub(super) reservations: Gauge,
    /// Circuits that run through here.
    pub(super) circuits: Gauge,
    /// Bytes carried for others.
    pub(super) bytes: Counter,
    /// Reservations that this node holds at other relays.
    pub(super) held: Gauge,
    refused: Family<Label, Counter>,
    ended: Family<Label, Counter>,
}

impl Metrics {
    pub(super) fn register(all: &kit::Metrics) -> Self {
        let own = Self::default();
        all.register(|registry| {
            registry.register(
                "relay_reservations",
                "Reservations that others hold here",
                own.reservations.clone(),
            );
            registry.register(
                "relay_circuits",
                "Circuits that run through here",
                own.circuits.clone(),
            );
            registry.register(
                "relay_bytes",
                "Bytes forwarded in circuits, both directions combined",
                own.bytes.clone(),
            );
            registry.register(
                "relay_refused",
                "Requests refused here, by reason",
                own.refused.clone(),
            );
            registry.register(
                "relay_circuits_ended",
                "Circuits ended here, by reason",
                own.ended.clone(),
            );
            registry.register(
                "relay_held",
                "Reservations that this node holds at other relays",
                own.held.clone(),
            );
        });
        own
    }

    pub(super) fn refused(&self, reason: Reason) {
        let reason = match reason {
            Reason::NotForYou => "not for you",
            Reason::Full => "full",
            Reason::NoReservation => "no reservation",
            Reason::NoAnswer => "no answer",
            Reason::Stopping => "stopping",
            Reason::Unspecified => "unspecified",
        };
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&[("reason", reason)]).inc();
    }
}
