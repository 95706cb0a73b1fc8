//! The link: handshake, renewal and frames, each against a side in the middle of a valid exchange.

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::{Certificate, DeviceKey, IdentityKey},
    link::{
        Binding, Established, Initiator, Local, M1_LEN, M2_LEN, MAX_MESSAGE, Responder, TlsSide,
        frame_len, link_tag,
    },
    proto,
};
use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};

const BINDING: Binding = Binding([0xb1; 32]);

struct Party {
    device: DeviceKey,
    certificate: Certificate,
}

impl Party {
    fn new(seed: u8) -> Self {
        let device = DeviceKey::from_seed(&[seed; 32]);
        let certificate = IdentityKey::from_seed(&[seed + 1; 32]).certify(&device.id(), 1);
        Self {
            device,
            certificate,
        }
    }

    fn local(&self) -> Local<'_> {
        Local {
            device: &self.device,
            certificate: &self.certificate,
        }
    }
}

/// The two sides of one exchange, the same at each call, so that crashes are reproducible.
struct Pair {
    alice: Party,
    bob: Party,
    keys: EpochKeys,
    rng: StdRng,
}

impl Pair {
    fn new() -> Self {
        Self {
            alice: Party::new(1),
            bob: Party::new(3),
            keys: EpochKeys::derive(ChannelId([5; 32]), 0, &[6; 32]),
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn m1(&mut self) -> (Initiator, [u8; M1_LEN]) {
        Initiator::start(&self.keys, BINDING, TlsSide::Client, &mut self.rng)
    }

    fn m2(&mut self, m1: &[u8]) -> (Responder, Box<[u8; M2_LEN]>) {
        Responder::start(
            &self.keys,
            BINDING,
            TlsSide::Client,
            m1,
            self.bob.local(),
            &mut self.rng,
        )
        .expect("a sound M1")
    }

    fn established(&mut self) -> (Established, Established) {
        let (initiator, m1) = self.m1();
        let (responder, m2) = self.m2(&m1);
        let (m3, alice) = initiator
            .finish(&m2[..], self.alice.local(), |_| true)
            .expect("a sound M2");
        let bob = responder
            .finish(&m3, self.bob.local(), |_| true)
            .expect("a sound M3");
        (alice, bob)
    }
}

/// A first message, unchanged and with the right tag, so that the code after the tag is reached.
pub fn handshake_m1(data: &[u8]) {
    let mut pair = Pair::new();
    let mut m1 = data.to_vec();
    for tagged in [false, true] {
        if tagged {
            m1.resize(M1_LEN, 0);
            m1[0] = 1;
            m1[1..33].copy_from_slice(&link_tag(&pair.keys, &BINDING, TlsSide::Client));
            m1[33..41].fill(0);
        }
        let started = Responder::start(
            &pair.keys,
            BINDING,
            TlsSide::Client,
            &m1,
            pair.bob.local(),
            &mut pair.rng,
        );
        if let Ok((responder, m2)) = started {
            assert_eq!(m2[0], 2);
            assert!(
                responder.finish(data, pair.bob.local(), |_| true).is_err(),
                "the fuzzer holds no key"
            );
        }
    }
}

/// A second message: nothing is accepted that was not created for this exchange.
pub fn handshake_m2(data: &[u8]) {
    let mut pair = Pair::new();
    for prefix in [&[][..], &[2]] {
        let (initiator, _) = pair.m1();
        let mut m2 = [prefix, data].concat();
        if !prefix.is_empty() {
            m2.resize(M2_LEN, 0);
        }
        let accept = |_: &Certificate| panic!("a forged message reached the roster");
        assert!(initiator.finish(&m2, pair.alice.local(), accept).is_err());
    }
}

/// A third message, likewise.
pub fn handshake_m3(data: &[u8]) {
    let mut pair = Pair::new();
    let (_, m1) = pair.m1();
    for prefix in [&[][..], &[3]] {
        let (responder, _) = pair.m2(&m1);
        let mut m3 = [prefix, data].concat();
        if !prefix.is_empty() {
            m3.resize(bitchat_wire::link::M3_LEN, 0);
        }
        let accept = |_: &Certificate| panic!("a forged message reached the roster");
        assert!(responder.finish(&m3, pair.bob.local(), accept).is_err());
    }
}

/// The three signed messages of a renewal, cut out of `data`.
pub fn renewal(data: &[u8]) {
    let mut pair = Pair::new();
    let (mut alice, mut bob) = pair.established();
    let mut rest = Bytes::copy_from_slice(data);
    let mut part = |len: usize| rest.split_to(len.min(rest.len()));

    let init = proto::RekeyInit {
        dh: part(32),
        kem: part(1_184),
    };
    let resp = proto::RekeyResp {
        dh: part(32),
        ciphertext: part(1_088),
        signature: part(64),
    };
    let done = proto::RekeyDone {
        signature: part(64),
    };
    assert!(
        alice.renewal.on_resp(&resp, &pair.alice.device).is_err(),
        "nothing was asked"
    );
    assert!(bob.renewal.on_done(&done).is_err(), "nothing was begun");
    let _ = bob.renewal.on_init(&init, &pair.bob.device, &mut pair.rng);
    assert!(
        bob.renewal.on_done(&done).is_err(),
        "the fuzzer holds no device's key"
    );
    let _ = alice.renewal.start(&mut pair.rng);
    assert!(
        alice.renewal.on_resp(&resp, &pair.alice.device).is_err(),
        "the fuzzer holds no device's key"
    );
    assert!(alice.renewal.on_go().is_err(), "nothing was agreed");
}

/// A frame that was never sealed, and one that was sealed around any message.
pub fn frame(data: &[u8]) {
    let mut pair = Pair::new();
    let (mut alice, mut bob) = pair.established();
    if let Some(prefix) = data.first_chunk() {
        let _ = frame_len(*prefix);
    }
    let mut sealed = Vec::new();
    if data.len() <= MAX_MESSAGE {
        alice
            .sealer
            .seal(data, &mut sealed)
            .expect("a message within its cap");
        let mut body = sealed.split_off(4);
        let prefix = sealed.first_chunk().expect("a prefix");
        assert_eq!(frame_len(*prefix), Ok(body.len()));
        assert_eq!(bob.opener.open(&mut body).expect("a sound frame"), data);
    }
    assert!(
        bob.opener.open(&mut data.to_vec()).is_err(),
        "the fuzzer holds no key"
    );
    let mut next = Vec::new();
    alice
        .sealer
        .seal(b"next", &mut next)
        .expect("a short message");
    assert!(
        bob.opener.open(&mut next.split_off(4)).is_err(),
        "nothing opens after a bad frame"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_sound() {
        let (alice, bob) = Pair::new().established();
        assert_eq!(alice.peer.device, Party::new(3).device.id());
        assert_eq!(bob.peer.device, Party::new(1).device.id());
    }
}
