//! The handshake over a stream: carries the bytes of the pure machine in `bitchat_wire::link`.

use std::time::Duration;

use bitchat_wire::link::{
    Established, HandshakeError, Initiator, Local, M1_LEN, M2_LEN, M3_LEN, Responder, TlsSide,
    link_tag, m1_tag,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::Registration;
use crate::transport::{Connection, Stream};

/// Time limit for a handshake.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// Time limit for the first message, which follows right behind the stream's header.
const FIRST_DEADLINE: Duration = Duration::from_secs(4);

/// Why a handshake failed. Its stream is reset with code 0, whatever the cause.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The connection or stream broke.
    #[error("no link: {0}")]
    Broken(#[from] std::io::Error),
    /// The other side's message was refused.
    #[error("refused: {0}")]
    Refused(#[from] HandshakeError),
    /// The tag matches none of our channels.
    #[error("not a channel of ours")]
    NoChannel,
    /// The stream was opened, but no first message arrived in time.
    #[error("no first message within 4 s")]
    Silent,
    /// The handshake did not end in time.
    #[error("no link within 10 s")]
    Late,
}

/// Runs the initiator's side.
pub(super) async fn initiate(
    connection: &Connection,
    stream: &mut Stream,
    reg: &Registration,
) -> Result<Established, Failure> {
    let (machine, m1) = Initiator::start(
        &reg.keys,
        connection.binding(),
        connection.side(),
        &mut rand::rng(),
    );
    stream.send.write_all(&m1).await?;
    stream.send.flush().await?;
    let mut m2 = Box::new([0; M2_LEN]);
    stream.recv.read_exact(m2.as_mut_slice()).await?;
    let (m3, established) = machine.finish(m2.as_slice(), local(reg), |peer| {
        reg.accept.allows(&peer.identity)
    })?;
    stream.send.write_all(&m3).await?;
    stream.send.flush().await?;
    Ok(established)
}

/// Runs the responder's side. `find` looks up the tag among our channels. `admit` waits for a place, which is held until
/// the end; only a peer that holds the key of a channel of ours gets that far.
pub(super) async fn respond<P>(
    connection: &Connection,
    stream: &mut Stream,
    find: impl Fn(&dyn Fn(&Registration) -> bool) -> Option<Registration> + Send,
    admit: impl Future<Output = P>,
) -> Result<(Registration, Established), Failure> {
    let mut m1 = Box::new([0; M1_LEN]);
    timeout(FIRST_DEADLINE, stream.recv.read_exact(m1.as_mut_slice()))
        .await
        .map_err(|_| Failure::Silent)??;
    let binding = connection.binding();
    let initiator = match connection.side() {
        TlsSide::Client => TlsSide::Server,
        TlsSide::Server => TlsSide::Client,
    };
    let tag = m1_tag(m1.as_slice()).ok_or(Failure::NoChannel)?;
    // The timing of this comparison reveals at most which prefix of a MAC over this very connection matches.
    let reg =
        find(&|reg| link_tag(&reg.keys, &binding, initiator) == tag).ok_or(Failure::NoChannel)?;
    let _place = admit.await;
    let (machine, m2) = Responder::start(
        &reg.keys,
        binding,
        initiator,
        m1.as_slice(),
        local(&reg),
        &mut rand::rng(),
    )?;
    stream.send.write_all(m2.as_slice()).await?;
    stream.send.flush().await?;
    let mut m3 = [0; M3_LEN];
    stream.recv.read_exact(&mut m3).await?;
    let established = machine.finish(&m3, local(&reg), |peer| reg.accept.allows(&peer.identity))?;
    Ok((reg, established))
}

fn local(reg: &Registration) -> Local<'_> {
    Local {
        device: &reg.local.key,
        certificate: &reg.local.certificate,
    }
}
