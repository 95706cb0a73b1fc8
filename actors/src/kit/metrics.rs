//! What the kit counts, in a registry that the embedding program owns and may expose.

use std::sync::{Arc, Mutex};

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type Label = [(&'static str, &'static str); 1];

/// The node's metrics: one registry, into which each actor registers its own.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// What the kit itself counts.
    pub kit: Kit,
}

/// Counters that every actor shares.
#[derive(Clone, Default)]
pub struct Kit {
    restarts: Family<Label, Counter>,
    drops: Family<Label, Counter>,
}

impl Kit {
    /// An actor died and is built again.
    pub fn restarted(&self, actor: &'static str) {
        self.restarts.get_or_create(&[("actor", actor)]).inc();
    }

    /// A queue was full and something that may be dropped was.
    pub fn dropped(&self, queue: &'static str) {
        self.drops.get_or_create(&[("queue", queue)]).inc();
    }

    /// An actor runs: its counters are shown from now on, at 0 if nothing ever happens, so that whoever
    /// watches them can tell "nothing" from "unknown".
    pub fn known(&self, actor: &'static str) {
        self.restarts.get_or_create(&[("actor", actor)]).inc_by(0);
        self.drops.get_or_create(&[("queue", actor)]).inc_by(0);
    }

    /// How often `actor` was restarted.
    pub fn restarts_of(&self, actor: &'static str) -> u64 {
        self.restarts.get_or_create(&[("actor", actor)]).get()
    }

    /// How much `queue` dropped.
    pub fn drops_of(&self, queue: &'static str) -> u64 {
        self.drops.get_or_create(&[("queue", queue)]).get()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let kit = Kit::default();
        let mut registry = Registry::with_prefix("bitchat");
        registry.register(
            "actor_restarts",
            "Times an actor was restarted after a failure",
            kit.restarts.clone(),
        );
        registry.register(
            "queue_drops",
            "Items dropped because a bounded queue was full",
            kit.drops.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            kit,
        }
    }
}

impl Metrics {
    /// Lets an actor register its own metrics.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(
            &mut self
                .registry
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
    }

    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        let registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}
