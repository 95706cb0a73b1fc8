//! TLS 1.3 between nodes: both sides present a libp2p certificate of their ephemeral key (`docs/PROTOCOL.md`,
//! connections; libp2p specification, TLS handshake).
//!
//! Nothing is installed process-wide: the crypto provider belongs to this transport.

use std::sync::{Arc, OnceLock};

use libp2p_identity::{Keypair, PeerId};
use libp2p_tls::certificate;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider,
        aws_lc_rs::{cipher_suite, default_provider, kx_group, sign::any_ecdsa_type},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};

/// What an observer sees most often on UDP port 443; both sides must offer it.
const ALPN: &[u8] = b"h3";
/// The same for TCP.
const ALPN_TCP: &[u8] = b"h2";

/// Accepted signature schemes: P-256, which libp2p uses, and two more that cost little.
const SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];

/// Our TLS identity, used in all handshakes of one run.
pub(crate) struct Tls {
    peer: PeerId,
    provider: Arc<CryptoProvider>,
    certificate: Arc<SingleCertAndKey>,
}

/// Why our verifier rejected a peer, where TLS alerts are too coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The peer is ourselves.
    Ourselves,
    /// The peer is not the expected one.
    OtherPeer,
}

/// Where one dial's verifier leaves its reason.
pub(crate) type MismatchCell = Arc<OnceLock<Mismatch>>;

impl Tls {
    /// A certificate for that key, or for a new ephemeral one. The key itself is not needed any more and is not kept.
    pub(crate) fn new(kept: Option<&Keypair>) -> Result<Self, Error> {
        let keypair = kept.cloned().unwrap_or_else(Keypair::generate_ed25519);
        let (certificate, key) =
            certificate::generate(&keypair).map_err(|e| Error::General(e.to_string()))?;
        let certified = CertifiedKey::new(vec![certificate], any_ecdsa_type(&key)?);
        Ok(Self {
            peer: keypair.public().to_peer_id(),
            provider: Arc::new(provider()),
            certificate: Arc::new(SingleCertAndKey::from(certified)),
        })
    }

    /// Our PeerId.
    pub(crate) fn peer(&self) -> PeerId {
        self.peer
    }

    /// The client configuration of one dial: accepts only `expected`, if given, and never ourselves.
    pub(crate) fn client(
        &self,
        expected: Option<PeerId>,
        mismatch: MismatchCell,
    ) -> Result<rustls::ClientConfig, Error> {
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(expected, mismatch))
            .with_client_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        Ok(config)
    }

    /// The server configuration for incoming QUIC connections.
    pub(crate) fn server(&self) -> Result<rustls::ServerConfig, Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(self.verifier(None, MismatchCell::default()))
            .with_cert_resolver(Arc::clone(&self.certificate) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Resumption would link connections to each other, and skip the certificates.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// As [`Tls::client`], for TCP.
    pub(crate) fn client_tcp(
        &self,
        expected: Option<PeerId>,
        mismatch: MismatchCell,
    ) -> Result<rustls::ClientConfig, Error> {
        let mut config = self.client(expected, mismatch)?;
        config.alpn_protocols = vec![ALPN_TCP.to_vec()];
        Ok(config)
    }

    /// As [`Tls::server`], for TCP.
    pub(crate) fn server_tcp(&self) -> Result<rustls::ServerConfig, Error> {
        let mut config = self.server()?;
        config.alpn_protocols = vec![ALPN_TCP.to_vec()];
        Ok(config)
    }

    fn verifier(&self, expected: Option<PeerId>, mismatch: MismatchCell) -> Arc<Verifier> {
        Arc::new(Verifier {
            ours: self.peer,
            expected,
            mismatch,
        })
    }
}

/// The peer whose certificate the other end has proven to hold.
pub(crate) fn peer_of(certificates: &[CertificateDer<'_>]) -> Result<PeerId, Error> {
    let [certificate] = certificates else {
        return Err(Error::General("not exactly one certificate".to_owned()));
    };
    parse(certificate).map(|parsed| parsed.peer_id())
}

/// The crypto provider. AES-128-GCM is included for QUIC's Initial packets, which must use it (RFC 9001, section 5.2).
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..default_provider()
    }
}

/// Checks validity, the certificate's signature by its own key, and that key's signature by the libp2p key.
fn parse<'a>(
    certificate: &'a CertificateDer<'a>,
) -> Result<certificate::P2pCertificate<'a>, Error> {
    certificate::parse(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

#[derive(Debug)]
struct Verifier {
    ours: PeerId,
    expected: Option<PeerId>,
    mismatch: MismatchCell,
}

impl Verifier {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        if !intermediates.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let peer = parse(certificate)?.peer_id();
        let mismatch = if peer == self.ours {
            Mismatch::Ourselves
        } else if self.expected.is_some_and(|expected| expected != peer) {
            Mismatch::OtherPeer
        } else {
            return Ok(());
        };
        // Set once: where this is read, the verifier serves a single handshake.
        let _ = self.mismatch.set(mismatch);
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn check_signature(
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if !SCHEMES.contains(&signed.scheme) {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        parse(certificate)?
            .verify_signature(signed.scheme, message, signed.signature())
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadSignature))?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

/// Rejects TLS 1.2 signatures. That version is not offered, so this is never reached.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not supported".to_owned()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}
