//! The race of carriers to one address.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use tokio::time::Instant;

use crate::transport::{
    api::DialError, connection::Connection, quic::connect, shared::Shared, tcp,
};

/// The head start after a sign that QUIC gets through, which may be misleading.
const SIGN_HEAD_START: Duration = Duration::from_secs(4);

pub(crate) type Attempt = BoxFuture<'static, Result<Connection, DialError>>;

/// Tries QUIC, `punch` beside it, and TCP if no QUIC packet has come back for a while. If TCP wins, the unfinished QUIC
/// attempt is returned, too. With `signs`, packets from that address count as answers.
pub(crate) async fn race(
    address: SocketAddr,
    expected: Option<PeerId>,
    mut punch: Option<Attempt>,
    shared: &Arc<Shared>,
    signs: bool,
) -> Result<(Connection, Option<Attempt>), DialError> {
    if let Some(proxy) = &shared.proxy {
        let connection = tcp::connect_through(proxy, address, expected, shared).await?;
        return Ok((connection, None));
    }
    if !shared.paths.quic {
        let tcp = tcp::connect(address, expected, shared);
        let connection = tokio::select! {
            biased;
            Ok(connection) = settled(&mut punch) => connection,
            end = tcp => end?,
        };
        return Ok((connection, None));
    }
    let seen = shared.sorter.expect(address);
    let mut quic: Option<Attempt> = Some(connect(address, expected, Arc::clone(shared)).boxed());
    let mut tcp: Option<Attempt> = None;
    let mut failure = DialError::TimedOut;
    let mut head_start = std::pin::pin!(tokio::time::sleep(shared.pace.head_start()));
    let (mut answered, mut tcp_tried) = (!signs, !shared.paths.tcp);
    let mut answered_by_quic = false;
    loop {
        tokio::select! {
            biased;
            end = settled(&mut quic) => match end {
                Ok(connection) => return Ok((connection, None)),
                // Only silence leaves open what TCP would find.
                Err(DialError::TimedOut) => head_start.as_mut().reset(Instant::now()),
                Err(error) => return Err(error),
            },
            () = seen.packet(), if !answered => {
                (answered, answered_by_quic) = (true, true);
                (tcp, tcp_tried) = (None, !shared.paths.tcp);
                head_start.as_mut().reset(Instant::now() + SIGN_HEAD_START);
            }
            () = &mut head_start, if !tcp_tried => {
                tcp_tried = true;
                let shared = Arc::clone(shared);
                let attempt = async move { tcp::connect(address, expected, &shared).await };
                tcp = Some(attempt.boxed());
            }
            end = settled(&mut punch) => match end {
                Ok(connection) => return Ok((connection, None)),
                // Nobody forwarded it; the other attempts may succeed.
                Err(DialError::TimedOut | DialError::Busy) => {}
                // TCP would have answered by now.
                Err(error) if !answered_by_quic => return Err(error),
                Err(_) => {}
            },
            end = settled(&mut tcp) => match end {
                Ok(connection) => {
                    if quic.is_some() && !answered_by_quic {
                        shared.nat(|nat| nat.only_tcp(address.ip()));
                    }
                    return Ok((connection, quic));
                }
                Err(error) => failure = error,
            },
        }
        if quic.is_none() && tcp.is_none() && punch.is_none() && tcp_tried {
            return Err(failure);
        }
    }
}

/// The result of an attempt, which is then cleared; waits for ever without one.
async fn settled(attempt: &mut Option<Attempt>) -> Result<Connection, DialError> {
    let Some(running) = attempt else {
        return std::future::pending().await;
    };
    let end = running.await;
    *attempt = None;
    end
}
