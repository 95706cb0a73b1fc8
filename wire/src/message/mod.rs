//! Messages inside a link: protobuf `LinkMessage`, one per frame, with hard caps (`docs/PROTOCOL.md`, messages).
//!
//! [`decode`] returns a message only if everything in it is within the caps below; code that builds
//! messages keeps to the same constants. Three steps bound what a hostile message costs: its length,
//! the number of its fields before anything is allocated ([`budget`]), and the meaning of each field.

mod budget;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    event::{HEADER_LEN, MAX_BODY, SEQ_LIMIT},
    link::MAX_MESSAGE,
    proto::{self, link_message::Kind, rekey::Step},
};

/// Maximum number of protocol versions in a `hello`.
pub const MAX_VERSIONS: usize = 16;
/// Maximum length of a `hello`'s agent, in bytes.
pub const MAX_AGENT: usize = 64;
/// Maximum number of linked members in one `peers`.
pub const MAX_LINKED: usize = 128;
/// Maximum number of devices in one `peers` that are no longer linked.
pub const MAX_UNLINKED: usize = 1_024;
/// Maximum number of addresses of one member in `peers`.
pub const MAX_ADDRESSES: usize = 8;
/// Maximum length of a binary multiaddr, in bytes.
pub const MAX_ADDRESS: usize = 128;
/// Maximum length of a PeerId, in bytes.
pub const MAX_PEER_ID: usize = 64;
/// Maximum number of claims in one `have` or `ack`.
pub const MAX_CLAIMS: usize = 1_024;
/// Length of the event id prefix in a claim, in bytes.
pub const CLAIM_HEAD_LEN: usize = 16;
/// Maximum number of ranges in one `want`.
pub const MAX_RANGES: usize = 64;
/// Maximum number of events in one `events`.
pub const MAX_EVENTS: usize = 256;
/// Maximum size of one event, in bytes.
pub const MAX_EVENT: usize = HEADER_LEN + MAX_BODY;
/// Maximum number of ids in one `ids`.
pub const MAX_IDS: usize = 256;

const KEY_LEN: usize = 32;
const SIGNATURE_LEN: usize = 64;
/// Length of an X25519 public key, in bytes.
const DH_LEN: usize = 32;
/// Length of an ML-KEM-768 encapsulation key, in bytes.
const KEM_LEN: usize = 1_184;
/// Length of an ML-KEM-768 ciphertext, in bytes.
const CIPHERTEXT_LEN: usize = 1_088;

/// Why a message was refused. Any of these ends the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is longer than {MAX_MESSAGE}")]
    TooLong(usize),
    /// Not valid protobuf, or of types that differ from the schema's.
    #[error("not protobuf, or not of the schema's types")]
    Malformed,
    /// More entries than the cap allows.
    #[error("more than {max} {what}")]
    TooMany {
        /// The kind of entry.
        what: &'static str,
        /// The maximum number of entries.
        max: usize,
    },
    /// A field has an invalid length.
    #[error("{what} of {len} bytes")]
    BadLength {
        /// The field.
        what: &'static str,
        /// Its length, in bytes.
        len: usize,
    },
    /// A number, or a pair of numbers, is out of range.
    #[error("{0} out of range")]
    BadRange(&'static str),
    /// A required field is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// Encodes a message, to at most [`MAX_MESSAGE`] bytes if the caller kept within the caps.
pub fn encode(kind: Kind) -> Vec<u8> {
    proto::LinkMessage { kind: Some(kind) }.encode_to_vec()
}

/// Decodes a message and checks every cap. `Ok(None)` means a kind that this program does not know, to be ignored.
pub fn decode(bytes: &[u8]) -> Result<Option<Kind>, MessageError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(MessageError::TooLong(bytes.len()));
    }
    budget::check(bytes)?;
    let message = proto::LinkMessage::decode(bytes).map_err(|_| MessageError::Malformed)?;
    let Some(kind) = message.kind else {
        return Ok(None);
    };
    match &kind {
        Kind::Hello(hello) => {
            at_most(hello.versions.len(), MAX_VERSIONS, "versions")?;
            within(hello.agent.len(), 0, MAX_AGENT, "an agent")?;
            if hello.listen_port > u32::from(u16::MAX) {
                return Err(MessageError::BadRange("a port"));
            }
        }
        Kind::Peers(peers) => check_peers(peers)?,
        Kind::Have(have) => check_claims(&have.claims)?,
        Kind::Ack(ack) => check_claims(&ack.claims)?,
        Kind::Want(want) => {
            at_most(want.ranges.len(), MAX_RANGES, "ranges")?;
            for range in &want.ranges {
                exact(&range.device, KEY_LEN, "a device")?;
                if range.from >= range.to || range.to > SEQ_LIMIT {
                    return Err(MessageError::BadRange("a range"));
                }
            }
        }
        Kind::Events(events) => {
            at_most(events.events.len(), MAX_EVENTS, "events")?;
            events.events.iter().try_for_each(check_event)?;
        }
        Kind::Ids(ids) => {
            exact(&ids.device, KEY_LEN, "a device")?;
            at_most(ids.ids.len(), MAX_IDS, "ids")?;
            ids.ids
                .iter()
                .try_for_each(|id| exact(id, KEY_LEN, "an event id"))?;
            if ids.from > SEQ_LIMIT - ids.ids.len() as u64 {
                return Err(MessageError::BadRange("ids"));
            }
        }
        Kind::Fork(fork) => {
            for event in [&fork.a, &fork.b] {
                check_event(
                    event
                        .as_ref()
                        .ok_or(MessageError::Missing("an event of a fork"))?,
                )?;
            }
        }
        Kind::Rekey(rekey) => match &rekey.step {
            // A step of a later version.
            None => return Ok(None),
            Some(step) => check_step(step)?,
        },
        Kind::Typing(_)
        | Kind::Ping(_)
        | Kind::Pong(_)
        | Kind::Invite(_)
        | Kind::File(_)
        | Kind::Call(_)
        | Kind::Bye(_) => {}
    }
    Ok(Some(kind))
}

