//! The hub: starts a task for each handshake.

use std::{convert::Infallible, sync::Arc};

use futures_util::FutureExt;

use super::{
    establish::{self, Attempt},
    shared::Shared,
};
use crate::{
    discovery::{FoundBy, Reached},
    kit::{Actor, Inbox, Scope},
    transport::{Connection, ConnectionId, Stream},
};

/// Handshakes queued to be started. Beyond, senders wait, first of all the peer that floods us with streams.
pub(super) const HUB_MAILBOX: usize = 256;

/// A message to the hub.
pub(super) enum Msg {
    /// Discovery made a connection for a channel.
    Initiate(Reached),
    /// A peer opened a link stream.
    Incoming(Connection, Stream),
    /// A connection takes over from another.
    Moved(ConnectionId, Connection),
}

/// One life of the hub.
pub(super) struct Hub {
    shared: Arc<Shared>,
}

impl Hub {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn handle(&self, message: Msg, scope: &Scope) {
        let shared = Arc::clone(&self.shared);
        match message {
            Msg::Initiate(reached) => {
                let span = establish::span(&reached.connection);
                let attempt = Attempt {
                    cid: reached.cid,
                    address: reached.address,
                    source: Some(FoundBy {
                        source: reached.source,
                        took: reached.took,
                    }),
                    connection: reached.connection,
                };
                let linking = establish::initiate(shared, attempt, scope.clone()).map(drop);
                scope.graceful(span, linking);
            }
            Msg::Moved(from, connection) => {
                for cid in shared.channels_on(from) {
                    establish::relocate(&shared, cid, from, &connection, scope);
                }
            }
            Msg::Incoming(connection, stream) => {
                let Some(reading) = shared.reading.enter(connection.id()) else {
                    scope.metrics().kit.dropped("link handshakes");
                    return; // dropping the stream resets it
                };
                let span = establish::span(&connection);
                let answer = establish::respond(shared, connection, stream, reading, scope.clone());
                scope.graceful(span, answer);
            }
        }
    }
}

impl Actor for Hub {
    type Msg = Msg;
    type Error = Infallible;

    async fn run(self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), Infallible> {
        loop {
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                message = inbox.recv() => message,
            };
            let Some(message) = message else {
                return Ok(());
            };
            self.handle(message, scope);
        }
    }
}
