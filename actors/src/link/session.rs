//! One link's life: reader, writer and server, and the one last word.

use std::{
    future::Future,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bitchat_wire::{identity::KeyCache, link::Established, proto};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Acks, CloseReason, LinkEvent, LinkHandle, LinkId, LinkUp, Registration, reader, server,
    server::WANT_QUEUE,
    writer::{self, BACKFILL_QUEUE, CONTROL_QUEUE, LINK_MAILBOX, Usage},
};
use crate::{
    discovery::Way,
    kit::Guard,
    store::Store,
    transport::{Connection, Stream},
};

/// How long a closing link may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Reader, writer and server. All of them on one task of the runtime: what one has for another (the answer to a ping,
/// say) is taken at once, and not by a thread that has to be woken first.
type Tasks = FuturesUnordered<BoxFuture<'static, CloseReason>>;

pub(super) struct Start {
    pub(super) id: LinkId,
    pub(super) reg: Registration,
    pub(super) connection: Connection,
    pub(super) stream: Stream,
    pub(super) established: Established,
    pub(super) initiator: bool,
    pub(super) source: Option<Way>,
    pub(super) store: Store,
    /// Where we take connections.
    pub(super) listen_port: u16,
    /// Ends the link without a goodbye: its channel is gone.
    pub(super) stop: CancellationToken,
    /// The node stops.
    pub(super) shutdown: CancellationToken,
}

/// Runs the link to its end. `linked` is called once it is up; returns whether it ever was.
pub(super) async fn run<F: Future<Output = ()>>(start: Start, linked: impl FnOnce() -> F) -> bool {
    let Start {
        id,
        reg,
        connection,
        stream,
        established,
        initiator,
        source,
        store,
        listen_port,
        stop,
        shutdown,
    } = start;
    let Established {
        peer,
        sealer,
        opener,
        renewal,
        ..
    } = established;
    // Room for the last word is reserved now: a full mailbox cannot swallow it later.
    let permit = tokio::select! {
        biased;
        () = stop.cancelled() => return false,
        permit = reg.events.clone().reserve_owned() => match permit {
            Ok(permit) => permit,
            Err(_) => return false,
        },
    };

    let (live, live_queue) = mpsc::channel(LINK_MAILBOX);
    let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
    let (backfill, backfill_queue) = mpsc::channel(BACKFILL_QUEUE);
    let (wants, want_queue) = mpsc::channel(WANT_QUEUE);
    let (close, closing) = watch::channel(None);
    let (usage, acks) = (Arc::new(Usage::default()), Arc::new(Acks::default()));
    let handle = LinkHandle {
        id,
        live,
        acks: Arc::clone(&acks),
        taken: Arc::new(AtomicUsize::new(0)),
        close,
        renew: Arc::new(Notify::new()),
        pings: Arc::default(),
        connection: connection.clone(),
    };

    let mut tasks = Tasks::new();
    let writer = writer::Writer {
        sealer,
        stream: stream.send,
        live: live_queue,
        control: control_queue,
        backfill: backfill_queue,
        acks,
        usage: Arc::clone(&usage),
        taken: Arc::clone(&handle.taken),
        room: Arc::clone(&reg.room),
        listen_port,
        closing,
    };
    let agent = reg.agent.clone();
    tasks.push(writer.run(agent).boxed());
    let mut frames = reader::Frames::new(stream.recv, opener);
    let keys = reader::Keys::new(renewal, Arc::clone(&reg.local), usage, control);

    // The first frame must be `hello`; only then does anybody hear of the link.
    let hello = tokio::select! {
        biased;
        () = stop.cancelled() => Err(CloseReason::Dropped),
        () = shutdown.cancelled() => Err(CloseReason::Dropped),
        Some(end) = tasks.next() => Err(end),
        hello = reader::hello(&mut frames) => hello,
    };
    let agent = match hello {
        Ok(agent) => agent,
        Err(reason) => {
            tracing::debug!(%reason, "no hello");
            // The peer is told why, if it still listens.
            let said = match reason {
                CloseReason::Ours(reason) => Some(reason),
                CloseReason::Protocol(_) => Some(proto::bye::Reason::Protocol),
                _ => None,
            };
            if let Some(reason) = said {
                handle.close(reason);
                goodbye(&mut tasks).await;
            }
            return false;
        }
    };
    let up = LinkUp {
        handle: handle.clone(),
        peer,
        initiator,
        source,
        agent,
    };
    if reg.events.send(LinkEvent::Up(Box::new(up))).await.is_err() {
        return false;
    }
    let mut end = CloseReason::Dropped;
    // From here on the channel hears of the end, whatever it is.
    let (word, last) = std::sync::mpsc::sync_channel::<CloseReason>(1);
    let _closed = Guard::new(move || {
        let reason = last.try_recv().unwrap_or(CloseReason::Dropped);
        permit.send(LinkEvent::Closed { link: id, reason });
    });
    tracing::debug!(path = ?connection.path(), remote = %connection.target(), "linked");
    linked().await;

    let reader = reader::Reader {
        frames,
        keys,
        cid: reg.cid,
        link: id,
        events: reg.events.clone(),
        wants,
        renew: Arc::clone(&handle.renew),
        pings: Arc::clone(&handle.pings),
        devices: KeyCache::default(),
    };
    tasks.push(reader.run().boxed());
    tasks.push(server::run(store, reg.cid, want_queue, backfill).boxed());

    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = shutdown.cancelled() => {
            handle.close(proto::bye::Reason::Stopping);
            if let Some(reason) = goodbye(&mut tasks).await {
                end = CloseReason::Ours(reason);
            }
        }
        ended = tasks.next() => {
            end = ended.unwrap_or(CloseReason::Dropped);
            // We break the link: the peer is told why, if it still listens.
            if matches!(end, CloseReason::Protocol(_)) {
                handle.close(proto::bye::Reason::Protocol);
                goodbye(&mut tasks).await;
            }
        }
    }
    tracing::debug!(reason = %end, "link ended");
    // The guard reads it when this function returns.
    let _ = word.try_send(end);
    true
}

/// Waits until the writer has said goodbye; the other tasks may end before it.
async fn goodbye(tasks: &mut Tasks) -> Option<proto::bye::Reason> {
    let said = async {
        while let Some(ended) = tasks.next().await {
            if let CloseReason::Ours(reason) = ended {
                return Some(reason);
            }
        }
        None
    };
    tokio::time::timeout(GOODBYE, said).await.ok().flatten()
}
