//! A peer that speaks the link protocol by hand, and so may break it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bitchat_actors::{
    internals::{
        kit::Scope,
        transport::{
            Connection, DialError, EVENTS, Stream, Transport, TransportConfig, TransportEvent,
        },
    },
    status::Metrics,
};
use bitchat_wire::{
    channel::{ChannelFile, ChannelId, EpochKeys},
    event::{Event, EventId, genesis_body},
    identity::{Certificate, DeviceKey, IdentityKey},
    link::{
        Established, Initiator, Local, M1_LEN, M2_LEN, M3_LEN, Opener, Renewal, Responder, Sealer,
        TlsSide, frame_len,
    },
    message,
    proto::{self, link_message::Kind, rekey::Step},
    stream::StreamKind,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
};
use zeroize::Zeroizing;

pub(super) fn keys(file: &ChannelFile) -> EpochKeys {
    EpochKeys::derive(file.id(), 0, &file.info().secret)
}

pub(super) struct Raw {
    pub(super) device: DeviceKey,
    pub(super) certificate: Certificate,
    transport: Transport,
    scope: Scope,
    streams: Mutex<mpsc::Receiver<(Connection, Stream)>>,
}

impl Raw {
    pub(super) async fn start(seed: u8) -> Self {
        let (scope, _) = Scope::new(Metrics::default());
        let (sender, mut events) = mpsc::channel(EVENTS);
        let config = TransportConfig::new(
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            0,
            Zeroizing::new([seed; 64]),
        );
        let transport = Transport::start(config, &scope, sender).await.unwrap();
        let (found, streams) = mpsc::channel(EVENTS);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let TransportEvent::Stream {
                    connection, stream, ..
                } = event
                {
                    let _ = found.try_send((connection, stream));
                }
            }
        });
        let device = DeviceKey::from_seed(&[seed; 32]);
        let certificate = IdentityKey::from_seed(&[seed; 32]).certify(&device.id(), 1);
        Self {
            device,
            certificate,
            transport,
            scope,
            streams: Mutex::new(streams),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.transport.local_addresses()[0]
    }

    pub(super) async fn dial(&self, address: SocketAddr) -> Result<Connection, DialError> {
        self.transport.dial(address, None).await
    }

    pub(super) async fn stop(self) {
        self.scope.stop(Duration::from_secs(5)).await;
    }

    pub(super) fn event(
        &self,
        cid: ChannelId,
        seq: u64,
        prev: EventId,
        lamport: u64,
        body: &[u8],
    ) -> Event {
        Event::author(&cid, &self.device, 0, seq, prev, lamport, 1, body).unwrap()
    }

    pub(super) fn genesis(&self, cid: ChannelId) -> Event {
        let body = genesis_body(&self.certificate);
        self.event(cid, 0, EventId::ZERO, 1, &body)
    }

    fn local(&self) -> Local<'_> {
        Local {
            device: &self.device,
            certificate: &self.certificate,
        }
    }

    /// The handshake, as its initiator.
    pub(super) async fn link(
        &self,
        connection: &Connection,
        file: &ChannelFile,
    ) -> io::Result<RawLink> {
        let mut stream = connection.open(StreamKind::Link).await?;
        let (machine, m1) = Initiator::start(
            &keys(file),
            connection.binding(),
            connection.side(),
            &mut rand::rng(),
        );
        stream.send.write_all(&m1).await?;
        let mut m2 = vec![0; M2_LEN];
        stream.recv.read_exact(&mut m2).await?;
        let (m3, established) = machine
            .finish(&m2, self.local(), |_| true)
            .map_err(io::Error::other)?;
        stream.send.write_all(&m3).await?;
        Ok(RawLink::new(stream, established))
    }

    /// The handshake, as its responder.
    pub(super) async fn answer(&self, file: &ChannelFile) -> RawLink {
        let (connection, mut stream) = self.streams.lock().await.recv().await.unwrap();
        let initiator = match connection.side() {
            TlsSide::Client => TlsSide::Server,
            TlsSide::Server => TlsSide::Client,
        };
        let mut m1 = vec![0; M1_LEN];
        stream.recv.read_exact(&mut m1).await.unwrap();
        let (machine, m2) = Responder::start(
            &keys(file),
            connection.binding(),
            initiator,
            &m1,
            self.local(),
            &mut rand::rng(),
        )
        .unwrap();
        stream.send.write_all(m2.as_slice()).await.unwrap();
        let mut m3 = vec![0; M3_LEN];
        stream.recv.read_exact(&mut m3).await.unwrap();
        let established = machine.finish(&m3, self.local(), |_| true).unwrap();
        RawLink::new(stream, established)
    }
}

