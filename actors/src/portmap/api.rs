//! What others ask of the mapper, and what it says of itself.

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

/// Words that wait: each means the same.
const MAILBOX: usize = 4;

/// How a mapping was asked for.
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

/// What a router lets through to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// By which protocol.
    pub protocol: Protocol,
    /// Where others get in.
    pub external: SocketAddr,
    /// Whether by TCP as well: a router may have given that port to somebody else.
    pub tcp: bool,
    /// When it ends unless it is renewed; `None`: it has no end.
    pub until: Option<Instant>,
}

/// How it stands with the router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortmapStatus {
    /// Nobody is asked; why, in plain words.
    Off(String),
    /// The router is being asked.
    Asking,
    /// It lets others in.
    Mapped(Mapping),
    /// It does not.
    Failed {
        /// In plain words.
        why: String,
        /// When it is asked again.
        next_try: Instant,
    },
}

/// What is to be mapped.
pub struct PortmapConfig {
    /// Addresses on which the node listens.
    pub bind: Vec<IpAddr>,
    /// The port, inside; outside, too, if the router has it free.
    pub port: u16,
    /// What the router's pages show of it.
    pub description: String,
    /// From it comes the number by which the router knows us again after a crash.
    pub key: Zeroizing<[u8; 64]>,
}

/// A handle to the mapper. Cheap to clone.
#[derive(Clone)]
pub struct Portmap {
    addr: Addr<Msg>,
    status: watch::Receiver<PortmapStatus>,
}

impl Portmap {
    /// Starts the actor in `scope`. The transport hears of what is mapped.
    pub fn start(config: PortmapConfig, transport: Transport, scope: &Scope) -> Self {
        let (tell, status) = watch::channel(PortmapStatus::Asking);
        let metrics = Metrics::default();
        scope.metrics().register(|registry| {
            let mapped = metrics.mapped.clone();
            registry.register(
                "portmap_mapped",
                "Whether the router lets others in",
                mapped,
            );
            let granted = metrics.granted.clone();
            let about = "How often the router has mapped the port, or said that it goes on";
            registry.register("portmap_granted", about, granted);
        });
        let parts = Parts::new(config, transport, tell, metrics);
        let (addr, inbox) = kit::mailbox("portmap", MAILBOX);
        let span = tracing::info_span!("portmap");
        scope.permanent_with("portmap", inbox, span, move || Mapper::new(parts.clone()));
        Self { addr, status }
    }

    /// This machine is on another network, or back on one.
    pub async fn moved(&self) {
        // One that has stopped maps nothing.
        let _ = self.addr.send(Msg::Moved).await;
    }

    /// How it stands.
    pub fn status(&self) -> PortmapStatus {
        self.status.borrow().clone()
    }
}

/// What is counted.
#[derive(Clone, Default)]
pub(super) struct Metrics {
    pub(super) mapped: Gauge,
    pub(super) granted: Counter,
}
