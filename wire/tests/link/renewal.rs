//! Keys change while both directions keep carrying messages.

use std::time::Duration;

use bitchat_wire::link::{
    CLOSE_AFTER, Due, FrameError, RENEW_AFTER, Renewal, RenewalError, Role, due,
};
use proptest::prelude::*;

use super::*;

struct Pair {
    alice: Established,
    bob: Established,
    parties: (Party, Party),
}

impl Pair {
    fn new(seed: u64) -> Self {
        let (alice, bob) = link(seed);
        Self {
            alice,
            bob,
            parties: (Party::alice(), Party::bob()),
        }
    }

    fn talk(&mut self) {
        assert_eq!(carry(&mut self.alice, &mut self.bob, b"to bob"), b"to bob");
        assert_eq!(
            carry(&mut self.bob, &mut self.alice, b"to alice"),
            b"to alice"
        );
    }

    /// One complete renewal, with messages at every possible moment.
    fn renew(&mut self, seed: u64) {
        let init = self.alice.renewal.start(&mut rng(seed)).unwrap();
        self.talk();
        let resp = self
            .bob
            .renewal
            .on_init(&init, &self.parties.1.device, &mut rng(seed ^ 1))
            .unwrap();
        self.talk();
        let (done, switch) = self
            .alice
            .renewal
            .on_resp(&resp, &self.parties.0.device)
            .unwrap();
        // Done is Alice's last frame with the old key; later frames wait at Bob's side.
        let mut last = Vec::new();
        self.alice.sealer.seal(b"done", &mut last).unwrap();
        self.alice.sealer.switch(switch);
        assert_eq!(self.alice.sealer.usage(), (0, 0));
        let mut after = Vec::new();
        self.alice.sealer.seal(b"after done", &mut after).unwrap();
        // Bob, who has not received Done, continues with his old key.
        assert_eq!(
            carry(&mut self.bob, &mut self.alice, b"meanwhile"),
            b"meanwhile"
        );

        assert_eq!(
            self.bob.opener.open(&mut last.split_off(4)).unwrap(),
            b"done"
        );
        let (opener, _go, sealer) = self.bob.renewal.on_done(&done).unwrap();
        self.bob.opener.switch(opener);
        assert_eq!(
            self.bob.opener.open(&mut after.split_off(4)).unwrap(),
            b"after done"
        );
        assert_eq!(carry(&mut self.bob, &mut self.alice, b"go"), b"go");
        self.bob.sealer.switch(sealer);
        let switch = self.alice.renewal.on_go().unwrap();
        self.alice.opener.switch(switch);
        assert_eq!(self.alice.opener.usage(), (0, 0));
        self.talk();
    }
}

#[test]
fn links_are_renewed_again_and_again() {
    let mut pair = Pair::new(1);
    let mut exports = vec![*pair.alice.renewal.export()];
    for round in 1..=3 {
        pair.renew(u64::from(round));
        assert!(!pair.alice.renewal.pending() && !pair.bob.renewal.pending());
        assert_eq!(pair.alice.renewal.generation(), round);
        assert_eq!(pair.bob.renewal.generation(), round);
        let export = *pair.alice.renewal.export();
        assert_eq!(export, *pair.bob.renewal.export());
        assert!(!exports.contains(&export));
        exports.push(export);
    }
}

#[test]
fn the_same_randomness_twice_gives_other_keys() {
    let mut pair = Pair::new(1);
    pair.renew(7);
    let first = *pair.alice.renewal.export();
    pair.renew(7);
    assert_ne!(first, *pair.alice.renewal.export());
}

#[test]
fn an_old_key_opens_nothing_new() {
    let mut pair = Pair::new(1);
    let mut kept = Vec::new();
    pair.alice.sealer.seal(b"old", &mut kept).unwrap();
    let mut body = kept.split_off(4);
    pair.bob.opener.open(&mut body.clone()).unwrap();
    pair.renew(1);
    assert_eq!(pair.bob.opener.open(&mut body), Err(FrameError::Sealed));
}

