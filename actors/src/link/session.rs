//! One link's life: reader, writer and server, and the one report of its end.

use std::{
    future::Future,
    mem,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bitchat_wire::{
    channel::ChannelId,
    identity::{Certificate, KeyCache},
    link::Established,
    proto::{self, bye::Reason},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Acks, CloseReason, LinkEvent, LinkHandle, LinkId, LinkUp, Registration, reader, server,
    server::WANT_QUEUE,
    writer::{self, BACKFILL_QUEUE, CONTROL_QUEUE, LINK_MAILBOX, Usage},
};
use crate::{
    discovery::FoundBy,
    store::Store,
    transport::{Connection, Stream},
};

/// How long a closing link may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Reader, writer and server, all on one task of the runtime: what one has for another (the answer to a ping, say) is
/// taken at once, and not by a thread that has to be woken first.
type Tasks = FuturesUnordered<BoxFuture<'static, CloseReason>>;

/// What a link is made of.
pub(super) struct Start {
    pub(super) id: LinkId,
    pub(super) reg: Registration,
    pub(super) connection: Connection,
    pub(super) stream: Stream,
    pub(super) established: Established,
    pub(super) initiator: bool,
    pub(super) source: Option<FoundBy>,
    pub(super) store: Store,
    /// The port on which we accept connections.
    pub(super) listen_port: u16,
    /// Ends the link without a goodbye: its channel is gone.
    pub(super) stop: CancellationToken,
    /// Ends the link with a goodbye: the node stops.
    pub(super) shutdown: CancellationToken,
}

/// Runs the link to its end. `linked` is called once it is up; returns whether it ever was.
pub(super) async fn run<F: Future<Output = ()>>(start: Start, linked: impl FnOnce() -> F) -> bool {
    // Room for the last event is reserved now: a full queue cannot swallow it later.
    let Some(permit) = reserve(&start).await else {
        return false;
    };
    let (mut session, mut inward, up) = Session::open(start);
    let agent = match session.hello(&mut inward.frames).await {
        Ok(agent) => agent,
        Err(reason) => {
            session.refuse(&reason).await;
            return false;
        }
    };
    if session.up(up, agent).await.is_err() {
        return false;
    }
    // From here on the channel gets the end reported, whatever it is.
    let mut closed = Closed {
        permit: Some(permit),
        link: session.id,
        reason: CloseReason::Dropped,
    };
    let connection = session.handle.connection();
    tracing::debug!(path = ?connection.path(), remote = %connection.target(), "linked");
    linked().await;
    session.read(inward);
    closed.reason = session.end().await;
    tracing::debug!(reason = %closed.reason, "link ended");
    true
}

/// Waits for a place in the channel's queue; `None` if the channel is gone.
async fn reserve(start: &Start) -> Option<mpsc::OwnedPermit<LinkEvent>> {
    tokio::select! {
        biased;
        () = start.stop.cancelled() => None,
        permit = start.reg.events.clone().reserve_owned() => permit.ok(),
    }
}

/// Reports the link's end when dropped: at return, cancellation or panic alike.
struct Closed {
    permit: Option<mpsc::OwnedPermit<LinkEvent>>,
    link: LinkId,
    reason: CloseReason,
}

impl Drop for Closed {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let reason = mem::replace(&mut self.reason, CloseReason::Dropped);
            permit.send(LinkEvent::Closed {
                link: self.link,
                reason,
            });
        }
    }
}

/// A running link.
struct Session {
    id: LinkId,
    cid: ChannelId,
    handle: LinkHandle,
    events: mpsc::Sender<LinkEvent>,
    tasks: Tasks,
    stop: CancellationToken,
    shutdown: CancellationToken,
}

/// What the reader and the server need, which begin once the link is up.
struct Inward {
    frames: reader::Frames,
    keys: reader::Keys,
    store: Store,
    wants: mpsc::Sender<proto::Range>,
    want_queue: mpsc::Receiver<proto::Range>,
    backfill: mpsc::Sender<Bytes>,
}

/// What the channel learns of the link once it is up.
struct Facts {
    peer: Certificate,
    initiator: bool,
    source: Option<FoundBy>,
}

