//! The control stream: each side tells the other the address it sees (`docs/PROTOCOL.md`, control).

use std::time::Duration;

use bitchat_wire::{
    control::{check_len, decode, encode},
    proto::{self, control::Kind},
    stream::StreamKind,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::{Connection, Stream, TransportEvent, addr};

/// The control stream must be open, and its first message there, by then.
const DEADLINE: Duration = Duration::from_secs(10);
/// Addresses that a peer may tell us in the life of a connection; those after them are passed over.
const MAX_OBSERVED: usize = 16;

/// The server's wait for a control stream: how long a client may do without one.
pub(super) async fn missing() -> String {
    tokio::time::sleep(DEADLINE).await;
    "no control stream".to_owned()
}

/// The client's side, from opening the stream on. Ends only when the connection must.
pub(super) async fn open(connection: &Connection, events: &mpsc::Sender<TransportEvent>) -> String {
    match timeout(DEADLINE, connection.open(StreamKind::Control)).await {
        Ok(Ok(stream)) => speak(stream, connection, events).await,
        _ => "no control stream".to_owned(),
    }
}

/// Both sides, once the stream is open. Ends only when the connection must.
pub(super) async fn speak(
    stream: Stream,
    connection: &Connection,
    events: &mpsc::Sender<TransportEvent>,
) -> String {
    let Stream { mut send, mut recv } = stream;
    let observed = encode(&proto::Control {
        kind: Some(Kind::Observed(proto::Observed {
            address: addr::to_multiaddr(connection.remote()).into(),
        })),
    });
    // Both at once: a peer that gives us no room to write is still heard.
    let say = async {
        send.write_all(&observed)
            .await
            .map_err(|_| "the control stream broke")
    };
    let hear = hear(&mut recv, connection, events);
    match tokio::try_join!(say, hear) {
        Err(reason) => reason.to_owned(),
        Ok(((), never)) => match never {},
    }
}

async fn hear(
    recv: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
    events: &mpsc::Sender<TransportEvent>,
) -> Result<std::convert::Infallible, &'static str> {
    let mut told = Vec::new();
    let mut message = timeout(DEADLINE, read(recv))
        .await
        .map_err(|_| "silence on the control stream")??;
    loop {
        if let Some(Kind::Observed(observed)) = message {
            let address = addr::from_multiaddr(&observed.address)
                .ok_or("an observed address that is none")?;
            if told.len() < MAX_OBSERVED && !told.contains(&address) {
                told.push(address);
                let event = TransportEvent::Observed {
                    by: connection.peer(),
                    from: connection.remote(),
                    address,
                };
                events.send(event).await.map_err(|_| "nobody listens")?;
            }
        }
        message = read(recv).await?;
    }
}

/// One message; `None` for kinds of later versions.
async fn read(recv: &mut (impl AsyncRead + Unpin)) -> Result<Option<Kind>, &'static str> {
    let mut prefix = [0; 4];
    recv.read_exact(&mut prefix)
        .await
        .map_err(|_| "the control stream ended")?;
    let len = check_len(prefix).map_err(|_| "an oversized control message")?;
    let mut bytes = vec![0; len];
    recv.read_exact(&mut bytes)
        .await
        .map_err(|_| "the control stream ended")?;
    decode(&bytes).map_err(|_| "a malformed control message")
}
