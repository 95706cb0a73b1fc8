//! The floor: raw quinn with the same TLS provider, key exchange and cipher suite, without any protocol on top.

use std::{net::Ipv4Addr, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use quinn::{
    ClientConfig, Connection, Endpoint, ServerConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::PrivateKeyDer,
};

fn provider() -> Arc<CryptoProvider> {
    let all = aws_lc_rs::default_provider();
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
        ..all
    })
}

/// Endpoints that trust one certificate.
pub(crate) struct Floor {
    server: ServerConfig,
    client: ClientConfig,
}

impl Floor {
    pub(crate) fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
        let certificate = made.cert.der().clone();
        let key =
            PrivateKeyDer::try_from(made.key_pair.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut server = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)?;
        server.alpn_protocols = vec![b"h3".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h3".to_vec()];
        Ok(Self {
            server: ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?)),
            client: ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?)),
        })
    }

    /// An endpoint that accepts connections and echoes every stream's 100-byte messages.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let mut endpoint = Endpoint::server(self.server.clone(), (Ipv4Addr::LOCALHOST, 0).into())?;
        endpoint.set_default_client_config(self.client.clone());
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else {
                        return;
                    };
                    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                        tokio::spawn(async move {
                            let mut message = [0; 100];
                            while recv.read_exact(&mut message).await.is_ok()
                                && send.write_all(&message).await.is_ok()
                            {
                            }
                        });
                    }
                });
            }
        });
        Ok(endpoint)
    }

    pub(crate) async fn connect(from: &Endpoint, to: &Endpoint) -> Result<Connection> {
        Ok(from.connect(to.local_addr()?, "localhost")?.await?)
    }

    /// Measures round trips of 100 bytes, in seconds each.
    pub(crate) async fn round_trips(connection: &Connection, count: usize) -> Result<Vec<f64>> {
        let (mut send, mut recv) = connection.open_bi().await?;
        let mut message = [7; 100];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begin = Instant::now();
            send.write_all(&message).await?;
            recv.read_exact(&mut message)
                .await
                .context("the echo ended")?;
            times.push(begin.elapsed().as_secs_f64());
        }
        Ok(times)
    }
}
