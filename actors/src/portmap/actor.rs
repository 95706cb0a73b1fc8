//! The actor around the plan: clocks, the request in progress, and the current mapping.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Mapping, Metrics, PortmapConfig, PortmapStatus,
    ask::{self, Granted, Held, Wish},
    gateway::default_gateway,
    plan::{Due, Plan},
};
use crate::{
    kit::{Actor, Inbox, Scope, clock::now},
    transport::{Transport, network::is_local, source_for},
};

/// Limits at a stop: for the request in progress, whose result may have to be undone, and for removing the mapping.
const LAST_ANSWER: Duration = Duration::from_millis(500);
const REMOVAL: Duration = Duration::from_millis(1_200);
/// A host beyond every router, to look up the route; nothing is sent to it.
const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), 53);

/// A message to the actor.
pub(super) enum Msg {
    /// The network has changed.
    Moved,
}

/// What each life of the actor is built from.
#[derive(Clone)]
pub(super) struct Parts {
    config: Arc<PortmapConfig>,
    transport: Transport,
    status: Arc<watch::Sender<PortmapStatus>>,
    metrics: Metrics,
    /// The mapping. It outlives a restart, since nothing else could remove it.
    held: Arc<Mutex<Option<Held>>>,
}

impl Parts {
    pub(super) fn new(
        config: PortmapConfig,
        transport: Transport,
        status: watch::Sender<PortmapStatus>,
        metrics: Metrics,
    ) -> Self {
        Self {
            config: Arc::new(config),
            transport,
            status: Arc::new(status),
            metrics,
            held: Arc::default(),
        }
    }

    fn hold(&self, held: Option<Held>) -> Option<Held> {
        let mut slot = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut slot, held)
    }
}

/// One life of the actor.
pub(super) struct Mapper {
    parts: Parts,
    plan: Plan,
    /// The external port of this run's last mapping.
    outer: Option<NonZeroU16>,
    /// The request in progress; at most one.
    requests: JoinSet<Result<Granted, String>>,
}

impl Actor for Mapper {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        loop {
            let (at, due) = self.plan.next();
            let idle = self.requests.is_empty();
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break,
                message = inbox.recv() => match message {
                    Some(Msg::Moved) => self.moved(),
                    None => break,
                },
                Some(answer) = self.requests.join_next() => {
                    let answer = answer.unwrap_or_else(|error| Err(format!("the request failed: {error}")));
                    self.answered(answer);
                }
                () = tokio::time::sleep_until(at.into()), if idle => self.begin(due),
            }
        }
        self.stop().await;
        Ok(())
    }
}

