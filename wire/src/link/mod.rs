//! Links: handshake, frames and renewal of keys (`docs/PROTOCOL.md`, link). Pure: the caller moves the bytes.

mod exchange;
mod handshake;
mod parts;
mod renewal;
mod session;

pub use handshake::{
    Binding, Established, HandshakeError, Initiator, Local, M1_LEN, M2_LEN, M3_LEN, Responder,
    TlsSide, link_tag, m1_tag,
};
pub use renewal::{CLOSE_AFTER, Due, KeyLimits, RENEW_AFTER, Renewal, RenewalError, due};
pub use session::{
    FrameError, KeySwitch, MAX_FRAME, MAX_KEY_BYTES, MAX_KEY_FRAMES, MAX_MESSAGE, MIN_FRAME,
    Opener, Role, Sealer, frame_len,
};
