//! Devices as keys of maps.

/// A device's public key as a map key: claims name devices by the thousand, and checking that each is a valid point
/// would cost more than everything else.
pub(super) type Device = [u8; 32];

/// Devices in a channel.
pub(super) const MAX_DEVICES: usize = 4_096;
