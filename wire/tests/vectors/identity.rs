//! `identity.json`: keys, IDs, certificates, safety numbers, and what must be refused.

use bech32::{
    Bech32, Bech32m, Fe32, Hrp,
    primitives::iter::{ByteIterExt, Fe32IterExt},
};
use bitchat_wire::identity::{
    Certificate, DeviceId, DeviceKey, IdentityError, IdentityId, IdentityKey, safety_number,
};
use curve25519_dalek::{Scalar, constants, edwards::EdwardsPoint};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::{
    check, fill,
    reference::{cat, label},
};

/// Keys that no implementation may accept, and why.
fn refused_keys() -> Vec<(&'static str, [u8; 32])> {
    let mut out = Vec::new();
    for point in &constants::EIGHT_TORSION {
        out.push(("of low order", point.compress().to_bytes()));
    }
    // y = p + k, with p = 2^255 - 19: a non-canonical encoding of y = k.
    for k in 0..19u8 {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            bytes[0] = 0xed + k;
            bytes[31] = sign;
            if VerifyingKey::from_bytes(&bytes).is_ok() {
                out.push(("not canonical: y is not below p", bytes));
            }
        }
    }
    let mut minus_zero = [0; 32];
    minus_zero[0] = 1;
    minus_zero[31] = 0x80;
    out.push(("not canonical: x is 0 and its sign 1", minus_zero));
    let good: EdwardsPoint = SigningKey::from_bytes(&fill(1))
        .verifying_key()
        .to_edwards();
    for torsion in &constants::EIGHT_TORSION[1..] {
        out.push(("not torsion-free", (good + torsion).compress().to_bytes()));
    }
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    out.push(("not on the curve", off_curve));
    out
}

fn refused_texts(id: &IdentityId) -> Vec<(&'static str, String)> {
    let hrp = Hrp::parse("bitchat").unwrap();
    let encode = |bytes: &[u8]| bech32::encode::<Bech32m>(hrp, bytes).unwrap();
    let good = id.to_string();
    let mut mixed = good.clone();
    mixed.replace_range(0..1, "B");
    let mut typo = good.clone();
    typo.replace_range(20..21, if &good[20..21] == "q" { "p" } else { "q" });
    let mut fes: Vec<Fe32> = id.as_bytes().iter().copied().bytes_to_fes().collect();
    let last = fes.last_mut().unwrap();
    *last = Fe32::try_from(last.to_u8() | 1).unwrap();
    let padding: String = fes
        .into_iter()
        .with_checksum::<Bech32m>(&hrp)
        .chars()
        .collect();
    vec![
        ("mixed case", mixed),
        ("a mistyped character", typo),
        (
            "the checksum of bech32",
            bech32::encode::<Bech32>(hrp, id.as_bytes()).unwrap(),
        ),
        (
            "another human part",
            bech32::encode::<Bech32m>(Hrp::parse("bitcha7").unwrap(), id.as_bytes()).unwrap(),
        ),
        ("31 bytes", encode(&id.as_bytes()[1..])),
        (
            "33 bytes",
            encode(&[&[0], id.as_bytes().as_slice()].concat()),
        ),
        ("padding bits that are not zero", padding),
        ("not an acceptable key", encode(&refused_keys()[0].1)),
        ("space around it", format!(" {good}")),
        ("nothing", String::new()),
    ]
}

fn person(seed: u8) -> (IdentityKey, Value) {
    let key = IdentityKey::from_seed(&fill(seed));
    let id = key.id();
    let text = id.to_string();
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.to_uppercase().parse(), Ok(id));
    assert_eq!(*key.seed(), fill(seed));
    let value = json!({
        "seed": hex::encode(fill(seed)),
        "public": hex::encode(id.as_bytes()),
        "id": text,
    });
    (key, value)
}

fn certificate(identity: &IdentityKey, device_seed: u8, created: u64) -> Value {
    let device = DeviceKey::from_seed(&fill(device_seed));
    let certificate = identity.certify(&device.id(), created);
    certificate.verify().unwrap();
    let text = cat(&[
        &label("device"),
        device.id().as_bytes(),
        &created.to_be_bytes(),
    ]);
    let plain = SigningKey::from_bytes(&identity.seed()).sign(&text);
    assert_eq!(certificate.signature, plain.to_bytes());
    json!({
        "identity": hex::encode(certificate.identity.as_bytes()),
        "device_seed": hex::encode(fill(device_seed)),
        "device": device.id().to_string(),
        "created": created,
        "signed": hex::encode(text),
        "cert": hex::encode(certificate.signature),
    })
}

/// Computes the digits independently, by long division.
fn digits(id: &IdentityId) -> String {
    let hash = Sha512::digest(cat(&[&label("safety"), id.as_bytes()]));
    let mut out = String::new();
    for group in hash[..30].chunks(5) {
        let rest = group
            .iter()
            .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 100_000);
        out.push_str(&format!(" {rest:05}"));
    }
    out
}

