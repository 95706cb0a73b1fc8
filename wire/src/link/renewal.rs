//! Renewal of a link's keys: a signed exchange inside frames, started by the initiator alone.
//!
//! ```text
//! I                                          R
//! Init{eI, ek}            (old key)  ->
//!                         <-  (old key)      Resp{eR, ct, sigR}
//! Done{sigI}              (old key)  ->      R's opener takes I's new key
//! I's sealer takes it
//!                         <-  (old key)      Go{}
//! I's opener takes R's new key               R's sealer takes it
//! ```
//!
//! Both directions keep carrying messages in the meantime. Renewal recovers from a leaked root even
//! against an active attacker, since both devices sign the exchange.

use std::time::Duration;

use bytes::Bytes;
use rand_core::CryptoRng;

use super::{
    Role,
    exchange::{self, CT_LEN, DH_LEN, EK_LEN, Ephemeral, ExchangeError, Offer, Shared},
    session::{KeySwitch, MAX_KEY_BYTES, MAX_KEY_FRAMES, frame_key},
};
use crate::{
    crypto::{Secret, expand_key, extract, hash},
    identity::{DeviceId, DeviceKey},
    proto,
};

/// Limits on the use of one generation of keys; the first one that is reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// Time since the link was established or last renewed.
    pub time: Duration,
    /// Plaintext bytes in either direction.
    pub bytes: u64,
    /// Frames in either direction.
    pub frames: u64,
}

/// Limits at which the initiator renews, and the responder requests it with `renew_please`.
pub const RENEW_AFTER: KeyLimits = KeyLimits {
    time: Duration::from_secs(15 * 60),
    bytes: MAX_KEY_BYTES / 2,
    frames: MAX_KEY_FRAMES / 2,
};

/// Limits at which a link that was not renewed closes.
pub const CLOSE_AFTER: KeyLimits = KeyLimits {
    time: Duration::from_secs(30 * 60),
    bytes: MAX_KEY_BYTES,
    frames: MAX_KEY_FRAMES,
};

/// What is due for a link's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    No,
    /// The keys should be renewed.
    Renew,
    /// The keys must not be used any more: the link is to be closed.
    Close,
}

/// Decides what is due, given the time since the link was established or last renewed and the
/// `usage()` of its sealer and its opener.
pub fn due(elapsed: Duration, sealed: (u64, u64), opened: (u64, u64)) -> Due {
    let reached = |limits: &KeyLimits| {
        elapsed >= limits.time
            || [sealed, opened]
                .iter()
                .any(|(frames, bytes)| *frames >= limits.frames || *bytes >= limits.bytes)
    };
    if reached(&CLOSE_AFTER) {
        Due::Close
    } else if reached(&RENEW_AFTER) {
        Due::Renew
    } else {
        Due::No
    }
}

/// Why a renewal step was refused. Any of these ends the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// This step is not expected now, or not from this side.
    #[error("a renewal step out of turn")]
    OutOfTurn,
    /// A field has the wrong length.
    #[error("a malformed renewal step")]
    Malformed,
    /// The ML-KEM key has a coefficient that is not below q.
    #[error("not a valid ML-KEM-768 key")]
    KemKey,
    /// The X25519 point is of low order.
    #[error("the X25519 exchange gave no secret")]
    Point,
    /// The other device did not sign this exchange.
    #[error("the renewal's signature is not valid")]
    Signature,
}

impl From<ExchangeError> for RenewalError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::KemKey => Self::KemKey,
            ExchangeError::Point => Self::Point,
        }
    }
}

/// A generation of keys, from which its frame keys and the next generation are derived.
struct Generation {
    root: Secret,
    th: [u8; 32],
}

enum Stage {
    Idle,
    /// Initiator, after Init.
    Asked(Box<(Ephemeral, Offer)>),
    /// Initiator, after Done.
    Confirmed(Generation),
    /// Responder, after Resp.
    Answered(Generation),
    /// After a refused step: the link is to be closed.
    Failed,
}

/// The renewal's state on one side of a link.
pub struct Renewal {
    role: Role,
    peer: DeviceId,
    number: u32,
    current: Generation,
    stage: Stage,
}

impl Renewal {
    pub(super) fn new(role: Role, peer: DeviceId, root: Secret, th4: [u8; 32]) -> Self {
        Self {
            role,
            peer,
            number: 0,
            current: Generation { root, th: th4 },
            stage: Stage::Idle,
        }
    }

