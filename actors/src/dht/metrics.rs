//! The metrics of the DHT.

use std::time::{Duration, Instant};

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::DhtStatus;
use crate::kit;

/// How old the figures may be.
const FRESH: Duration = Duration::from_secs(5);

type Label = [(&'static str, &'static str); 1];

/// The figures, as last updated.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    nodes: Family<Label, Gauge>,
    lookups: Gauge,
    pending: Gauge,
    stored: Gauge,
    packets: Family<Label, Gauge>,
    bytes: Family<Label, Gauge>,
}

impl Gauges {
    pub(super) fn register(all: &kit::Metrics) -> Self {
        let own = Self::default();
        all.register(|registry| {
            registry.register(
                "dht_nodes",
                "Nodes of the DHT that answer, by family",
                own.nodes.clone(),
            );
            registry.register(
                "dht_lookups",
                "Lookups in the DHT under way",
                own.lookups.clone(),
            );
            registry.register(
                "dht_pending",
                "Queries to nodes of the DHT without an answer yet",
                own.pending.clone(),
            );
            registry.register(
                "dht_stored_peers",
                "Peers that strangers announced here",
                own.stored.clone(),
            );
            registry.register(
                "dht_packets",
                "Datagrams of the DHT in this run: received, sent, and received but dropped",
                own.packets.clone(),
            );
            registry.register(
                "dht_bytes",
                "Bytes of the DHT in this run, received and sent",
                own.bytes.clone(),
            );
        });
        own
    }

    /// Whether the figures are due for an update; `shown` is the time of the last one.
    pub(super) fn are_due(shown: Option<Instant>, now: Instant) -> bool {
        shown.is_none_or(|shown| shown + FRESH <= now)
    }

    pub(super) fn show(&self, status: &DhtStatus) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let total = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, family) in [("ipv4", &status.v4), ("ipv6", &status.v6)] {
            if let Some(family) = family {
                let nodes = self.nodes.get_or_create(&[("family", name)]);
                nodes.set(number(family.table.good));
            }
        }
        self.lookups.set(number(status.lookups));
        self.pending.set(number(status.pending));
        self.stored.set(number(status.stored_peers));
        let traffic = &status.traffic;
        for (way, packets) in [
            ("in", traffic.packets_in),
            ("out", traffic.packets_out),
            ("dropped", traffic.dropped),
        ] {
            self.packets
                .get_or_create(&[("way", way)])
                .set(total(packets));
        }
        for (way, bytes) in [("in", traffic.bytes_in), ("out", traffic.bytes_out)] {
            self.bytes.get_or_create(&[("way", way)]).set(total(bytes));
        }
    }
}
