//! Links: handshake, frames and renewal of keys (`docs/PROTOCOL.md`, link). Pure: the caller moves the bytes.

mod handshake;
mod renewal;
mod session;

pub use handshake::{
    Binding, Established, HandshakeError, Initiator, Local, M1_LEN, M2_LEN, M3_LEN, Responder,
    TlsSide, link_tag,
};
pub use renewal::{KeySwitch, Renewal, RenewalError};
pub use session::{FrameError, MAX_FRAME, MAX_MESSAGE, Opener, Role, Sealer, frame_len};