#[test]
fn identity_json() {
    let (alice, alice_json) = person(1);
    let (bob, bob_json) = person(3);
    let safety = safety_number(&alice.id(), &bob.id());
    assert_eq!(safety, safety_number(&bob.id(), &alice.id()));
    let (low, high) = if alice.id() < bob.id() {
        (alice.id(), bob.id())
    } else {
        (bob.id(), alice.id())
    };
    assert_eq!(format!(" {safety}"), digits(&low) + &digits(&high));
    let direct = alice.direct_secret(&bob.id()).unwrap();
    assert_eq!(*direct, *bob.direct_secret(&alice.id()).unwrap());
    assert_eq!(
        alice.direct_secret(&alice.id()).map(|_| ()),
        Err(IdentityError::Oneself)
    );

    let keys: Vec<Value> = refused_keys()
        .iter()
        .map(|(why, bytes)| {
            assert_eq!(
                IdentityId::from_bytes(bytes),
                Err(IdentityError::BadKey),
                "{why}"
            );
            assert_eq!(
                DeviceId::from_bytes(bytes),
                Err(IdentityError::BadKey),
                "{why}"
            );
            json!({"why": why, "public": hex::encode(bytes)})
        })
        .collect();
    let texts: Vec<Value> = refused_texts(&alice.id())
        .iter()
        .map(|(why, text)| {
            assert_eq!(
                text.parse::<IdentityId>(),
                Err(IdentityError::BadId),
                "{why}"
            );
            json!({"why": why, "id": text})
        })
        .collect();
    check(
        "identity.json",
        &json!({
            "about": "Identities (Ed25519 seeds, RFC 8032) and their Bit Chat IDs; device certificates; \
                      the safety number and the direct channel's first secret of the two; keys and IDs that must be refused.",
            "identities": [alice_json, bob_json],
            "certificates": [certificate(&alice, 2, 1_700_000_000), certificate(&bob, 4, 0)],
            "safety_number": safety,
            "direct_secret": hex::encode(*direct),
            "refused_keys": keys,
            "refused_ids": texts,
        }),
    );
}

#[test]
fn our_checks_are_stricter_than_the_librarys() {
    let tolerated = refused_keys()
        .iter()
        .filter(|(why, bytes)| {
            why.starts_with("not canonical") && VerifyingKey::from_bytes(bytes).is_ok()
        })
        .count();
    assert!(tolerated > 4, "the library took {tolerated} of them");
    assert_eq!(IdentityId::from_bytes(&[1; 31]), Err(IdentityError::BadKey));
    assert_eq!(IdentityId::from_bytes(&[1; 33]), Err(IdentityError::BadKey));
}

#[test]
fn a_signature_that_only_lenient_verifiers_accept_is_refused() {
    // R is the neutral point, so that S = k * a: non-strict verification accepts it.
    let key = SigningKey::from_bytes(&fill(1));
    let text = cat(&[&label("event"), b"data"]);
    let mut r = [0; 32];
    r[0] = 1;
    let k = Scalar::from_bytes_mod_order_wide(
        &Sha512::digest(cat(&[&r, key.verifying_key().as_bytes(), &text])).into(),
    );
    let s = k * key.to_scalar();
    let forged: [u8; 64] = cat(&[&r, s.as_bytes()]).try_into().unwrap();
    let plain = Verifier::verify(&key.verifying_key(), &text, &Signature::from_bytes(&forged));
    assert!(plain.is_ok());
    let id = IdentityKey::from_seed(&fill(1)).id();
    assert_eq!(
        id.verify("event", &[b"data"], &forged),
        Err(IdentityError::BadSignature)
    );
}

#[test]
fn certificates_cover_one_device_and_time() {
    let alice = IdentityKey::from_seed(&fill(1));
    let device = DeviceKey::from_seed(&fill(2));
    let good = alice.certify(&device.id(), 7);
    let changes: [fn(&mut Certificate); 4] = [
        |c| c.created += 1,
        |c| c.device = DeviceKey::from_seed(&fill(9)).id(),
        |c| c.identity = IdentityKey::from_seed(&fill(9)).id(),
        |c| c.signature[5] ^= 1,
    ];
    assert_eq!(good.verify(), Ok(()));
    for change in changes {
        let mut bad = good;
        change(&mut bad);
        assert_eq!(bad.verify(), Err(IdentityError::BadSignature));
    }
    // The label counts, and a device's signature is not an identity's.
    let sig = device.sign("event", &[b"x"]);
    assert!(device.id().verify("event", &[b"x"], &sig).is_ok());
    assert!(device.id().verify("even", &[b"tx"], &sig).is_err());
    assert!(device.id().verify("link I", &[b"x"], &sig).is_err());
}

#[test]
fn debug_forms_are_short() {
    let id = IdentityKey::from_seed(&fill(1)).id();
    assert_eq!(format!("{id:?}"), id.to_string()[8..16]);
    let device = DeviceKey::from_seed(&fill(2)).id();
    assert_eq!(format!("{device:?}"), device.to_string()[..8]);
}
