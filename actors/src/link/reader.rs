//! The reading half of a link: frames, renewal, decoding, verification.

use std::{sync::Arc, time::Duration};

use bitchat_wire::{
    channel::ChannelId,
    event::Event,
    identity::KeyCache,
    link::{Due, Opener, RENEW_AFTER, Renewal, Role, due, frame_len},
    message,
    proto::{self, link_message::Kind, rekey::Step},
};
use tokio::{
    io::AsyncReadExt,
    sync::{Notify, mpsc},
    time::{Instant, sleep_until, timeout},
};

use super::{
    CloseReason, Inbound, KEPT, LinkEvent, LinkId, LocalDevice, VERSION,
    pings::Pings,
    writer::{Control, Usage},
};
use crate::transport::RecvHalf;

/// Time limit for the first frame, which follows right behind the handshake.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Shortest time between two renewals that a member requests.
const REQUEST_PAUSE: Duration = Duration::from_secs(1);
/// Renewals that the other side may begin within [`RENEWALS_TIME`]. One is due every quarter of an hour; each costs us a
/// signature and key exchanges.
const RENEWALS: u32 = 60;
/// The period over which [`RENEWALS`] counts.
const RENEWALS_TIME: Duration = Duration::from_secs(60);

/// Length of a frame's prefix.
const PREFIX: usize = 4;
/// Signatures verified without yielding, at some 50 microseconds each.
const VERIFY_AT_ONCE: usize = 32;

/// Splits a stream into frames and opens them. A frame is read into the buffer in which it is opened, so that an idle link
/// keeps next to nothing.
pub(super) struct Frames {
    stream: RecvHalf,
    opener: Opener,
    prefix: [u8; 4],
    /// Bytes read of the current frame, prefix included.
    read: usize,
    ciphertext: Vec<u8>,
}

impl Frames {
    pub(super) fn new(stream: RecvHalf, opener: Opener) -> Self {
        Self {
            stream,
            opener,
            prefix: [0; 4],
            read: 0,
            ciphertext: Vec::new(),
        }
    }

    /// Reads the next message. Cancel-safe: what was read of it is kept, and its length is checked before memory is set
    /// aside.
    async fn next(&mut self) -> Result<&[u8], CloseReason> {
        if self.read == 0 {
            self.ciphertext.clear();
            self.ciphertext.shrink_to(KEPT);
        }
        while self.read < PREFIX {
            let read = self.stream.read(&mut self.prefix[self.read..]).await;
            self.read += nonzero(read)?;
        }
        let len = frame_len(self.prefix).map_err(protocol)?;
        self.ciphertext.resize(len, 0);
        while self.read < PREFIX + len {
            let rest = &mut self.ciphertext[self.read - PREFIX..];
            self.read += nonzero(self.stream.read(rest).await)?;
        }
        self.read = 0;
        self.opener.open(&mut self.ciphertext).map_err(protocol)
    }
}

/// The number of bytes read, which is at least one; an error at the stream's end.
fn nonzero(read: std::io::Result<usize>) -> Result<usize, CloseReason> {
    match read {
        Ok(0) => Err(CloseReason::Broken("the peer ended the stream".into())),
        Ok(read) => Ok(read),
        Err(error) => Err(CloseReason::Broken(error.to_string())),
    }
}

/// Waits for the first frame and checks it. Returns the peer's agent.
pub(super) async fn hello(frames: &mut Frames) -> Result<String, CloseReason> {
    let message = match timeout(HELLO_DEADLINE, frames.next()).await {
        Ok(message) => message?,
        Err(_) => return Err(CloseReason::Broken("no hello within 10 s".into())),
    };
    match message::decode(message).map_err(protocol)? {
        Some(Kind::Hello(hello)) if hello.versions.contains(&VERSION) => Ok(hello.agent),
        Some(Kind::Hello(_)) => Err(CloseReason::Ours(proto::bye::Reason::Version)),
        _ => Err(CloseReason::Protocol(
            "the first message was not hello".into(),
        )),
    }
}

