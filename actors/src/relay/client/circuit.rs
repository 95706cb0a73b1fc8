//! Circuits: to a peer through a relay, and from a peer through a relay to this node.

use std::{io, sync::Arc};

use bitchat_wire::{
    link::TlsSide,
    proto::{self, refused::Reason, relay::Kind},
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::sync::Semaphore;

use crate::{
    relay::framing,
    transport::{Adoption, Connection, DialError, Relay, Stream, Transport},
};

/// Circuits of others to this node whose TLS handshake is in progress.
const INCOMING: usize = 16;

/// The permits of incoming circuits in their handshake.
pub(in crate::relay) fn incoming() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(INCOMING))
}

/// Opens a circuit to a peer, and TLS over it.
pub(in crate::relay) async fn dial(
    transport: &Transport,
    relay: Relay,
    peer: PeerId,
) -> Result<Connection, DialError> {
    if peer == transport.peer_id() {
        return Err(DialError::Ourselves);
    }
    if !transport.paths().relay {
        return Err(DialError::Forbidden);
    }
    let connection = transport.dial(relay.address, Some(relay.peer)).await?;
    let asked = async {
        let mut stream = connection.open(StreamKind::RelayHop).await?;
        let connect = Kind::Connect(proto::Connect {
            peer: peer.to_bytes().into(),
        });
        framing::write(&mut stream.send, connect).await?;
        let answer = framing::read(&mut stream.recv).await?;
        io::Result::Ok((stream, answer))
    };
    // The relay waits as long for the other side's answer.
    let stream = match tokio::time::timeout(framing::ANSWER, asked).await {
        Ok(Ok((stream, Kind::Accepted(_)))) => stream,
        Ok(Ok((_, Kind::Refused(refused)))) => {
            return Err(DialError::Refused(describe(refused.reason()).to_owned()));
        }
        Ok(Ok(_)) => return Err(DialError::Refused("that is not a relay".to_owned())),
        Ok(Err(_)) => return Err(DialError::Refused("the relay closed the stream".to_owned())),
        Err(_) => return Err(DialError::TimedOut),
    };
    let adoption = Adoption {
        io: Box::new(tokio::io::join(stream.recv, stream.send)),
        side: TlsSide::Client,
        expected: Some(peer),
        relay,
    };
    transport.adopt(adoption).await
}

fn describe(reason: Reason) -> &'static str {
    match reason {
        Reason::NotForYou => "the relay does not serve us",
        Reason::Full => "the relay is full",
        Reason::NoReservation => "the peer has no reservation at that relay",
        Reason::NoAnswer => "the peer does not answer at that relay",
        Reason::Stopping => "the relay is stopping",
        Reason::Unspecified => "the relay refuses",
    }
}

/// Accepts a circuit of a peer that wants to reach this node.
pub(in crate::relay) async fn accept(
    transport: &Transport,
    relay: Relay,
    mut stream: Stream,
) -> io::Result<()> {
    let Kind::Incoming(incoming) = framing::read_soon(&mut stream.recv).await? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let peer = PeerId::from_bytes(&incoming.peer).map_err(io::Error::other)?;
    framing::write(&mut stream.send, Kind::Accepted(proto::Accepted {})).await?;
    let adoption = Adoption {
        io: Box::new(tokio::io::join(stream.recv, stream.send)),
        side: TlsSide::Server,
        expected: Some(peer),
        relay,
    };
    transport
        .adopt(adoption)
        .await
        .map(drop)
        .map_err(io::Error::other)
}
