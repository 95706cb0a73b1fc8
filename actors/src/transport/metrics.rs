//! The transport's metrics.

use std::sync::Arc;

use bitchat_wire::link::TlsSide;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use crate::kit;

type Label = [(&'static str, &'static str); 1];

/// The transport's counters and gauges.
#[derive(Clone, Default)]
pub(crate) struct Metrics {
    connections: Family<Label, Gauge>,
    dials: Family<Label, Counter>,
    incoming: Family<Label, Counter>,
    datagrams: Family<Label, Counter>,
    datagrams_dropped: Family<Label, Counter>,
    /// Bytes of streams.
    pub(crate) traffic: Arc<Traffic>,
}

/// Bytes that went through streams: headers and control messages included, packet overhead not.
#[derive(Default)]
pub(crate) struct Traffic {
    sent: Counter,
    received: Counter,
}

impl Traffic {
    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Metrics {
    pub(crate) fn register(all: &kit::Metrics) -> Self {
        let own = Self::default();
        all.register(|registry| {
            registry.register(
                "transport_connections",
                "Open connections, by the side that dialled",
                own.connections.clone(),
            );
            registry.register(
                "transport_dials",
                "Finished dials, by result",
                own.dials.clone(),
            );
            registry.register(
                "transport_incoming",
                "Incoming handshakes, by outcome",
                own.incoming.clone(),
            );
            registry.register(
                "transport_datagrams",
                "Datagrams on the shared port other than QUIC, by protocol",
                own.datagrams.clone(),
            );
            registry.register(
                "transport_datagrams_dropped",
                "Datagrams dropped because their reader was too slow",
                own.datagrams_dropped.clone(),
            );
            registry.register(
                "transport_sent_bytes",
                "Bytes written to streams",
                own.traffic.sent.clone(),
            );
            registry.register(
                "transport_received_bytes",
                "Bytes read from streams",
                own.traffic.received.clone(),
            );
        });
        own
    }

    /// The gauge of open connections for one side of TLS.
    pub(crate) fn open(&self, side: TlsSide) -> Gauge {
        let side = match side {
            TlsSide::Client => "dialled",
            TlsSide::Server => "incoming",
        };
        self.connections.get_or_create(&[("side", side)]).clone()
    }

    /// Counts a dial that ended.
    pub(crate) fn dialled(&self, ok: bool) {
        let result = if ok { "ok" } else { "failed" };
        self.dials.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a received datagram that is not QUIC.
    pub(crate) fn datagram(&self, class: &'static str) {
        self.datagrams.get_or_create(&[("class", class)]).inc();
    }

    /// Counts a datagram dropped because its reader's queue was full.
    pub(crate) fn datagram_dropped(&self, class: &'static str) {
        self.datagrams_dropped
            .get_or_create(&[("class", class)])
            .inc();
    }

    /// Counts an incoming handshake that was judged, or ended.
    pub(crate) fn incoming(&self, end: &'static str) {
        self.incoming.get_or_create(&[("end", end)]).inc();
    }
}
