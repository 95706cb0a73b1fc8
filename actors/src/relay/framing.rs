//! Reads and writes relay messages on streams.

use std::{io, time::Duration};

use bitchat_wire::{
    proto::relay::Kind,
    relay::{check_len, decode, encode},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long a response may take that the other side owes at once, or after one handshake of its own.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn write(io: &mut (impl AsyncWrite + Unpin), kind: Kind) -> io::Result<()> {
    io.write_all(&encode(kind)).await?;
    io.flush().await
}

/// Reads the next message, skipping unknown kinds. Not cancel-safe.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Kind> {
    loop {
        let mut prefix = [0; 4];
        io.read_exact(&mut prefix).await?;
        let malformed = |_| io::Error::from(io::ErrorKind::InvalidData);
        let mut bytes = vec![0; check_len(prefix).map_err(malformed)?];
        io.read_exact(&mut bytes).await?;
        if let Some(kind) = decode(&bytes).map_err(malformed)? {
            return Ok(kind);
        }
    }
}

/// Reads the next message, for at most [`ANSWER`]. Not cancel-safe.
pub(super) async fn read_soon(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Kind> {
    timeout(ANSWER, read(io))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
