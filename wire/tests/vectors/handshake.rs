//! `handshake.json`: complete handshakes, step by step, and the first frames after them.

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::{Certificate, DeviceKey, IdentityKey},
    link::{Binding, Established, Initiator, Local, Responder, TlsSide},
};
use ml_kem::{B32, DecapsulationKey768, KeyExport, Seed};
use serde_json::{Value, json};
use x25519_dalek::x25519;

use super::{
    check, fill,
    reference::{self, Stated, cat, extract, gcm, h, hmac, sha256, x},
};

const CLIENT_PEER: &[u8] = b"\x00\x24\x08\x01\x12\x20the TLS client's PeerId, bytes..";
const SERVER_PEER: &[u8] = b"\x00\x24\x08\x01\x12\x20the TLS server's PeerId, bytes..";
const BASE: [u8; 32] = [
    9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A side's long-term keys.
pub(crate) struct Side {
    pub(crate) device: DeviceKey,
    pub(crate) certificate: Certificate,
    json: Value,
}

impl Side {
    fn new(identity_seed: u8, device_seed: u8, created: u64) -> Self {
        let device = DeviceKey::from_seed(&fill(device_seed));
        let certificate =
            IdentityKey::from_seed(&fill(identity_seed)).certify(&device.id(), created);
        let json = json!({
            "identity_seed": hex::encode(fill(identity_seed)),
            "device_seed": hex::encode(fill(device_seed)),
            "created": created,
            "cert": hex::encode(certificate.signature),
        });
        Self {
            device,
            certificate,
            json,
        }
    }

    fn local(&self) -> Local<'_> {
        Local {
            device: &self.device,
            certificate: &self.certificate,
        }
    }

    /// This side's credential of 200 bytes under `th`, which ends with the signature.
    fn credential(&self, label: &str, th: &[u8]) -> (Vec<u8>, [u8; 64]) {
        let c = &self.certificate;
        let sig = self.device.sign(
            label,
            &[&cat(&[th, c.identity.as_bytes(), c.device.as_bytes()])],
        );
        let bytes = cat(&[
            c.identity.as_bytes(),
            c.device.as_bytes(),
            &c.created.to_be_bytes(),
            &c.signature,
            &sig,
        ]);
        (bytes, sig)
    }
}

/// The four ephemeral secrets of an exchange, and everything derived from them alone.
pub(crate) struct Exchange {
    pub(crate) dh_i: [u8; 32],
    pub(crate) d: [u8; 32],
    pub(crate) z: [u8; 32],
    pub(crate) dh_r: [u8; 32],
    pub(crate) m: [u8; 32],
    pub(crate) e_i: [u8; 32],
    pub(crate) ek: Vec<u8>,
    pub(crate) e_r: [u8; 32],
    pub(crate) ct: Vec<u8>,
    pub(crate) shared_dh: [u8; 32],
    pub(crate) shared_kem: Vec<u8>,
}

impl Exchange {
    pub(crate) fn new(first: u8) -> Self {
        let [dh_i, d, z, dh_r, m] = [0, 1, 2, 3, 4].map(|i| fill(first + i));
        let dk = DecapsulationKey768::from_seed(Seed::try_from(cat(&[&d, &z]).as_slice()).unwrap());
        let (ct, shared_kem) = dk
            .encapsulation_key()
            .encapsulate_deterministic(&B32::from(m));
        let e_i = x25519(dh_i, BASE);
        Self {
            ek: dk.encapsulation_key().to_bytes().to_vec(),
            e_r: x25519(dh_r, BASE),
            ct: ct.to_vec(),
            shared_dh: x25519(dh_r, e_i),
            shared_kem: shared_kem.to_vec(),
            dh_i,
            d,
            z,
            dh_r,
            m,
            e_i,
        }
    }

    pub(crate) fn asking(&self) -> Stated {
        Stated::new(&[&self.dh_i, &self.d, &self.z])
    }

    pub(crate) fn answering(&self) -> Stated {
        Stated::new(&[&self.dh_r, &self.m])
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "initiator_x25519_scalar": hex::encode(self.dh_i),
            "initiator_kem_d": hex::encode(self.d),
            "initiator_kem_z": hex::encode(self.z),
            "responder_x25519_scalar": hex::encode(self.dh_r),
            "responder_kem_m": hex::encode(self.m),
            "eI": hex::encode(self.e_i),
            "ek": hex::encode(&self.ek),
            "eR": hex::encode(self.e_r),
            "ct": hex::encode(&self.ct),
            "x25519_secret": hex::encode(self.shared_dh),
            "kem_secret": hex::encode(&self.shared_kem),
        })
    }
}

/// A finished handshake: both ends, and the values that the reference computed.
pub(crate) struct Finished {
    pub(crate) i: Side,
    pub(crate) r: Side,
    pub(crate) at_i: Established,
    pub(crate) at_r: Established,
    pub(crate) root: [u8; 32],
    pub(crate) th4: [u8; 32],
    json: Value,
}

