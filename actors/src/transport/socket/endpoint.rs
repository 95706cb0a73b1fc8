//! QUIC endpoints: their settings and connection ids.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, IdleTimeout, Runtime, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::RngExt;
use zeroize::Zeroizing;

use crate::transport::{
    admission::MAX_INCOMING,
    tls::{MismatchCell, Tls},
};

/// An idle connection sends a keep-alive this often: UDP mappings of most NATs live at least 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A peer silent for this long is gone: two keep-alives may be lost.
const IDLE_MS: u32 = 60_000;
/// Streams that a peer may have open on a connection: control, and a link or file for each of many channels.
const MAX_STREAMS: u32 = 64;
/// The same at the beginning: quinn allocates each allowed stream, and most peers open two.
const FIRST_STREAMS: u32 = 14;
/// The peer's stream, counted from 0, that raises its limit to [`MAX_STREAMS`].
const MORE_STREAMS_AT: u64 = 7;
/// What a peer may send unread on one stream: 80 Mbit/s at a round-trip time of 100 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// What a peer may send unread on all streams of a connection: the memory that it can pin.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Data kept for a peer that does not acknowledge.
const SEND_WINDOW: u64 = 4 << 20;
/// First packets that await our verdict, which is immediate: they queue only in a flood.
const MAX_UNJUDGED: usize = MAX_INCOMING;
/// Data kept of a handshake before the verdict: its first flight is two or three packets.
const UNJUDGED_BYTES: u64 = 16 << 10;
/// The same for all handshakes together.
const UNJUDGED_BYTES_ALL: u64 = 2 << 20;
/// QUIC version 1 (RFC 9000); earlier drafts are not supported.
const QUIC_V1: u32 = 1;

/// The transport settings of every connection, on both sides.
fn transport_config() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(FIRST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW);
    Arc::new(config)
}

/// Raises the stream limit of a peer that uses its streams. Called for each stream that it opens, in order.
pub(crate) fn more_streams(connection: &quinn::Connection, opened: quinn::StreamId) {
    if opened.index() == MORE_STREAMS_AT {
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_STREAMS));
    }
}

/// The client configuration of one dial.
pub(crate) fn client_config(
    tls: &Tls,
    expected: Option<libp2p_identity::PeerId>,
    mismatch: MismatchCell,
) -> io::Result<quinn::ClientConfig> {
    let tls = tls.client(expected, mismatch).map_err(io::Error::other)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    Ok(config)
}

fn server_config(tls: &Tls) -> io::Result<quinn::ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls.server().map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport_config())
        .migration(true)
        .max_incoming(MAX_UNJUDGED)
        .incoming_buffer_size(UNJUDGED_BYTES)
        .incoming_buffer_size_total(UNJUDGED_BYTES_ALL);
    Ok(config)
}

/// Creates an endpoint on a bound socket. `reset_key` belongs to the profile; each local address derives keys of its
/// own, or a packet to one socket could make it reset a connection of another (RFC 9000, section 21.11).
pub(crate) fn endpoint(
    tls: &Tls,
    reset_key: &[u8; 64],
    socket: Arc<dyn AsyncUdpSocket>,
    runtime: Arc<dyn Runtime>,
) -> io::Result<Endpoint> {
    let ip = socket.local_addr()?.ip();
    let cid_key = derive(reset_key, b"connection id", ip);
    let mut config = EndpointConfig::new(Arc::new(derive(reset_key, b"stateless reset", ip)));
    config
        .grease_quic_bit(false)
        .supported_versions(vec![QUIC_V1])
        .cid_generator(move || {
            Box::new(KeyedIds {
                key: cid_key.clone(),
            })
        });
    Endpoint::new_with_abstract_socket(config, Some(server_config(tls)?), socket, runtime)
}

fn derive(reset_key: &[u8; 64], label: &[u8], ip: IpAddr) -> hmac::Key {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, reset_key));
    context.update(b"bitchat/1 ");
    context.update(label);
    context.update(b"\0");
    match ip {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(context.sign().as_ref());
    hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
}

/// Random bytes of a connection id.
const ID_NONCE: usize = 4;
/// Length of a connection id; the bytes that are not random are their MAC.
const ID_LEN: usize = 8;
/// Set in the first byte of every connection id. That is the second byte of a short packet, where KRPC has an ASCII
/// digit, so the two can be distinguished on a shared port.
const ID_MARK: u8 = 0x80;

/// Connection ids that a restarted node recognises as its own, so that it answers them, and only them, with a stateless
/// reset.
struct KeyedIds {
    key: hmac::Key,
}

impl KeyedIds {
    fn complete(&self, nonce: [u8; ID_NONCE]) -> [u8; ID_LEN] {
        let mut id = [0; ID_LEN];
        id[..ID_NONCE].copy_from_slice(&nonce);
        let mac = hmac::sign(&self.key, &nonce);
        id[ID_NONCE..].copy_from_slice(&mac.as_ref()[..ID_LEN - ID_NONCE]);
        id
    }
}

impl ConnectionIdGenerator for KeyedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce: [u8; ID_NONCE] = rand::rng().random();
        nonce[0] |= ID_MARK;
        ConnectionId::new(&self.complete(nonce))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let nonce = id.first_chunk::<ID_NONCE>().ok_or(InvalidCid)?;
        verify_slices_are_equal(&self.complete(*nonce), id).map_err(|_| InvalidCid)
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