#[test]
fn a_closed_opener_stays_closed_across_a_switch() {
    let mut pair = Pair::new(1);
    let init = pair.alice.renewal.start(&mut rng(1)).unwrap();
    let resp = pair
        .bob
        .renewal
        .on_init(&init, &pair.parties.1.device, &mut rng(2))
        .unwrap();
    let (done, _) = pair
        .alice
        .renewal
        .on_resp(&resp, &pair.parties.0.device)
        .unwrap();
    let (opener, _, _) = pair.bob.renewal.on_done(&done).unwrap();
    assert!(pair.bob.opener.open(&mut vec![0; 80]).is_err());
    pair.bob.opener.switch(opener);
    assert_eq!(
        pair.bob.opener.open(&mut vec![0; 80]),
        Err(FrameError::Closed)
    );
}

#[test]
fn only_the_initiator_begins_and_only_one_at_a_time() {
    let mut pair = Pair::new(1);
    assert_eq!(pair.alice.renewal.role(), Role::Initiator);
    assert_eq!(pair.bob.renewal.role(), Role::Responder);
    assert_eq!(
        pair.bob.renewal.start(&mut rng(1)).map(|_| ()),
        Err(RenewalError::OutOfTurn)
    );
    let init = pair.alice.renewal.start(&mut rng(1)).unwrap();
    assert!(pair.alice.renewal.pending());
    assert_eq!(
        pair.alice.renewal.start(&mut rng(2)).map(|_| ()),
        Err(RenewalError::OutOfTurn)
    );
    // The refused second start did not affect the first.
    let device = &pair.parties.1.device;
    let resp = pair
        .bob
        .renewal
        .on_init(&init, device, &mut rng(3))
        .unwrap();
    assert!(
        pair.alice
            .renewal
            .on_resp(&resp, &pair.parties.0.device)
            .is_ok()
    );
    // A second Init ends it.
    assert_eq!(
        pair.bob
            .renewal
            .on_init(&init, device, &mut rng(4))
            .map(|_| ()),
        Err(RenewalError::OutOfTurn)
    );
}

/// Everything after a refused step is refused, too.
fn is_dead(renewal: &mut Renewal, device: &DeviceKey) -> bool {
    let done = bitchat_wire::proto::RekeyDone::default();
    let resp = bitchat_wire::proto::RekeyResp::default();
    renewal.start(&mut rng(9)).is_err()
        && renewal.on_go().is_err()
        && renewal.on_done(&done).is_err()
        && renewal.on_resp(&resp, device).is_err()
        && renewal.pending()
}

#[test]
fn steps_out_of_turn_end_it() {
    let device = Party::alice().device;
    let mut pair = Pair::new(1);
    assert!(pair.alice.renewal.on_go().is_err());
    assert!(is_dead(&mut pair.alice.renewal, &device));
    let done = bitchat_wire::proto::RekeyDone::default();
    assert!(pair.bob.renewal.on_done(&done).is_err());
    assert!(is_dead(&mut pair.bob.renewal, &device));
    // The initiator does not answer an Init.
    let mut pair = Pair::new(1);
    let init = Pair::new(1).alice.renewal.start(&mut rng(1)).unwrap();
    assert!(
        pair.alice
            .renewal
            .on_init(&init, &device, &mut rng(2))
            .is_err()
    );
    assert!(is_dead(&mut pair.alice.renewal, &device));
}

#[test]
fn bad_points_and_keys_are_refused() {
    let device = &Party::bob().device;
    let mut pair = Pair::new(1);
    let init = pair.alice.renewal.start(&mut rng(1)).unwrap();
    let mut low = init.clone();
    low.dh = vec![0; 32].into();
    let mut large = init.clone();
    large.kem = vec![0xff; 1_184].into();
    let mut short = init.clone();
    short.kem = init.kem.slice(..1_183);
    for (bad, expected) in [
        (low, RenewalError::Point),
        (large, RenewalError::KemKey),
        (short, RenewalError::Malformed),
    ] {
        let mut bob = link(1).1.renewal;
        assert_eq!(
            bob.on_init(&bad, device, &mut rng(2)).map(|_| ()),
            Err(expected)
        );
        assert!(is_dead(&mut bob, device));
    }
}

