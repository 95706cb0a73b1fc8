//! Renewal of a link's keys: a signed exchange inside frames, started by the initiator alone.

use rand_core::CryptoRng;

use crate::{identity::DeviceKey, link::Role, proto};

/// One direction's next key, to be taken by a `Sealer` or an `Opener` at the moment the protocol fixes.
pub struct KeySwitch {
    _p: (),
}

/// Why a renewal step was refused. Any of these ends the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// The renewal's state on one side of a link.
pub struct Renewal {
    _p: (),
}

impl Renewal {
    /// Our role.
    pub fn role(&self) -> Role {
        todo!()
    }
    /// Whether one is under way.
    pub fn pending(&self) -> bool {
        todo!()
    }
    /// Initiator: makes Init; refused while one is under way.
    pub fn start(&mut self, rng: &mut impl CryptoRng) -> Result<proto::RekeyInit, RenewalError> {
        let _ = rng;
        todo!()
    }
    /// Responder: answers Init.
    pub fn on_init(
        &mut self,
        init: &proto::RekeyInit,
        device: &DeviceKey,
        rng: &mut impl CryptoRng,
    ) -> Result<proto::RekeyResp, RenewalError> {
        let _ = (init, device, rng);
        todo!()
    }
    /// Initiator: checks Resp; Done is to be sealed with the old key, and the sealer then takes the switch.
    pub fn on_resp(
        &mut self,
        resp: &proto::RekeyResp,
        device: &DeviceKey,
    ) -> Result<(proto::RekeyDone, KeySwitch), RenewalError> {
        let _ = (resp, device);
        todo!()
    }
    /// Responder: checks Done; the opener takes the first switch at once; Go is sealed with the old key, and the sealer then takes the second.
    pub fn on_done(
        &mut self,
        done: &proto::RekeyDone,
    ) -> Result<(KeySwitch, proto::RekeyGo, KeySwitch), RenewalError> {
        let _ = done;
        todo!()
    }
    /// Initiator: on Go the opener takes the switch.
    pub fn on_go(&mut self) -> Result<KeySwitch, RenewalError> {
        todo!()
    }
}