fn check_peers(peers: &proto::Peers) -> Result<(), MessageError> {
    at_most(peers.linked.len(), MAX_LINKED, "linked members")?;
    at_most(peers.unlinked.len(), MAX_UNLINKED, "unlinked devices")?;
    for peer in &peers.linked {
        exact(&peer.device, KEY_LEN, "a device")?;
        exact(&peer.identity, KEY_LEN, "an identity")?;
        within(peer.peer_id.len(), 0, MAX_PEER_ID, "a PeerId")?;
        at_most(peer.addresses.len(), MAX_ADDRESSES, "addresses of a member")?;
        for address in &peer.addresses {
            within(address.len(), 1, MAX_ADDRESS, "an address")?;
        }
    }
    peers
        .unlinked
        .iter()
        .try_for_each(|device| exact(device, KEY_LEN, "a device"))
}

fn check_claims(claims: &[proto::Claim]) -> Result<(), MessageError> {
    at_most(claims.len(), MAX_CLAIMS, "claims")?;
    for claim in claims {
        exact(&claim.device, KEY_LEN, "a device")?;
        exact(
            &claim.head,
            if claim.next == 0 { 0 } else { CLAIM_HEAD_LEN },
            "a head",
        )?;
        if claim.floor > claim.next || claim.next > SEQ_LIMIT {
            return Err(MessageError::BadRange("a claim"));
        }
    }
    Ok(())
}

fn check_event(event: &proto::SignedEvent) -> Result<(), MessageError> {
    within(event.event.len(), HEADER_LEN, MAX_EVENT, "an event")?;
    exact(&event.signature, SIGNATURE_LEN, "a signature")
}

fn check_step(step: &Step) -> Result<(), MessageError> {
    match step {
        Step::Please(_) | Step::Go(_) => Ok(()),
        Step::Init(init) => {
            exact(&init.dh, DH_LEN, "a public key")?;
            exact(&init.kem, KEM_LEN, "an encapsulation key")
        }
        Step::Resp(resp) => {
            exact(&resp.dh, DH_LEN, "a public key")?;
            exact(&resp.ciphertext, CIPHERTEXT_LEN, "a ciphertext")?;
            exact(&resp.signature, SIGNATURE_LEN, "a signature")
        }
        Step::Done(done) => exact(&done.signature, SIGNATURE_LEN, "a signature"),
    }
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), MessageError> {
    if count > max {
        Err(MessageError::TooMany { what, max })
    } else {
        Ok(())
    }
}

fn within(len: usize, min: usize, max: usize, what: &'static str) -> Result<(), MessageError> {
    if (min..=max).contains(&len) {
        Ok(())
    } else {
        Err(MessageError::BadLength { what, len })
    }
}

fn exact(bytes: &Bytes, len: usize, what: &'static str) -> Result<(), MessageError> {
    within(bytes.len(), len, len, what)
}

#[cfg(test)]
mod tests;
