//! Hostile peers: a bare quinn client with any TLS it likes.

use std::sync::Arc;

use libp2p_identity::Keypair;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt, crypto::rustls::QuicClientConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::io::AsyncReadExt;

use super::*;
use crate::transport::{
    address::multiaddr,
    admission::RETRY_FROM,
    shared::HANDSHAKE_TIMEOUT,
    tls::{MismatchCell, Tls},
};

/// A client that may break any rule.
struct Stranger {
    endpoint: Endpoint,
    tls: rustls::ClientConfig,
}

impl Stranger {
    fn new() -> Self {
        let socket = std::net::UdpSocket::bind((V4, 0)).unwrap();
        let reset = aws_lc_rs_key();
        let runtime = Arc::new(TokioRuntime);
        let endpoint =
            Endpoint::new(EndpointConfig::new(Arc::new(reset)), None, socket, runtime).unwrap();
        let tls = Tls::new(None).unwrap();
        Self {
            endpoint,
            tls: tls.client(None, MismatchCell::default()).unwrap(),
        }
    }

    /// Ends once the other side has accepted or rejected us: TLS 1.3 lets a client finish before the server has judged
    /// it.
    async fn connect(&self, to: &Node) -> Result<quinn::Connection, quinn::ConnectionError> {
        let crypto = QuicClientConfig::try_from(self.tls.clone()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = self
            .endpoint
            .connect_with(config, to.address(), "127.0.0.1")
            .unwrap();
        within(connecting).await
    }

    async fn connected(&self, to: &Node) -> quinn::Connection {
        self.connect(to).await.unwrap()
    }

    async fn is_turned_away(&self, by: &Node) -> bool {
        match self.connect(by).await {
            Err(_) => true,
            Ok(connection) => {
                let end = within(connection.closed()).await;
                matches!(end, quinn::ConnectionError::ConnectionClosed(_))
            }
        }
    }
}

fn aws_lc_rs_key() -> ::aws_lc_rs::hmac::Key {
    ::aws_lc_rs::hmac::Key::new(::aws_lc_rs::hmac::HMAC_SHA256, &[1; 32])
}

async fn bystander(node: &mut Node) -> (Node, Connection) {
    let other = Node::start().await;
    let connection = other.dial(node).await;
    node.connected().await;
    (other, connection)
}

/// Asserts that `node` has reported nobody, and accepts an honest peer.
async fn assert_unharmed(node: &mut Node) {
    while let Ok(event) = node.events.try_recv() {
        assert!(!matches!(
            event,
            TransportEvent::Connected(_) | TransportEvent::Stream { .. }
        ));
    }
    let (other, connection) = bystander(node).await;
    assert!(!connection.is_closed());
    other.stop().await;
}

#[tokio::test]
async fn no_post_quantum_key_exchange_no_connection() {
    let mut node = Node::start().await;
    let mut stranger = Stranger::new();
    let classical = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    stranger.tls = rustls::ClientConfig::builder_with_provider(Arc::new(classical))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_client_cert_resolver(Arc::clone(&stranger.tls.client_auth_cert_resolver));
    stranger.tls.alpn_protocols = vec![b"h3".to_vec()];
    assert!(stranger.connect(&node).await.is_err());
    assert_unharmed(&mut node).await;
}

#[tokio::test]
async fn certificates_without_the_libp2p_extension_or_none_at_all_are_refused() {
    let mut node = Node::start().await;
    let mut stranger = Stranger::new();
    let provider = Arc::clone(stranger.tls.crypto_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anything))
    };
    stranger.tls = builder().with_no_client_auth();
    stranger.tls.alpn_protocols = vec![b"h3".to_vec()];
    assert!(stranger.is_turned_away(&node).await);

    let (plain, key) = plain_certificate();
    let key = aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
    let plain = rustls::sign::CertifiedKey::new(vec![plain], key);
    let plain = rustls::sign::SingleCertAndKey::from(plain);
    stranger.tls = builder().with_client_cert_resolver(Arc::new(plain));
    stranger.tls.alpn_protocols = vec![b"h3".to_vec()];
    assert!(stranger.is_turned_away(&node).await, "no libp2p extension");

    // The signature by the libp2p key covers another certificate's key.
    let (ours, _) = libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let (_, key) = libp2p_tls::certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let key = aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(vec![ours], key);
    let stolen = rustls::sign::SingleCertAndKey::from(stolen);
    stranger.tls = builder().with_client_cert_resolver(Arc::new(stolen));
    stranger.tls.alpn_protocols = vec![b"h3".to_vec()];
    assert!(
        stranger.is_turned_away(&node).await,
        "a certificate is not its key"
    );

    stranger.tls = Stranger::new().tls;
    stranger.tls.alpn_protocols = vec![b"another".to_vec()];
    assert!(stranger.connect(&node).await.is_err(), "another protocol");
    assert_unharmed(&mut node).await;
}

