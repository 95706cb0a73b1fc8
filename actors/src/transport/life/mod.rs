//! The life of a connection: its streams, its control stream, and the watches over it.

mod control;
mod watch;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bitchat_wire::{link::TlsSide, stream::StreamKind};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::io::AsyncReadExt;

use crate::{
    kit::{Addr, Guard},
    transport::{
        admission::Ticket,
        api::TransportEvent,
        connection::{Connection, Stream},
        msg::Msg,
        shared::{Ended, Shared},
    },
};

pub(crate) use watch::{STALL, check};

/// Time limit for a stream's two header bytes; then it is reset.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// Streams per connection that await their headers; further ones are accepted as these are done.
const MAX_HEADERLESS: usize = 16;

/// What the guard of a life reports at its end.
#[derive(Default)]
struct Fate {
    announced: AtomicBool,
    reason: OnceLock<String>,
}

/// Runs a registered connection from its announcement to its end. However that comes, the connection is closed then,
/// its slot is free, and the ledger has its entry.
pub(crate) async fn live(
    connection: Connection,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
    ticket: Option<Ticket>,
) {
    let fate = Arc::new(Fate::default());
    let open = shared.metrics.open(connection.side());
    open.inc();
    let _guard = Guard::new({
        let (connection, shared, fate) =
            (connection.clone(), Arc::clone(&shared), Arc::clone(&fate));
        move || {
            connection.close();
            // It must not keep another connection, which may keep this one.
            connection.drain_to(None);
            drop(ticket);
            open.dec();
            let reason = fate.reason.get().cloned();
            shared.ledger.write(Ended {
                id: connection.id(),
                peer: connection.peer(),
                reason: reason.unwrap_or_else(|| "stopped".to_owned()),
                announced: fate.announced.load(Ordering::Acquire),
            });
        }
    });
    let reason = match shared.events.reserve().await {
        Ok(room) => {
            // From here on its end is announced too, even if this task is dropped at its next await.
            fate.announced.store(true, Ordering::Release);
            room.send(TransportEvent::Connected(connection.clone()));
            serve(&connection, &shared, &registry).await
        }
        Err(_) => "the owner has gone".to_owned(),
    };
    // Set nowhere else.
    let _ = fate.reason.set(reason);
}

/// A stream and its header, or `None` for a stream to be reset.
type Opened = Option<(StreamKind, Stream)>;

async fn read_header(mut stream: Stream) -> Opened {
    let mut header = [0; 2];
    let read = stream.recv.read_exact(&mut header);
    match tokio::time::timeout(HEADER_DEADLINE, read).await {
        Ok(Ok(_)) => StreamKind::parse(header).map(|kind| (kind, stream)),
        _ => None,
    }
}

/// Sends an event whenever another connection takes over.
async fn announce_draining(connection: &Connection, shared: &Shared) -> String {
    let mut draining = connection.draining();
    loop {
        let survivor = draining.borrow_and_update().clone();
        if let Some(survivor) = survivor {
            let event = TransportEvent::Draining {
                connection: connection.clone(),
                survivor,
                chosen_here: connection.chooses(),
            };
            if shared.events.send(event).await.is_err() {
                return "the owner has gone".to_owned();
            }
        }
        // The connection holds the sender.
        let _ = draining.changed().await;
    }
}

/// Serves the connection until it ends or must end; returns the reason.
async fn serve(connection: &Connection, shared: &Arc<Shared>, registry: &Addr<Msg>) -> String {
    let mut headers = FuturesUnordered::new();
    // The TLS client opens the control stream; the server waits for it.
    let mut control: BoxFuture<'_, String> = match connection.side() {
        TlsSide::Client => control::open(connection, shared, registry).boxed(),
        TlsSide::Server => control::missing().boxed(),
    };
    let mut look_after = async {
        tokio::select! {
            biased;
            reason = watch::stalls(connection, registry) => reason,
            reason = watch::silence(connection) => reason,
            reason = watch::drained(connection, connection.chooses()) => reason,
            reason = announce_draining(connection, shared) => reason,
        }
    }
    .boxed();
    let mut control_is_open = connection.side() == TlsSide::Client;
    loop {
        tokio::select! {
            biased;
            reason = connection.closed() => return reason,
            // A lost connection takes its control stream along, and may do so between the two polls: the cause counts.
            reason = &mut control => return connection.closed().now_or_never().unwrap_or(reason),
            reason = &mut look_after => return reason,
            Some(opened) = headers.next() => match opened {
                None => {} // Dropped, and so reset.
                Some((StreamKind::Control, _)) if control_is_open => {
                    return "a second control stream".to_owned();
                }
                Some((StreamKind::Control, stream)) => {
                    control_is_open = true;
                    control = control::serve(stream, connection, shared, registry).boxed();
                }
                Some((kind, stream)) => {
                    let event = TransportEvent::Stream { connection: connection.clone(), kind, stream };
                    tokio::select! {
                        biased;
                        reason = connection.closed() => return reason,
                        sent = shared.events.send(event) => if sent.is_err() {
                            return "the owner has gone".to_owned();
                        }
                    }
                }
            },
            Ok(stream) = connection.accept(), if headers.len() < MAX_HEADERLESS => {
                headers.push(read_header(stream));
            }
        }
    }
}