/// Runs a handshake with the crate and with the reference, and compares every byte.
pub(crate) fn run(side: TlsSide) -> Finished {
    let (i, r) = (
        Side::new(1, 2, 1_700_000_000),
        Side::new(3, 4, 1_700_000_001),
    );
    let (cid, secret, epoch) = (ChannelId(fill(0xc1)), fill(0x10), 0u32);
    let keys = EpochKeys::derive(cid, epoch, &secret);
    let exporter = fill(0xe1);
    let exchange = Exchange::new(0x21);

    // The crate.
    let binding = Binding::new(&exporter, CLIENT_PEER, SERVER_PEER);
    let (initiator, m1) = Initiator::start(&keys, binding, side, &mut exchange.asking());
    let (responder, m2) = Responder::start(
        &keys,
        binding,
        side,
        &m1,
        r.local(),
        &mut exchange.answering(),
    )
    .unwrap();
    let (m3, at_i) = initiator
        .finish(m2.as_slice(), i.local(), |_| true)
        .unwrap();
    let at_r = responder.finish(&m3, r.local(), |_| true).unwrap();

    // The reference.
    let b = h(
        "binding",
        &cat(&[&exporter, &sha256(CLIENT_PEER), &sha256(SERVER_PEER)]),
    );
    let s = u8::from(side == TlsSide::Server);
    let tag = hmac(&*keys.tag, &cat(&[&b, &[s]]));
    let ref_m1 = cat(&[&[1], &tag, &[0; 8], &exchange.e_i, &exchange.ek]);
    let th1 = h("link", &cat(&[&cid.0, &epoch.to_be_bytes(), &b, &ref_m1]));
    let th2 = h("th2", &cat(&[&th1, &exchange.e_r, &exchange.ct]));
    let prk = extract(
        &*keys.link,
        &cat(&[&exchange.shared_dh, &exchange.shared_kem]),
    );
    let key_m2 = x(&prk, "M2", &th2);
    let (credential_r, sig_r) = r.credential("link R", &th2);
    let box2 = gcm(&key_m2, [0; 12], &th2, &credential_r);
    let ref_m2 = cat(&[&[2], &exchange.e_r, &exchange.ct, &box2]);
    let th3 = h("th3", &cat(&[&th2, &box2]));
    let key_m3 = x(&prk, "M3", &th3);
    let (credential_i, sig_i) = i.credential("link I", &th3);
    let box3 = gcm(&key_m3, [0; 12], &th3, &credential_i);
    let ref_m3 = cat(&[&[3], &box3]);
    let th4 = h("th4", &cat(&[&th3, &box3]));
    let root = x(&prk, "root", &th4);
    assert_eq!(binding.0, b);
    assert_eq!(m1.to_vec(), ref_m1);
    assert_eq!(m2.to_vec(), ref_m2);
    assert_eq!(m3.to_vec(), ref_m3);
    assert_eq!(*at_i.renewal.export(), x(&root, "export", b""));
    assert_eq!((at_i.peer, at_r.peer), (r.certificate, i.certificate));

    let json = json!({
        "s": s,
        "channel": {"cid": cid.to_string(), "epoch": epoch, "secret": hex::encode(secret)},
        "exporter": hex::encode(exporter),
        "client_peer_id": hex::encode(CLIENT_PEER),
        "server_peer_id": hex::encode(SERVER_PEER),
        "initiator": i.json,
        "responder": r.json,
        "exchange": exchange.json(),
        "B": hex::encode(b),
        "tag": hex::encode(tag),
        "M1": hex::encode(m1),
        "th1": hex::encode(th1),
        "th2": hex::encode(th2),
        "prk": hex::encode(prk),
        "M2_key": hex::encode(key_m2),
        "M2_sig": hex::encode(sig_r),
        "M2_credential": hex::encode(credential_r),
        "M2": hex::encode(m2.as_slice()),
        "th3": hex::encode(th3),
        "M3_key": hex::encode(key_m3),
        "M3_sig": hex::encode(sig_i),
        "M3_credential": hex::encode(credential_i),
        "M3": hex::encode(m3),
        "th4": hex::encode(th4),
        "root": hex::encode(root),
        "I_key": hex::encode(x(&root, "I", b"")),
        "R_key": hex::encode(x(&root, "R", b"")),
        "export": hex::encode(*at_i.renewal.export()),
    });
    Finished {
        i,
        r,
        at_i,
        at_r,
        root,
        th4,
        json,
    }
}

/// Seals `message` at one end, opens it at the other, and compares with the reference.
pub(crate) fn frame(
    from: &mut Established,
    to: &mut Established,
    key: &[u8; 32],
    message: &[u8],
) -> Value {
    let counter = from.sealer.usage().0;
    let mut out = Vec::new();
    from.sealer.seal(message, &mut out).unwrap();
    assert_eq!(out, reference::frame(key, counter, message));
    let json = json!({
        "counter": counter, "message": hex::encode(message), "frame": hex::encode(&out),
    });
    assert_eq!(to.opener.open(&mut out.split_off(4)).unwrap(), message);
    json
}

#[test]
fn handshake_json() {
    let cases: Vec<Value> = [TlsSide::Client, TlsSide::Server]
        .into_iter()
        .map(|side| {
            let mut done = run(side);
            let (i, r) = (x(&done.root, "I", b""), x(&done.root, "R", b""));
            let messages: [&[u8]; 4] = [b"hello", b"", &[0x5a; 60], &[0x5a; 61]];
            let from_i: Vec<Value> = messages
                .iter()
                .map(|message| frame(&mut done.at_i, &mut done.at_r, &i, message))
                .collect();
            let from_r: Vec<Value> = messages[..2]
                .iter()
                .map(|message| frame(&mut done.at_r, &mut done.at_i, &r, message))
                .collect();
            let mut json = done.json;
            json["frames_I"] = from_i.into();
            json["frames_R"] = from_r.into();
            json
        })
        .collect();
    check(
        "handshake.json",
        &json!({
            "about": "Whole link handshakes. All randomness is stated: X25519 scalars (before clamping, RFC 7748), ML-KEM-768's d and z \
                      (FIPS 203, algorithm 16) and m (algorithm 17). s: 0 if the initiator is the TLS client, 1 if it is the server. \
                      A credential is identity || device || created || cert || sig. Messages in frames are any bytes here.",
            "handshakes": cases,
        }),
    );
}
