//! The writing half of a link.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bitchat_wire::{
    link::{KeySwitch, Sealer},
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, mpsc, watch},
    time::timeout,
};

use super::{Acks, CloseReason, KEPT};
use crate::transport::SendHalf;

/// Live messages queued for the writer: enough for a burst, and at most 16 MiB if all are of the largest kind. A channel
/// that finds it full leaves its cursor where it is.
pub const LINK_MAILBOX: usize = 64;
/// Renewal steps and answers to pings queued for the writer; the reader waits when the queue is full.
pub(super) const CONTROL_QUEUE: usize = 8;
/// Batches of history (64 KiB each) queued for the writer: one to send while the next is read.
pub(super) const BACKFILL_QUEUE: usize = 1;
/// Most bytes written at once: enough for a full frame and many small ones.
const WRITE_BATCH: usize = 128 * 1024;
/// Live messages go first, but a batch of history has a turn after this many writes of them.
const HISTORY_TURN: u64 = 4;
/// A peer that takes nothing for this long is gone, or stalls us on purpose.
const STALL: Duration = Duration::from_secs(60);

/// How much the current key has sealed, for the reader that renews it.
#[derive(Default)]
pub(super) struct Usage {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Usage {
    /// Frames and bytes sealed with the current key.
    pub(super) fn get(&self) -> (u64, u64) {
        (
            self.frames.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// A request of the reader to the writer.
pub(super) enum Control {
    /// Sends a message.
    Send(Kind),
    /// Seals a message with the current key, then switches to the next.
    SendThenSwitch(Kind, KeySwitch),
}

/// A link's writer.
pub(super) struct Writer {
    pub(super) sealer: Sealer,
    pub(super) stream: SendHalf,
    pub(super) live: mpsc::Receiver<Bytes>,
    pub(super) control: mpsc::Receiver<Box<Control>>,
    pub(super) backfill: mpsc::Receiver<Bytes>,
    pub(super) acks: Arc<Acks>,
    pub(super) usage: Arc<Usage>,
    pub(super) taken: Arc<AtomicUsize>,
    pub(super) room: Arc<Notify>,
    /// The port on which we accept connections.
    pub(super) listen_port: u16,
    pub(super) closing: watch::Receiver<Option<proto::bye::Reason>>,
}

impl Writer {
    /// Writes until the link ends; returns why it did.
    pub(super) async fn run(mut self, agent: String) -> CloseReason {
        match self.work(agent).await {
            Ok(reason) => CloseReason::Ours(reason),
            Err(why) => CloseReason::Broken(why),
        }
    }

    async fn work(&mut self, agent: String) -> Result<proto::bye::Reason, String> {
        let mut buffer = Vec::new();
        let hello = proto::Hello {
            versions: vec![super::VERSION],
            agent,
            listen_port: self.listen_port.into(),
        };
        self.seal(&message::encode(Kind::Hello(hello)), &mut buffer)?;
        self.flush(&mut buffer).await?;
        let mut live_writes = 0_u64;
        loop {
            tokio::select! {
                biased;
                reason = closed(&mut self.closing) => {
                    // Messages queued before the goodbye are still sent.
                    while let Ok(message) = self.live.try_recv() {
                        self.seal(&message, &mut buffer)?;
                    }
                    let bye = proto::Bye { reason: reason.into() };
                    self.seal(&message::encode(Kind::Bye(bye)), &mut buffer)?;
                    self.flush(&mut buffer).await?;
                    let _ = self.stream.shutdown().await;
                    return Ok(reason);
                }
                control = self.control.recv() => match control.map(|control| *control) {
                    Some(Control::Send(kind)) => self.seal(&message::encode(kind), &mut buffer)?,
                    Some(Control::SendThenSwitch(kind, key)) => {
                        self.seal(&message::encode(kind), &mut buffer)?;
                        self.sealer.switch(key);
                        self.count();
                    }
                    None => return Err("the reader ended".into()),
                },
                message = self.live.recv() => match message {
                    Some(message) => {
                        let mut taken = 1;
                        self.seal(&message, &mut buffer)?;
                        while buffer.len() < WRITE_BATCH && let Ok(message) = self.live.try_recv() {
                            self.seal(&message, &mut buffer)?;
                            taken += 1;
                        }
                        self.taken.fetch_add(taken, Ordering::Relaxed);
                        self.room.notify_one();
                        live_writes = live_writes.wrapping_add(1);
                        if live_writes.is_multiple_of(HISTORY_TURN) && let Ok(batch) = self.backfill.try_recv() {
                            self.seal(&batch, &mut buffer)?;
                        }
                    }
                    None => return Err("the channel dropped the link".into()),
                },
                () = self.acks.ready() => {
                    let claims = self.acks.take();
                    if !claims.is_empty() {
                        self.seal(&message::encode(Kind::Ack(proto::Ack { claims })), &mut buffer)?;
                    }
                }
                Some(batch) = self.backfill.recv() => self.seal(&batch, &mut buffer)?,
            }
            self.flush(&mut buffer).await?;
        }
    }

    fn seal(&mut self, message: &[u8], buffer: &mut Vec<u8>) -> Result<(), String> {
        let sealed = self
            .sealer
            .seal(message, buffer)
            .map_err(|error| error.to_string());
        self.count();
        sealed
    }

    fn count(&self) {
        let (frames, bytes) = self.sealer.usage();
        self.usage.frames.store(frames, Ordering::Relaxed);
        self.usage.bytes.store(bytes, Ordering::Relaxed);
    }

    async fn flush(&mut self, buffer: &mut Vec<u8>) -> Result<(), String> {
        let write = async {
            self.stream.write_all(buffer).await?;
            self.stream.flush().await
        };
        match timeout(STALL, write).await {
            Ok(result) => result.map_err(|error| error.to_string())?,
            Err(_) => return Err("the peer takes nothing for 60 s".into()),
        }
        buffer.clear();
        // Only while nothing is queued. Most links are idle most of the time.
        if self.live.is_empty() {
            buffer.shrink_to(KEPT);
        }
        Ok(())
    }
}

async fn closed(closing: &mut watch::Receiver<Option<proto::bye::Reason>>) -> proto::bye::Reason {
    match closing.wait_for(Option::is_some).await {
        Ok(reason) => (*reason).unwrap_or(proto::bye::Reason::Unspecified),
        // All handles are gone, so no reason can be given any more.
        Err(_) => proto::bye::Reason::Unspecified,
    }
}