#[tokio::test]
async fn a_server_that_is_no_node_is_refused() {
    let a = Node::start().await;
    let socket = std::net::UdpSocket::bind((V4, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (certificate, key) = plain_certificate();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let server = Endpoint::new(
        EndpointConfig::new(Arc::new(aws_lc_rs_key())),
        Some(quinn::ServerConfig::with_crypto(Arc::new(crypto))),
        socket,
        Arc::new(TokioRuntime),
    )
    .unwrap();
    let serving = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move { incoming.await.map(|_| ()) });
        }
    });
    let end = a.transport.dial(address, None).await;
    assert!(matches!(
        end.unwrap_err(),
        crate::transport::DialError::Refused(_)
    ));
    serving.abort();
}

#[tokio::test]
async fn a_peer_that_breaks_control_loses_that_connection_only() {
    let mut node = Node::start().await;
    let (_other, honest) = bystander(&mut node).await;
    let observed = |address: &[u8]| {
        let address = address.to_vec().into();
        let port = 4001;
        let kind = bitchat_wire::proto::control::Kind::Observed(bitchat_wire::proto::Observed {
            address,
            port,
        });
        bitchat_wire::control::encode(&bitchat_wire::proto::Control { kind: Some(kind) })
    };
    let good = observed(&multiaddr::to_multiaddr("192.0.2.1:1".parse().unwrap()));
    let cases: [(&str, Vec<Vec<u8>>); 6] = [
        ("oversized", vec![vec![0, 0, 0x10, 1]]),
        ("huge", vec![vec![255; 4]]),
        ("no protobuf", vec![vec![0, 0, 0, 2, 0xff, 0xff]]),
        ("no address", vec![observed(&[1, 2, 3])]),
        ("good, then bad", vec![good.clone(), vec![255; 4]]),
        ("ended", vec![]),
    ];
    for (name, messages) in cases {
        let stranger = Stranger::new();
        let connection = stranger.connected(&node).await;
        node.connected().await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&StreamKind::Control.header()).await.unwrap();
        for message in &messages {
            send.write_all(message).await.unwrap();
        }
        if messages.is_empty() {
            send.finish().unwrap();
        }
        let end = within(connection.closed()).await;
        assert_eq!(code(&end), Some(0), "{name}: {end}");
        node.closed().await;
    }
    // A second control stream.
    let stranger = Stranger::new();
    let connection = stranger.connected(&node).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&StreamKind::Control.header()).await.unwrap();
        send.write_all(&good).await.unwrap();
        streams.push((send, recv));
    }
    assert_eq!(code(&within(connection.closed()).await), Some(0));
    assert_eq!(node.closed().await, "a second control stream");
    assert!(!honest.is_closed());
}