    /// Our role.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether a renewal is under way.
    pub fn pending(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// Number of renewals that this side has completed.
    pub fn generation(&self) -> u32 {
        self.number
    }

    /// Exports `xs = X(root, "export")` of the current generation, from which the keys of the link's other
    /// streams and datagrams are derived.
    pub fn export(&self) -> Secret {
        expand_key(&self.current.root, "export", &[])
    }

    /// Initiator: creates Init; refused without effect while a renewal is under way.
    pub fn start(&mut self, rng: &mut impl CryptoRng) -> Result<proto::RekeyInit, RenewalError> {
        if self.role != Role::Initiator || self.pending() {
            return Err(RenewalError::OutOfTurn);
        }
        let (ephemeral, offer) = Ephemeral::generate(rng);
        let init = proto::RekeyInit {
            dh: Bytes::copy_from_slice(&offer.dh),
            kem: Bytes::copy_from_slice(offer.ek.as_slice()),
        };
        self.stage = Stage::Asked(Box::new((ephemeral, offer)));
        Ok(init)
    }

    /// Responder: checks Init and creates Resp.
    pub fn on_init(
        &mut self,
        init: &proto::RekeyInit,
        device: &DeviceKey,
        rng: &mut impl CryptoRng,
    ) -> Result<proto::RekeyResp, RenewalError> {
        let (Role::Responder, Stage::Idle) = (self.role, self.take()) else {
            return Err(RenewalError::OutOfTurn);
        };
        let (dh, ek): (&[u8; DH_LEN], &[u8; EK_LEN]) = (field(&init.dh)?, field(&init.kem)?);
        let (answer, shared) = exchange::answer(dh, ek, rng)?;
        let next = self.next([dh, ek, &answer.dh, answer.ct.as_slice()], &shared);
        let resp = proto::RekeyResp {
            dh: Bytes::copy_from_slice(&answer.dh),
            ciphertext: Bytes::copy_from_slice(answer.ct.as_slice()),
            signature: Bytes::copy_from_slice(&device.sign("renew R", &[&next.th])),
        };
        self.stage = Stage::Answered(next);
        Ok(resp)
    }

    /// Initiator: checks Resp; Done is to be sealed with the old key, and the sealer then takes the switch.
    pub fn on_resp(
        &mut self,
        resp: &proto::RekeyResp,
        device: &DeviceKey,
    ) -> Result<(proto::RekeyDone, KeySwitch), RenewalError> {
        let Stage::Asked(asked) = self.take() else {
            return Err(RenewalError::OutOfTurn);
        };
        let (ephemeral, offer) = *asked;
        let (dh, ct): (&[u8; DH_LEN], &[u8; CT_LEN]) = (field(&resp.dh)?, field(&resp.ciphertext)?);
        let shared = ephemeral.finish(dh, ct)?;
        let next = self.next([&offer.dh, offer.ek.as_slice(), dh, ct], &shared);
        self.check("renew R", &next.th, &resp.signature)?;
        let done = proto::RekeyDone {
            signature: Bytes::copy_from_slice(&device.sign("renew I", &[&next.th])),
        };
        let switch = next.switch(Role::Initiator);
        self.stage = Stage::Confirmed(next);
        Ok((done, switch))
    }

    /// Responder: checks Done; the opener takes the first switch at once; Go is sealed with the old
    /// key, and the sealer then takes the second.
    pub fn on_done(
        &mut self,
        done: &proto::RekeyDone,
    ) -> Result<(KeySwitch, proto::RekeyGo, KeySwitch), RenewalError> {
        let Stage::Answered(next) = self.take() else {
            return Err(RenewalError::OutOfTurn);
        };
        self.check("renew I", &next.th, &done.signature)?;
        let opener = next.switch(Role::Initiator);
        let sealer = next.switch(Role::Responder);
        self.complete(next);
        Ok((opener, proto::RekeyGo {}, sealer))
    }

    /// Initiator: on Go the opener takes the switch.
    pub fn on_go(&mut self) -> Result<KeySwitch, RenewalError> {
        let Stage::Confirmed(next) = self.take() else {
            return Err(RenewalError::OutOfTurn);
        };
        let opener = next.switch(Role::Responder);
        self.complete(next);
        Ok(opener)
    }

    /// Takes the stage and leaves `Failed` until a step succeeds, so that after a refusal all steps are refused.
    fn take(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Failed)
    }

    /// `th' = H("renew"; th ‖ eI ‖ ek ‖ eR ‖ ct)`, `prk' = HKDF-Extract(salt = root, ikm = shared)`,
    /// `root' = X(prk', "root"; th')`.
    fn next(&self, [ei, ek, er, ct]: [&[u8]; 4], shared: &Shared) -> Generation {
        let th = hash("renew", &[&self.current.th, ei, ek, er, ct]);
        let prk = extract(&self.current.root, &[shared.as_slice()]);
        let root = expand_key(&prk, "root", &[&th]);
        Generation { root, th }
    }

    fn check(&self, label: &str, th: &[u8; 32], signature: &[u8]) -> Result<(), RenewalError> {
        self.peer
            .verify(label, &[th], field(signature)?)
            .map_err(|_| RenewalError::Signature)
    }

    /// Drops the old root, which wipes it.
    fn complete(&mut self, next: Generation) {
        self.current = next;
        self.number = self.number.saturating_add(1);
        self.stage = Stage::Idle;
    }
}

impl Generation {
    fn switch(&self, sender: Role) -> KeySwitch {
        KeySwitch {
            sender,
            key: frame_key(&self.root, sender),
        }
    }
}

fn field<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], RenewalError> {
    bytes.try_into().map_err(|_| RenewalError::Malformed)
}