/// The link's keys and their renewal.
pub(super) struct Keys {
    renewal: Renewal,
    local: Arc<LocalDevice>,
    usage: Arc<Usage>,
    control: mpsc::Sender<Box<Control>>,
    /// When the current keys were taken.
    since: Instant,
    /// Whether we have requested a renewal of the initiator.
    requested: bool,
    /// Start of the period in which renewals of the other side are counted, and their number.
    begun: (Instant, u32),
}

impl Keys {
    pub(super) fn new(
        renewal: Renewal,
        local: Arc<LocalDevice>,
        usage: Arc<Usage>,
        control: mpsc::Sender<Box<Control>>,
    ) -> Self {
        Self {
            renewal,
            local,
            usage,
            control,
            since: Instant::now(),
            requested: false,
            begun: (Instant::now(), 0),
        }
    }

    /// When the keys' age must be checked next.
    fn next_check(&self) -> Instant {
        let soon = self.since + RENEW_AFTER.time;
        // Renewal is due but not done: check from time to time, to close the link in the end.
        if Instant::now() >= soon {
            Instant::now() + Duration::from_secs(60)
        } else {
            soon
        }
    }

    async fn check(&mut self, opener: &Opener) -> Result<(), CloseReason> {
        match due(self.since.elapsed(), self.usage.get(), opener.usage()) {
            Due::No => Ok(()),
            Due::Renew => self.renew().await,
            Due::Close => Err(CloseReason::Broken(
                "the keys are used up, and were not renewed".into(),
            )),
        }
    }

