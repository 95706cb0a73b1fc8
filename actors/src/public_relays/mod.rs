//! Public relays: announces this node if it is one, and finds others while this node needs some (`docs/PROTOCOL.md`,
//! public relays). Both happen under hashes that everybody knows, at trackers and in the DHT.
//!
//! **Owns** one pure state ([`state`]) that decides when to look, which of the found addresses to try, and which to hand to
//! the relays' actor. Strangers name addresses and nothing else: few are tried, one after the other, and a peer that
//! answers counts as a relay only once it has granted a reservation. Members and relays of channel files are preferred.
//! **Mailbox**: the responses of trackers, bounded. Whether relays are needed comes from the relays' actor.
//! **Life**: the search ([`actor`]) is permanent; a new life forgets what was found and starts over. The announcer
//! ([`announce`]) is a transient task: its failure costs the announces and nothing else.
//!
//! Nobody learns a channel's key from this: the hashes are the same for all, and which of several relays to try first is
//! decided here.

mod actor;
mod announce;
mod api;
mod places;
mod state;

pub(crate) use api::{Offer, PublicRelaysConfig, Uses, start};
pub(crate) use places::Channels;
