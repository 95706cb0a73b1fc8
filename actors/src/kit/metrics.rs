//! The metrics' registry, which the embedding program may expose, and the kit's own counters.

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
    /// The counters that every actor shares.
    pub kit: Kit,
}

/// The counters that every actor shares: restarts and dropped items.
#[derive(Clone, Default)]
pub struct Kit {
    restarts: Family<Label, Counter>,
    drops: Family<Label, Counter>,
}

impl Kit {
    /// Counts a restart.
    pub fn restarted(&self, actor: &'static str) {
        self.restarts.get_or_create(&[("actor", actor)]).inc();
    }

    /// Counts an item dropped because a queue was full.
    pub fn dropped(&self, queue: &'static str) {
        self.drops.get_or_create(&[("queue", queue)]).inc();
    }

    /// Exposes an actor's counters, at 0 until something happens, so that a monitor can tell "nothing" from "unknown".
    pub fn known(&self, actor: &'static str) {
        self.restarts.get_or_create(&[("actor", actor)]).inc_by(0);
        self.drops.get_or_create(&[("queue", actor)]).inc_by(0);
    }

    /// The number of restarts of `actor`.
    pub fn restarts_of(&self, actor: &'static str) -> u64 {
        self.restarts.get_or_create(&[("actor", actor)]).get()
    }

    /// The number of items dropped from `queue`.
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
    /// Gives an actor the registry, to register its own metrics.
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
