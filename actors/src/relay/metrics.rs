//! What a relay counts. Nothing here tells peers apart.

use bitchat_wire::proto::refused::Reason;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::kit;

type Label = [(&'static str, &'static str); 1];

/// The relay's metrics.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    /// Reservations that others hold here.
    pub(super) reservations: Gauge,
    /// Circuits that run here.
    pub(super) circuits: Gauge,
    /// Bytes carried for others.
    pub(super) bytes: Counter,
    /// Reservations that we hold elsewhere.
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
                "Circuits that run here",
                own.circuits.clone(),
            );
            registry.register(
                "relay_bytes",
                "Bytes carried in circuits, both directions together",
                own.bytes.clone(),
            );
            registry.register(
                "relay_refused",
                "Requests that were refused here, by why",
                own.refused.clone(),
            );
            registry.register(
                "relay_circuits_ended",
                "Circuits that ended here, by why",
                own.ended.clone(),
            );
            registry.register(
                "relay_held",
                "Reservations that we hold at other relays",
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
