//! The handle to the mapper, its configuration and its status.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::actor::{Mapper, Msg, Parts};
use crate::{
    kit::{self, Addr, Scope},
    transport::Transport,
};

/// Messages queued for the actor; all mean the same.
const MAILBOX: usize = 4;

/// A protocol of port mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// The Port Control Protocol (RFC 6887).
    Pcp,
    /// The NAT Port Mapping Protocol (RFC 6886).
    NatPmp,
    /// UPnP's Internet Gateway Device.
    Upnp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// A port that the router forwards to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The protocol that created it.
    pub protocol: Protocol,
    /// The external address to which others connect.
    pub external: SocketAddr,
    /// Whether TCP is forwarded as well as UDP: the router may have given that TCP port to another host.
    pub tcp: bool,
    /// When it expires unless it is renewed; `None` if it does not expire.
    pub until: Option<Instant>,
}

/// The state of port mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortmapStatus {
    /// The router is not asked, for this reason, in plain language.
    Off(String),
    /// The router is being asked.
    Asking,
    /// The router forwards the port.
    Mapped(Mapping),
    /// The router does not forward the port.
    Failed {
        /// The reason, in plain language.
        why: String,
        /// When it is asked again.
        next_try: Instant,
    },
}

/// The mapping to ask for.
pub(crate) struct PortmapConfig {
    /// The addresses that the node listens on.
    pub(crate) bind: Vec<IpAddr>,
    /// The internal port; also the external one if the router has it free.
    pub(crate) port: u16,
    /// The description shown in the router's user interface.
    pub(crate) description: String,
    /// The key from which the nonce is derived by which the router recognizes this node after a crash.
    pub(crate) key: Zeroizing<[u8; 64]>,
}

/// A handle to the mapper. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Portmap {
    addr: Addr<Msg>,
    status: watch::Receiver<PortmapStatus>,
}

impl Portmap {
    /// Starts the actor in `scope`. It reports mappings to the transport.
    pub(crate) fn start(config: PortmapConfig, transport: Transport, scope: &Scope) -> Self {
        let (sender, status) = watch::channel(PortmapStatus::Asking);
        let metrics = Metrics::default();
        scope.metrics().register(|registry| {
            let mapped = metrics.mapped.clone();
            registry.register(
                "portmap_mapped",
                "Whether the router forwards the port",
                mapped,
            );
            let granted = metrics.granted.clone();
            let about = "How often the router has mapped the port or renewed the mapping";
            registry.register("portmap_granted", about, granted);
        });
        let parts = Parts::new(config, transport, sender, metrics);
        let (addr, inbox) = kit::mailbox("portmap", MAILBOX);
        let span = tracing::info_span!("portmap");
        scope.permanent_with("portmap", inbox, span, move || Mapper::new(parts.clone()));
        Self { addr, status }
    }

    /// Asks again: this machine is on another network, or back on one.
    pub(crate) async fn moved(&self) {
        // An actor that has stopped maps nothing.
        let _ = self.addr.send(Msg::Moved).await;
    }

    /// The current state.
    pub(crate) fn status(&self) -> PortmapStatus {
        self.status.borrow().clone()
    }
}

/// The metrics of port mapping.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    pub(super) mapped: Gauge,
    pub(super) granted: Counter,
}