#[test]
fn only_the_links_own_devices_can_renew_it() {
    // With the root, but another device's key, renewal fails on either side.
    let mallory = Party::new(7, 8);
    let mut pair = Pair::new(1);
    let init = pair.alice.renewal.start(&mut rng(1)).unwrap();
    let resp = pair
        .bob
        .renewal
        .on_init(&init, &mallory.device, &mut rng(2))
        .unwrap();
    assert_eq!(
        pair.alice
            .renewal
            .on_resp(&resp, &pair.parties.0.device)
            .map(|_| ()),
        Err(RenewalError::Signature)
    );
    let mut pair = Pair::new(1);
    let init = pair.alice.renewal.start(&mut rng(1)).unwrap();
    let resp = pair
        .bob
        .renewal
        .on_init(&init, &pair.parties.1.device, &mut rng(2))
        .unwrap();
    let (done, _) = pair.alice.renewal.on_resp(&resp, &mallory.device).unwrap();
    assert_eq!(
        pair.bob.renewal.on_done(&done).map(|_| ()),
        Err(RenewalError::Signature)
    );
    assert_eq!(pair.bob.renewal.generation(), 0);
}

#[test]
fn limits_are_due_in_either_direction() {
    let none = (0, 0);
    let (renew, close) = (RENEW_AFTER, CLOSE_AFTER);
    assert_eq!(renew.time, Duration::from_secs(900));
    assert_eq!((renew.frames, renew.bytes), (1 << 23, 512 << 20));
    assert_eq!(close.time, Duration::from_secs(1_800));
    assert_eq!((close.frames, close.bytes), (1 << 24, 1 << 30));
    let instant = Duration::from_nanos(1);
    assert_eq!(due(Duration::ZERO, none, none), Due::No);
    assert_eq!(due(renew.time - instant, none, none), Due::No);
    for (limits, expected) in [(renew, Due::Renew), (close, Due::Close)] {
        assert_eq!(due(limits.time, none, none), expected);
        for usage in [(limits.frames, 0), (0, limits.bytes)] {
            assert_eq!(due(Duration::ZERO, usage, none), expected);
            assert_eq!(due(Duration::ZERO, none, usage), expected);
        }
        for usage in [(limits.frames - 1, 0), (0, limits.bytes - 1)] {
            assert_ne!(due(Duration::ZERO, usage, none), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_changed_bit_ends_the_renewal(step in 0usize..6, at: prop::sample::Index, bit in 0..8u8) {
        let change = |bytes: &bytes::Bytes, on: bool| {
            let mut out = bytes.to_vec();
            if on {
                let at = at.index(out.len());
                out[at] ^= 1 << bit;
            }
            bytes::Bytes::from(out)
        };
        let mut pair = Pair::new(1);
        let mut init = pair.alice.renewal.start(&mut rng(1)).unwrap();
        init.dh = change(&init.dh, step == 0);
        init.kem = change(&init.kem, step == 1);
        let Ok(mut resp) = pair.bob.renewal.on_init(&init, &pair.parties.1.device, &mut rng(2)) else {
            return Ok(());
        };
        resp.dh = change(&resp.dh, step == 2);
        resp.ciphertext = change(&resp.ciphertext, step == 3);
        resp.signature = change(&resp.signature, step == 4);
        let Ok((mut done, _)) = pair.alice.renewal.on_resp(&resp, &pair.parties.0.device) else {
            return Ok(());
        };
        prop_assert_eq!(step, 5, "a changed Init or Resp was believed");
        done.signature = change(&done.signature, true);
        prop_assert!(pair.bob.renewal.on_done(&done).is_err());
    }
}
