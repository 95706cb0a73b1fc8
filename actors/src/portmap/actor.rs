//! The shell around the plan: clocks, questions under way, and the mapping that is held.

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

/// At a stop: how long a question under way may take, whose answer may have to be undone, and removing what we hold.
const LAST_ANSWER: Duration = Duration::from_millis(500);
const REMOVAL: Duration = Duration::from_millis(1_200);
/// A host on the other side of every router; nothing is sent to it.
const FAR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), 53);

/// A command.
pub(super) enum Msg {
    /// The network is another.
    Moved,
}

/// What the actor is made of at each start.
#[derive(Clone)]
pub(super) struct Parts {
    config: Arc<PortmapConfig>,
    transport: Transport,
    status: Arc<watch::Sender<PortmapStatus>>,
    metrics: Metrics,
    /// What outlives a restart: nobody else could remove it.
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

/// The actor.
pub(super) struct Mapper {
    parts: Parts,
    plan: Plan,
    /// The outer port of this run's last mapping.
    outer: Option<NonZeroU16>,
    /// At most one.
    questions: JoinSet<Result<Granted, String>>,
}

impl Actor for Mapper {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        loop {
            let (at, due) = self.plan.next();
            let idle = self.questions.is_empty();
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break,
                message = inbox.recv() => match message {
                    Some(Msg::Moved) => self.moved(),
                    None => break,
                },
                Some(answer) = self.questions.join_next() => {
                    let answer = answer.unwrap_or_else(|error| Err(format!("asking failed: {error}")));
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
            questions: JoinSet::new(),
        }
    }

    fn begin(&mut self, due: Due) {
        let wish = match self.wish() {
            Ok(wish) => wish,
            // Until the network changes, nothing else will be true.
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
        self.questions.spawn(async move {
            match (due, held) {
                (Due::Renew, Some(held)) => ask::renew(held, &wish).await,
                _ => ask::ask(&wish).await,
            }
        });
    }

    /// What to ask for from here.
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
            return Err("there is no way out by IPv4".to_owned());
        };
        let everywhere = listening.contains(&Ipv4Addr::UNSPECIFIED);
        if !everywhere && !listening.contains(&local) {
            return Err("the node does not listen where the router is".to_owned());
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

    /// The same in each run in one place, so that the router gives the port to us again after a crash; and elsewhere
    /// another, so that routers cannot compare whom they have seen.
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
        let is_news =
            !matches!(&before, PortmapStatus::Mapped(old) if old.external == mapping.external);
        if is_news {
            tracing::info!(protocol = %mapping.protocol, tcp = mapping.tcp, "the router lets others in");
            tracing::debug!(external = %mapping.external, "there");
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
            tracing::info!(why, "the router no longer lets others in");
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

    /// We have no mapping, whether or not we had one. `gone`: nothing is left to remove.
    fn lost(&mut self, gone: bool) {
        if gone {
            self.parts.hold(None);
        }
        self.parts.metrics.mapped.set(0);
        self.parts.transport.mapped(false, None);
    }

    /// What was mapped in another network leads to nobody, and cannot be removed from here; where it is the same router
    /// after all, it gives us the same.
    fn moved(&mut self) {
        self.questions = JoinSet::new();
        self.plan.moved(now());
        self.lost(true);
        self.parts.status.send_replace(PortmapStatus::Asking);
    }

    async fn stop(mut self) {
        let answer = tokio::time::timeout(LAST_ANSWER, self.questions.join_next()).await;
        let late = match answer {
            Ok(Some(Ok(Ok(granted)))) => Some(granted.held),
            _ => None,
        };
        let earlier = self.parts.hold(None);
        // A renewed one takes the place of the earlier.
        if let Some(held) = late.or(earlier) {
            self.lost(true);
            if tokio::time::timeout(REMOVAL, ask::remove(held))
                .await
                .is_err()
            {
                tracing::debug!("the router did not take the mapping back in time");
            }
        }
    }
}