#[tokio::test]
async fn unknown_streams_are_reset_and_the_connection_goes_on() {
    let mut node = Node::start().await;
    let stranger = Stranger::new();
    let connection = stranger.connected(&node).await;
    node.connected().await;
    for header in [[0, 0], [2, 9], [200, 1]] {
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&header).await.unwrap();
        let end = within(recv.read_u8()).await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(
            within(send.stopped()).await.unwrap(),
            Some(VarInt::from_u32(0))
        );
    }
    // Headers that never arrive hold up a bounded number of streams, and no other connection.
    let mut silent = Vec::new();
    for _ in 0..40 {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[2]).await.unwrap();
        silent.push((send, recv));
    }
    assert!(connection.close_reason().is_none());
    let (other, _) = bystander(&mut node).await;
    drop(other);
    assert!(
        within(connection.accept_uni()).await.is_err(),
        "it never opened control"
    );
}

#[tokio::test]
async fn junk_on_the_socket_disturbs_nobody() {
    let mut node = Node::start().await;
    let (other, connection) = bystander(&mut node).await;
    let flood = std::net::UdpSocket::bind((V4, 0)).unwrap();
    let mut junk = [0_u8; 1_200];
    for round in 0..20_000_u32 {
        rand::Rng::fill_bytes(&mut rand::rng(), &mut junk);
        // A third look like short packets, a third like first ones.
        match round % 3 {
            0 => junk[0] = 0x40 | (junk[0] & 0x3f),
            1 => junk[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]),
            _ => {}
        }
        let len = if round % 2 == 0 {
            1_200
        } else {
            round as usize % 1_200
        };
        let _ = flood.send_to(&junk[..len], node.address());
        if round % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut stream = connection.open(StreamKind::Link).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream.send, b"well")
        .await
        .unwrap();
    let (_, mut theirs) = node.stream().await;
    let mut word = [0; 4];
    within(theirs.recv.read_exact(&mut word)).await.unwrap();
    other.stop().await;
    assert_unharmed(&mut node).await;
}

#[tokio::test]
async fn half_open_handshakes_are_bounded_and_evict_nobody() {
    let mut node = Node::start().await;
    let (_other, honest) = bystander(&mut node).await;
    // Each first flight reaches the node, and no answer reaches its sender, as if its address were forged.
    let trap = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
    let mut forged = Vec::new();
    for _ in 0..RETRY_FROM + 8 {
        let stranger = Stranger::new();
        let crypto = QuicClientConfig::try_from(stranger.tls.clone()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = stranger
            .endpoint
            .connect_with(config, trap.local_addr().unwrap(), "127.0.0.1")
            .unwrap();
        let sender = std::net::UdpSocket::bind((V4, 0)).unwrap();
        let mut packet = [0; 1_500];
        // X25519MLKEM768 makes a first flight of two packets.
        for _ in 0..2 {
            let len = within(trap.recv(&mut packet)).await.unwrap();
            sender.send_to(&packet[..len], node.address()).unwrap();
        }
        forged.push((stranger, connecting, sender));
    }
    let retries = async || {
        let metrics = node.scope.metrics().encode();
        metrics.contains("bitchat_transport_incoming_total{end=\"retry\"}")
    };
    until(retries).await;
    // A peer that can answer a Retry is accepted all the same.
    let peer = Node::start().await;
    let begin = std::time::Instant::now();
    peer.dial(&node).await;
    node.connected().await;
    assert!(
        begin.elapsed() < HANDSHAKE_TIMEOUT,
        "the forged ones still pend"
    );
    assert!(!honest.is_closed());
    assert_eq!(node.transport.connections().await.len(), 2);
    node.stop().await;
}

fn code(end: &quinn::ConnectionError) -> Option<u64> {
    match end {
        quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

/// A self-signed P-256 certificate, as any web server has: without the libp2p extension.
fn plain_certificate() -> (
    rustls::pki_types::CertificateDer<'static>,
    rustls::pki_types::PrivateKeyDer<'static>,
) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    (certificate.into(), key.into())
}

/// Accepts every server.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