    async fn renew(&mut self) -> Result<(), CloseReason> {
        match self.renewal.role() {
            Role::Initiator if !self.renewal.pending() => {
                let init = self.renewal.start(&mut rand::rng()).map_err(protocol)?;
                self.send(Control::Send(rekey(Step::Init(init)))).await
            }
            Role::Responder if !self.requested && !self.renewal.pending() => {
                self.requested = true;
                self.send(Control::Send(rekey(Step::Please(proto::RekeyPlease {}))))
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn step(&mut self, step: Step, opener: &mut Opener) -> Result<(), CloseReason> {
        match step {
            Step::Please(_) => {
                if self.renewal.role() == Role::Responder {
                    return Err(CloseReason::Protocol(
                        "renewal requested of the responder".into(),
                    ));
                }
                if self.since.elapsed() >= REQUEST_PAUSE {
                    self.renew().await
                } else {
                    Ok(())
                }
            }
            Step::Init(init) => {
                if self.begun.0.elapsed() >= RENEWALS_TIME {
                    self.begun = (Instant::now(), 0);
                }
                self.begun.1 += 1;
                if self.begun.1 > RENEWALS {
                    return Err(CloseReason::Protocol("too many renewals".into()));
                }
                let resp = self
                    .renewal
                    .on_init(&init, &self.local.key, &mut rand::rng())
                    .map_err(protocol)?;
                self.send(Control::Send(rekey(Step::Resp(resp)))).await
            }
            Step::Resp(resp) => {
                let (done, next) = self
                    .renewal
                    .on_resp(&resp, &self.local.key)
                    .map_err(protocol)?;
                self.send(Control::SendThenSwitch(rekey(Step::Done(done)), next))
                    .await
            }
            Step::Done(done) => {
                let (theirs, go, ours) = self.renewal.on_done(&done).map_err(protocol)?;
                opener.switch(theirs);
                self.renewed();
                self.send(Control::SendThenSwitch(rekey(Step::Go(go)), ours))
                    .await
            }
            Step::Go(_) => {
                opener.switch(self.renewal.on_go().map_err(protocol)?);
                self.renewed();
                Ok(())
            }
        }
    }

    fn renewed(&mut self) {
        self.since = Instant::now();
        self.requested = false;
        tracing::debug!(generation = self.renewal.generation(), "keys renewed");
    }

    async fn send(&self, control: Control) -> Result<(), CloseReason> {
        self.control
            .send(Box::new(control))
            .await
            .map_err(|_| CloseReason::Dropped)
    }
}

/// A link's reader.
pub(super) struct Reader {
    pub(super) frames: Frames,
    pub(super) keys: Keys,
    pub(super) cid: ChannelId,
    pub(super) link: LinkId,
    /// May wait: back pressure reaches the peer through flow control.
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) wants: mpsc::Sender<proto::Range>,
    pub(super) renew: Arc<Notify>,
    pub(super) pings: Arc<Pings>,
    /// Devices whose events have arrived before.
    pub(super) devices: KeyCache,
}

impl Reader {
    /// Reads until the link ends; returns why it did.
    pub(super) async fn run(mut self) -> CloseReason {
        loop {
            if let Err(reason) = self.turn().await {
                return reason;
            }
        }
    }

    async fn turn(&mut self) -> Result<(), CloseReason> {
        let message = tokio::select! {
            biased;
            () = self.renew.notified() => return self.keys.renew().await,
            () = sleep_until(self.keys.next_check()) => return self.keys.check(&self.frames.opener).await,
            message = self.frames.next() => message::decode(message?).map_err(protocol)?,
        };
        // `None` is a kind of a later version.
        if let Some(kind) = message {
            self.handle(kind).await?;
        }
        self.keys.check(&self.frames.opener).await
    }

    async fn handle(&mut self, kind: Kind) -> Result<(), CloseReason> {
        let message = match kind {
            Kind::Rekey(proto::Rekey { step: Some(step) }) => {
                return self.keys.step(step, &mut self.frames.opener).await;
            }
            Kind::Ping(proto::Ping { nonce }) => {
                return self
                    .keys
                    .send(Control::Send(Kind::Pong(proto::Pong { nonce })))
                    .await;
            }
            Kind::Want(want) => {
                let queued = want
                    .ranges
                    .into_iter()
                    .try_for_each(|range| self.wants.try_send(range));
                return queued.map_err(|_| {
                    CloseReason::Protocol("too many ranges requested at once".into())
                });
            }
            Kind::Bye(bye) => return Err(CloseReason::Theirs(bye.reason())),
            Kind::Hello(_) => return Err(CloseReason::Protocol("a second hello".into())),
            Kind::Events(batch) => {
                let events = self.verify_all(batch.events).await?;
                tracing::trace!(target: super::VERIFIED, events = events.len() as u64, batch.backfill);
                Inbound::Events {
                    events,
                    backfill: batch.backfill,
                }
            }
            Kind::Fork(proto::Fork {
                a: Some(a),
                b: Some(b),
            }) => {
                let pair = (self.verify(a)?, self.verify(b)?);
                if !pair.0.forks(&pair.1) {
                    return Err(CloseReason::Protocol("a fork that proves nothing".into()));
                }
                Inbound::Fork(Box::new(pair))
            }
            Kind::Pong(proto::Pong { nonce }) => {
                self.pings.end(nonce);
                return Ok(());
            }
            other => match Inbound::unsigned(other) {
                Some(message) => message,
                // Kinds that this version does not use yet.
                None => return Ok(()),
            },
        };
        self.events
            .send(LinkEvent::Message {
                link: self.link,
                message,
            })
            .await
            .map_err(|_| CloseReason::Dropped)
    }

    /// Verifies signatures, here on the reader's task, so that links verify in parallel. Yields to other tasks in between.
    async fn verify_all(
        &mut self,
        events: Vec<proto::SignedEvent>,
    ) -> Result<Vec<Event>, CloseReason> {
        let mut verified = Vec::with_capacity(events.len());
        for event in events {
            if verified.len() % VERIFY_AT_ONCE == VERIFY_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            verified.push(self.verify(event)?);
        }
        Ok(verified)
    }

    fn verify(&mut self, signed: proto::SignedEvent) -> Result<Event, CloseReason> {
        Event::verify_with(
            &self.cid,
            signed.event,
            &signed.signature,
            &mut self.devices,
        )
        .map_err(protocol)
    }
}

fn rekey(step: Step) -> Kind {
    Kind::Rekey(proto::Rekey { step: Some(step) })
}

fn protocol(error: impl std::fmt::Display) -> CloseReason {
    CloseReason::Protocol(error.to_string())
}