impl Mapper {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            plan: Plan::new(now()),
            outer: None,
            requests: JoinSet::new(),
        }
    }

    fn begin(&mut self, due: Due) {
        let wish = match self.wish() {
            Ok(wish) => wish,
            // This holds until the network changes.
            Err(why) => {
                self.lost(false);
                self.fail(why, true);
                return;
            }
        };
        if due == Due::Ask {
            self.parts.status.send_replace(PortmapStatus::Asking);
        }
        let held = self.parts.hold(None);
        self.parts.hold(held.clone());
        self.requests.spawn(async move {
            match (due, held) {
                (Due::Renew, Some(held)) => ask::renew(held, &wish).await,
                _ => ask::ask(&wish).await,
            }
        });
    }

    /// The mapping to ask for on the current network, or why none can be had.
    fn wish(&self) -> Result<Wish, String> {
        let config = &self.parts.config;
        let listening: Vec<Ipv4Addr> = config
            .bind
            .iter()
            .filter_map(|ip| match ip {
                IpAddr::V4(ip) if !ip.is_loopback() => Some(*ip),
                _ => None,
            })
            .collect();
        let gateway = default_gateway();
        let target = gateway.map_or(FAR, |gateway| SocketAddr::new(gateway.into(), FAR.port()));
        let Some(IpAddr::V4(local)) = source_for(target) else {
            return Err("there is no IPv4 route to the internet".to_owned());
        };
        let everywhere = listening.contains(&Ipv4Addr::UNSPECIFIED);
        if !everywhere && !listening.contains(&local) {
            return Err("the node does not listen on the network of the router".to_owned());
        }
        if !is_local(local.into()) {
            return Err(format!(
                "this machine has a public address of its own, {local}"
            ));
        }
        let port = NonZeroU16::new(config.port).ok_or("the node has no port")?;
        Ok(Wish {
            local,
            port,
            outer: self.outer.unwrap_or(port),
            gateway,
            nonce: self.nonce(local, gateway),
            description: config.description.clone(),
        })
    }

    /// PCP's nonce: the same for each run on one network, so that the router gives the port to this node again after a
    /// crash, and different on each network, so that routers cannot link the nodes they have seen.
    fn nonce(&self, local: Ipv4Addr, gateway: Option<Ipv4Addr>) -> [u32; 3] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.parts.config.key.as_slice());
        let mut context = hmac::Context::with_key(&key);
        context.update(b"port mapping");
        context.update(&local.octets());
        context.update(&gateway.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        let tag = context.sign();
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(tag.as_ref().chunks_exact(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
        words
    }

    fn answered(&mut self, answer: Result<Granted, String>) {
        let granted = match answer {
            Ok(granted) => granted,
            Err(why) => return self.fail(why, false),
        };
        self.plan.granted(now(), granted.lifetime);
        let mapping = Mapping {
            protocol: granted.protocol,
            external: granted.external,
            tcp: granted.tcp,
            until: self.plan.until(),
        };
        let before = self
            .parts
            .status
            .send_replace(PortmapStatus::Mapped(mapping));
        let changed =
            !matches!(&before, PortmapStatus::Mapped(old) if old.external == mapping.external);
        if changed {
            tracing::info!(protocol = %mapping.protocol, tcp = mapping.tcp, "the router forwards the port");
            tracing::debug!(external = %mapping.external, "the external address");
        }
        self.outer = NonZeroU16::new(granted.external.port());
        self.parts.metrics.granted.inc();
        self.parts.metrics.mapped.set(1);
        self.parts.hold(Some(granted.held));
        self.parts.transport.mapped(false, Some(granted.external));
    }

    fn fail(&mut self, why: String, gone: bool) {
        let was_held = matches!(self.plan.next().1, Due::Renew);
        if self.plan.failed(now(), gone) {
            tracing::info!(why, "the router no longer forwards the port");
            self.lost(true);
        } else if was_held {
            tracing::debug!(why, "the mapping is not renewed yet");
            return;
        }
        let next_try = self.plan.next().0;
        tracing::debug!(why, "no mapping");
        let failed = PortmapStatus::Failed { why, next_try };
        self.parts.status.send_replace(failed);
    }

    /// Reports that there is no mapping. `gone`: nothing is left to remove.
    fn lost(&mut self, gone: bool) {
        if gone {
            self.parts.hold(None);
        }
        self.parts.metrics.mapped.set(0);
        self.parts.transport.mapped(false, None);
    }

    /// Starts over on another network. The old mapping is useless, and cannot be removed from here; if it is the same router
    /// after all, it grants the same port.
    fn moved(&mut self) {
        self.requests = JoinSet::new();
        self.plan.moved(now());
        self.lost(true);
        self.parts.status.send_replace(PortmapStatus::Asking);
    }

    async fn stop(mut self) {
        let answer = tokio::time::timeout(LAST_ANSWER, self.requests.join_next()).await;
        let late = match answer {
            Ok(Some(Ok(Ok(granted)))) => Some(granted.held),
            _ => None,
        };
        let earlier = self.parts.hold(None);
        // A renewed mapping replaces the earlier one.
        if let Some(held) = late.or(earlier) {
            self.lost(true);
            if tokio::time::timeout(REMOVAL, ask::remove(held))
                .await
                .is_err()
            {
                tracing::debug!("the router did not remove the mapping in time");
            }
        }
    }
}