impl Session {
    /// Starts the writer, which sends our `hello`.
    fn open(start: Start) -> (Self, Inward, Facts) {
        let Start {
            reg,
            stream,
            established,
            ..
        } = start;
        let (live, live_queue) = mpsc::channel(LINK_MAILBOX);
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (backfill, backfill_queue) = mpsc::channel(BACKFILL_QUEUE);
        let (wants, want_queue) = mpsc::channel(WANT_QUEUE);
        let (close, closing) = watch::channel(None);
        let (usage, acks) = (Arc::new(Usage::default()), Arc::new(Acks::default()));
        let handle = LinkHandle {
            id: start.id,
            live,
            acks: Arc::clone(&acks),
            taken: Arc::new(AtomicUsize::new(0)),
            close,
            renew: Arc::new(Notify::new()),
            pings: Arc::default(),
            connection: start.connection,
        };
        let writer = writer::Writer {
            sealer: established.sealer,
            stream: stream.send,
            live: live_queue,
            control: control_queue,
            backfill: backfill_queue,
            acks,
            usage: Arc::clone(&usage),
            taken: Arc::clone(&handle.taken),
            room: reg.room,
            listen_port: start.listen_port,
            closing,
        };
        let tasks = Tasks::new();
        tasks.push(writer.run(reg.agent).boxed());
        let inward = Inward {
            frames: reader::Frames::new(stream.recv, established.opener),
            keys: reader::Keys::new(established.renewal, reg.local, usage, control),
            store: start.store,
            wants,
            want_queue,
            backfill,
        };
        let facts = Facts {
            peer: established.peer,
            initiator: start.initiator,
            source: start.source,
        };
        let session = Self {
            id: start.id,
            cid: reg.cid,
            handle,
            events: reg.events,
            tasks,
            stop: start.stop,
            shutdown: start.shutdown,
        };
        (session, inward, facts)
    }

    /// Waits for the peer's `hello`, which must be the first frame; until then the channel does not know the link. Returns
    /// the peer's agent.
    async fn hello(&mut self, frames: &mut reader::Frames) -> Result<String, CloseReason> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(CloseReason::Dropped),
            () = self.shutdown.cancelled() => Err(CloseReason::Dropped),
            Some(end) = self.tasks.next() => Err(end),
            hello = reader::hello(frames) => hello,
        }
    }

    /// Ends a link that did not come up. The peer gets the reason, if it still reads.
    async fn refuse(&mut self, reason: &CloseReason) {
        tracing::debug!(%reason, "no hello");
        let bye = match reason {
            CloseReason::Ours(reason) => Some(*reason),
            CloseReason::Protocol(_) => Some(Reason::Protocol),
            _ => None,
        };
        if let Some(reason) = bye {
            self.handle.close(reason);
            self.goodbye().await;
        }
    }

    /// Reports the link to the channel; an error if the channel is gone.
    async fn up(
        &mut self,
        facts: Facts,
        agent: String,
    ) -> Result<(), mpsc::error::SendError<LinkEvent>> {
        let up = LinkUp {
            handle: self.handle.clone(),
            peer: facts.peer,
            initiator: facts.initiator,
            source: facts.source,
            agent,
        };
        self.events.send(LinkEvent::Up(Box::new(up))).await
    }

    /// Starts the reader and the server.
    fn read(&self, inward: Inward) {
        let reader = reader::Reader {
            frames: inward.frames,
            keys: inward.keys,
            cid: self.cid,
            link: self.id,
            events: self.events.clone(),
            wants: inward.wants,
            renew: Arc::clone(&self.handle.renew),
            pings: Arc::clone(&self.handle.pings),
            devices: KeyCache::default(),
        };
        let server = server::run(inward.store, self.cid, inward.want_queue, inward.backfill);
        self.tasks.push(reader.run().boxed());
        self.tasks.push(server.boxed());
    }

    /// Runs the link until it ends.
    async fn end(&mut self) -> CloseReason {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => CloseReason::Dropped,
            () = self.shutdown.cancelled() => {
                self.handle.close(Reason::Stopping);
                self.goodbye().await.map_or(CloseReason::Dropped, CloseReason::Ours)
            }
            ended = self.tasks.next() => {
                let end = ended.unwrap_or(CloseReason::Dropped);
                // We break the link: the peer gets the reason, if it still reads.
                if matches!(end, CloseReason::Protocol(_)) {
                    self.handle.close(Reason::Protocol);
                    self.goodbye().await;
                }
                end
            }
        }
    }

    /// Waits until the writer has sent the goodbye; the other tasks may end before it.
    async fn goodbye(&mut self) -> Option<Reason> {
        let sent = async {
            while let Some(ended) = self.tasks.next().await {
                if let CloseReason::Ours(reason) = ended {
                    return Some(reason);
                }
            }
            None
        };
        tokio::time::timeout(GOODBYE, sent).await.ok().flatten()
    }
}
