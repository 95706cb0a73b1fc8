//! The kit for actors: bounded mailboxes, supervision, ordered stop.
//!
//! An actor is a plain tokio task that owns its state and reads one bounded mailbox. Commands go down
//! through an [`Addr`]; events go up through a sender that the actor was built with. A **permanent**
//! actor runs in [`Scope::permanent`]: built by a factory, restarted with back-off when it fails or
//! panics, its mailbox kept. A **transient** one runs in [`Scope::transient`] and is never restarted:
//! however it ends, its owner is notified once, by a [`Guard`].

pub(crate) mod clock;
mod guard;
mod mailbox;
mod metrics;
mod outbox;
mod shell;
#[cfg(test)]
mod tests;

pub use guard::Guard;
pub use mailbox::{Addr, AskError, Inbox, Reply, SendError, mailbox};
pub use metrics::{Kit, Metrics};
pub use outbox::{Closed, Outbox};
pub use shell::{Actor, Death, Scope, Stop};
