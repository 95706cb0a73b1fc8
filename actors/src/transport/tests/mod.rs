#![allow(clippy::unwrap_used)]
//! Real transports on loopback.

mod bittorrent;
mod circuit;
mod crossed;
mod hostile;
mod life;
mod paths;
mod port;
mod punch;
mod restart;
mod together;
mod wire;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bitchat_wire::stream::StreamKind;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::{Connection, EVENTS, Stream, Transport, TransportConfig, TransportEvent};
use crate::{
    kit::{Metrics, Scope},
    skip::has_ipv6,
};

/// Long enough for a busy machine; what is tested takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The loopback addresses that this machine has.
fn families() -> Vec<IpAddr> {
    let v6 = has_ipv6().then_some(Ipv6Addr::LOCALHOST.into());
    [V4].into_iter().chain(v6).collect()
}

/// A transport with what its owner holds.
struct Node {
    transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
    scope: Scope,
}

fn config(ip: IpAddr, port: u16) -> TransportConfig {
    TransportConfig::new(vec![ip], port, Zeroizing::new([7; 64]))
}

impl Node {
    async fn start() -> Self {
        Self::with(config(V4, 0)).await
    }

    async fn with(config: TransportConfig) -> Self {
        let (scope, _) = Scope::new(Metrics::default());
        let (sender, events) = mpsc::channel(EVENTS);
        let transport = Transport::start(config, &scope, sender).await.unwrap();
        Self {
            transport,
            events,
            scope,
        }
    }

    fn address(&self) -> SocketAddr {
        self.transport.local_addresses()[0]
    }

    async fn dial(&self, other: &Self) -> Connection {
        self.transport.dial(other.address(), None).await.unwrap()
    }

    async fn event(&mut self) -> TransportEvent {
        within(self.events.recv()).await.unwrap()
    }

    /// The next connection; other events are skipped.
    async fn connected(&mut self) -> Connection {
        loop {
            if let TransportEvent::Connected(connection) = self.event().await {
                return connection;
            }
        }
    }

    async fn stream(&mut self) -> (StreamKind, Stream) {
        loop {
            if let TransportEvent::Stream { kind, stream, .. } = self.event().await {
                return (kind, stream);
            }
        }
    }

    /// The reason why the next connection ended.
    async fn closed(&mut self) -> String {
        loop {
            if let TransportEvent::Closed { reason, .. } = self.event().await {
                return reason;
            }
        }
    }

    async fn stop(self) {
        assert!(self.scope.stop(PATIENCE).await);
        assert_eq!(self.scope.running(), 0);
    }
}

#[track_caller]
fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("it takes milliseconds, at {caller}"))
    }
}

/// Waits for a condition that nothing announces.
#[track_caller]
fn until(what: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
}