pub(super) struct RawLink {
    stream: Stream,
    sealer: Sealer,
    opener: Opener,
    pub(super) renewal: Renewal,
    last: Vec<u8>,
}

impl RawLink {
    fn new(stream: Stream, established: Established) -> Self {
        Self {
            stream,
            sealer: established.sealer,
            opener: established.opener,
            renewal: established.renewal,
            last: Vec::new(),
        }
    }

    pub(super) fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        self.sealer.seal(message, &mut frame).unwrap();
        frame
    }

    /// A node that ended the link takes nothing more.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.send.write_all(bytes).await;
        let _ = self.stream.send.flush().await;
    }

    pub(super) async fn shutdown(&mut self) {
        let _ = self.stream.send.shutdown().await;
    }

    async fn send(&mut self, kind: Kind) {
        let frame = self.seal(&message::encode(kind));
        self.write(&frame).await;
    }

    pub(super) async fn hello(&mut self) {
        self.send(Kind::Hello(proto::Hello {
            versions: vec![1],
            agent: "raw".into(),
            listen_port: 0,
        }))
        .await;
    }

    /// The last frame of the other side, as it came.
    pub(super) fn last_received(&self) -> Vec<u8> {
        self.last.clone()
    }

    /// The next message; `None` when the link has ended.
    pub(super) async fn next(&mut self) -> Option<Kind> {
        loop {
            let mut prefix = [0; 4];
            self.stream.recv.read_exact(&mut prefix).await.ok()?;
            let mut frame = vec![0; frame_len(prefix).unwrap()];
            self.stream.recv.read_exact(&mut frame).await.ok()?;
            self.last = [prefix.as_slice(), frame.as_slice()].concat();
            let message = self.opener.open(&mut frame).unwrap();
            if let Some(kind) = message::decode(message).unwrap() {
                return Some(kind);
            }
        }
    }

    /// Reads to the end, and returns what came before.
    pub(super) async fn ends(&mut self) -> Vec<Kind> {
        let mut all = Vec::new();
        while let Some(kind) = self.next().await {
            all.push(kind);
        }
        all
    }

    /// The link is up: a ping has its answer.
    pub(super) async fn answers(&mut self) {
        self.send(Kind::Ping(proto::Ping { nonce: 42 })).await;
        let answered = async {
            loop {
                match self.next().await {
                    Some(Kind::Pong(_)) => return,
                    Some(_) => {}
                    None => panic!("the link ended"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered)
            .await
            .expect("an answer");
    }

    /// Does its part of a renewal.
    pub(super) async fn renew(&mut self, step: Step, raw: &Raw) {
        match step {
            Step::Init(init) => {
                let resp = self
                    .renewal
                    .on_init(&init, &raw.device, &mut rand::rng())
                    .unwrap();
                self.rekey(Step::Resp(resp)).await;
            }
            Step::Resp(resp) => {
                let (done, next) = self.renewal.on_resp(&resp, &raw.device).unwrap();
                self.rekey(Step::Done(done)).await;
                self.sealer.switch(next);
            }
            Step::Done(done) => {
                let (theirs, go, ours) = self.renewal.on_done(&done).unwrap();
                self.opener.switch(theirs);
                self.rekey(Step::Go(go)).await;
                self.sealer.switch(ours);
            }
            Step::Go(_) => self.opener.switch(self.renewal.on_go().unwrap()),
            Step::Please(_) => {}
        }
    }

    async fn rekey(&mut self, step: Step) {
        self.send(Kind::Rekey(proto::Rekey { step: Some(step) }))
            .await;
    }
}
