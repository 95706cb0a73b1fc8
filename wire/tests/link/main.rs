//! Links from the outside: two sides, and an attacker between them.
#![allow(clippy::unwrap_used)]

mod frames;
mod handshake;
mod renewal;

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::{Certificate, DeviceKey, IdentityKey},
    link::{
        Binding, Established, HandshakeError, Initiator, Local, M1_LEN, M2_LEN, M3_LEN, Responder,
        TlsSide,
    },
};
use rand::{SeedableRng, rngs::StdRng};

const BINDING: Binding = Binding([0xb1; 32]);

/// A person with one device.
struct Party {
    device: DeviceKey,
    certificate: Certificate,
}

impl Party {
    fn new(identity: u8, device: u8) -> Self {
        let device = DeviceKey::from_seed(&[device; 32]);
        let certificate =
            IdentityKey::from_seed(&[identity; 32]).certify(&device.id(), 1_700_000_000);
        Self {
            device,
            certificate,
        }
    }

    fn alice() -> Self {
        Self::new(1, 2)
    }

    fn bob() -> Self {
        Self::new(3, 4)
    }

    fn local(&self) -> Local<'_> {
        Local {
            device: &self.device,
            certificate: &self.certificate,
        }
    }
}

fn keys() -> EpochKeys {
    EpochKeys::derive(ChannelId([5; 32]), 0, &[6; 32])
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// A change to a message in transit.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// An attacker's changes to each message.
#[derive(Default)]
struct Wire<'a> {
    m1: Option<Change<'a>>,
    m2: Option<Change<'a>>,
    m3: Option<Change<'a>>,
}

/// The side whose check failed, with the error.
#[derive(Debug, PartialEq)]
enum Failure {
    ResponderOnM1(HandshakeError),
    InitiatorOnM2(HandshakeError),
    ResponderOnM3(HandshakeError),
}

fn run(
    seed: u64,
    alice: &Party,
    bob: &Party,
    wire: &Wire<'_>,
) -> Result<(Established, Established), Failure> {
    let passed = |bytes: &[u8], change: Option<Change<'_>>| {
        let mut bytes = bytes.to_vec();
        if let Some(change) = change {
            change(&mut bytes);
        }
        bytes
    };
    let keys = keys();
    let (initiator, m1): (_, [u8; M1_LEN]) =
        Initiator::start(&keys, BINDING, TlsSide::Client, &mut rng(seed));
    let (responder, m2): (_, Box<[u8; M2_LEN]>) = Responder::start(
        &keys,
        BINDING,
        TlsSide::Client,
        &passed(&m1, wire.m1),
        bob.local(),
        &mut rng(seed ^ 1),
    )
    .map_err(Failure::ResponderOnM1)?;
    let (m3, at_alice): ([u8; M3_LEN], _) = initiator
        .finish(&passed(m2.as_slice(), wire.m2), alice.local(), |_| true)
        .map_err(Failure::InitiatorOnM2)?;
    let at_bob = responder
        .finish(&passed(&m3, wire.m3), bob.local(), |_| true)
        .map_err(Failure::ResponderOnM3)?;
    Ok((at_alice, at_bob))
}

/// An established link between Alice, who initiated it, and Bob.
fn link(seed: u64) -> (Established, Established) {
    run(seed, &Party::alice(), &Party::bob(), &Wire::default()).unwrap()
}

/// Sends one message over the link and returns what was opened.
fn carry(from: &mut Established, to: &mut Established, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    from.sealer.seal(message, &mut frame).unwrap();
    let mut body = frame.split_off(4);
    to.opener.open(&mut body).unwrap().to_vec()
}
