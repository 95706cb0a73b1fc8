//! The session below a connection: QUIC, or yamux over TLS, whatever carries its bytes.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use quinn::ConnectionError;

use super::{
    flow::Flow,
    mux::{Meter, Mux},
    stream::{CODE, Stream},
};
use crate::transport::{
    address::{PathKind, Relay},
    socket::endpoint,
};

/// The protocol that carries the streams.
pub(super) enum Session {
    Quic(quinn::Connection),
    Tcp(Box<Tcp>),
}

/// What carries a connection's TCP byte stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carrier {
    /// TCP, directly from or to that address.
    Direct(SocketAddr),
    /// Our proxy, to that address.
    Proxy(SocketAddr),
    /// A circuit through a relay.
    Circuit(Relay),
}

/// A yamux session over TLS.
pub(super) struct Tcp {
    mux: Mux,
    meter: Arc<Meter>,
    carrier: Carrier,
    /// The peer's listening port, as it reported; 0 until then.
    pub(super) listens_on: AtomicU16,
    /// The round-trip time last measured, in microseconds.
    rtt_us: AtomicU64,
    /// Whether we dialled from our listening port.
    pub(super) from_our_port: AtomicBool,
    /// Whether we had sent something to the address that the peer comes from.
    pub(super) solicited: AtomicBool,
}

impl Session {
    pub(super) fn tcp(mux: Mux, meter: Arc<Meter>, carrier: Carrier, rtt: Duration) -> Self {
        Self::Tcp(Box::new(Tcp {
            mux,
            meter,
            carrier,
            listens_on: AtomicU16::new(0),
            rtt_us: AtomicU64::new(micros(rtt)),
            from_our_port: AtomicBool::new(false),
            solicited: AtomicBool::new(false),
        }))
    }

    /// The session's state over TCP; `None` for QUIC.
    pub(super) fn over_tcp(&self) -> Option<&Tcp> {
        match self {
            Self::Quic(_) => None,
            Self::Tcp(tcp) => Some(tcp),
        }
    }

    /// The other end's address; for a circuit the relay's.
    pub(super) fn remote(&self) -> SocketAddr {
        match self {
            Self::Quic(quic) => quic.remote_address(),
            Self::Tcp(tcp) => match tcp.carrier {
                Carrier::Direct(remote) | Carrier::Proxy(remote) => remote,
                Carrier::Circuit(relay) => relay.address,
            },
        }
    }

    /// The relay that carries the session; `None` for other paths.
    pub(super) fn relay(&self) -> Option<Relay> {
        match self.over_tcp()?.carrier {
            Carrier::Circuit(relay) => Some(relay),
            Carrier::Direct(_) | Carrier::Proxy(_) => None,
        }
    }

    pub(super) fn path(&self) -> PathKind {
        match self {
            Self::Quic(_) => PathKind::Quic,
            Self::Tcp(tcp) => match tcp.carrier {
                Carrier::Direct(_) => PathKind::Tcp,
                Carrier::Proxy(_) => PathKind::Proxied,
                Carrier::Circuit(_) => PathKind::Relayed,
            },
        }
    }

    pub(super) fn rtt(&self) -> Duration {
        match self {
            Self::Quic(quic) => quic.rtt(),
            Self::Tcp(tcp) => Duration::from_micros(tcp.rtt_us.load(Ordering::Relaxed)),
        }
    }

    /// Records the round-trip time of a probe. QUIC has its own measurement.
    pub(super) fn measured(&self, rtt: Duration) {
        if let Self::Tcp(tcp) = self {
            tcp.rtt_us.store(micros(rtt), Ordering::Relaxed);
        }
    }

    /// The acknowledgements received over QUIC, or the bytes over TCP.
    pub(super) fn answers(&self) -> u64 {
        match self {
            Self::Quic(quic) => quic.stats().frame_rx.acks,
            Self::Tcp(tcp) => tcp.meter.received(),
        }
    }

    /// The frames sent over QUIC that must be answered; always 0 for TCP.
    pub(super) fn questions(&self) -> u64 {
        match self {
            Self::Quic(quic) => {
                let sent = quic.stats().frame_tx;
                // quinn probes with the last of these.
                [sent.stream, sent.ping, sent.immediate_ack]
                    .into_iter()
                    .fold(0, u64::wrapping_add)
            }
            Self::Tcp(_) => 0,
        }
    }

    /// Opens a stream, which has no header yet. Cancel-safe.
    pub(super) async fn open(&self, flow: &Arc<Flow>) -> io::Result<Stream> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.open_bi().await?;
                Ok(Stream::quic(send, recv, flow.stream()))
            }
            Self::Tcp(tcp) => Ok(Stream::mux(tcp.mux.open().await?, flow.stream())),
        }
    }

    /// The next stream opened by the peer, whose header is not yet read. Cancel-safe.
    pub(super) async fn accept(&self, flow: &Arc<Flow>) -> io::Result<Stream> {
        match self {
            Self::Quic(quic) => {
                let (send, recv) = quic.accept_bi().await?;
                endpoint::more_streams(quic, recv.id());
                Ok(Stream::quic(send, recv, flow.stream()))
            }
            Self::Tcp(tcp) => Ok(Stream::mux(tcp.mux.accept().await?, flow.stream())),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Quic(quic) => quic.close_reason().is_some(),
            Self::Tcp(tcp) => tcp.mux.is_closed(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Self::Quic(quic) => quic.close(CODE, b""),
            Self::Tcp(tcp) => tcp.mux.close(),
        }
    }

    pub(super) async fn closed(&self) -> String {
        match self {
            Self::Quic(quic) => describe(&quic.closed().await),
            Self::Tcp(tcp) => tcp.mux.closed().await.to_owned(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Describes why a QUIC connection ended or failed, without text from the peer.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(_) => "closed by the peer".to_owned(),
        ConnectionError::ConnectionClosed(close) => {
            format!("refused by the peer ({})", close.error_code)
        }
        ConnectionError::TransportError(error) => format!("protocol error ({})", error.code),
        ConnectionError::Reset => "the peer has restarted".to_owned(),
        ConnectionError::TimedOut => "the peer is silent".to_owned(),
        ConnectionError::LocallyClosed => "closed".to_owned(),
        ConnectionError::VersionMismatch => "the peer does not support QUIC version 1".to_owned(),
        ConnectionError::CidsExhausted => "out of connection ids".to_owned(),
    }
}
