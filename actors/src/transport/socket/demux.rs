//! Distinguishes the datagrams that share the UDP port with QUIC by their first bytes (`docs/PROTOCOL.md`, one port).
//! Pure.

/// The protocol of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A QUIC version 1 packet: bit 0x40 is set (RFC 9000, section 17).
    Quic,
    /// A message of the mainline DHT (BEP 5): a bencoded dictionary whose first key begins with its length.
    Krpc,
    /// A UDP tracker's reply (BEP 15): starts with one of four actions as a u32.
    TrackerReply,
    /// A punch, which opens a NAT.
    Punch,
    /// None of our protocols.
    Junk,
}

impl Class {
    /// The label used in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Krpc => "krpc",
            Self::TrackerReply => "tracker",
            Self::Punch => "punch",
            Self::Junk => "junk",
        }
    }
}

/// Length of a punch in bytes.
pub const PUNCH_LEN: usize = 32;
/// Set in every QUIC version 1 packet, since we do not grease it.
const QUIC_BIT: u8 = 0x40;
/// Clear in every punch; no text of a known protocol begins that way either.
const LONG_BIT: u8 = 0x80;
/// A tracker's reply has at least an action and a transaction id.
const MIN_TRACKER_REPLY: usize = 8;
/// The highest action of BEP 15: error.
const MAX_ACTION: u32 = 3;

/// Classifies a datagram. Our connection ids have the top bit of their first byte set (`endpoint`), so a short QUIC
/// packet to us never has an ASCII digit as its second byte, which a dictionary always has. A stateless reset is random
/// there: one in 400,000 looks like a dictionary, and its sender repeats it.
pub fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [b'd', b'0'..=b'9', .., b'e'] => Class::Krpc,
        [first, ..] if first & QUIC_BIT != 0 => Class::Quic,
        [a, b, c, d, ..]
            if datagram.len() >= MIN_TRACKER_REPLY
                && u32::from_be_bytes([*a, *b, *c, *d]) <= MAX_ACTION =>
        {
            Class::TrackerReply
        }
        [first, ..] if datagram.len() == PUNCH_LEN && *first != 0 && first & LONG_BIT == 0 => {
            Class::Punch
        }
        _ => Class::Junk,
    }
}

/// Removes everything but QUIC from a received buffer. Its first `len` bytes are datagrams of `stride` bytes each, the
/// last possibly shorter. QUIC packets move to the front, in order and still `stride` apart; their total length is
/// returned. Each other datagram is passed to `other`.
pub(crate) fn compact(
    buffer: &mut [u8],
    len: usize,
    stride: usize,
    mut other: impl FnMut(Class, &[u8]),
) -> usize {
    let len = len.min(buffer.len());
    // A kernel that reports no stride delivered one datagram.
    let stride = if stride == 0 { len.max(1) } else { stride };
    let (mut from, mut kept) = (0, 0);
    while from < len {
        let to = from.saturating_add(stride).min(len);
        let class = classify(&buffer[from..to]);
        if class == Class::Quic {
            if kept != from {
                buffer.copy_within(from..to, kept);
            }
            kept += to - from;
        } else {
            other(class, &buffer[from..to]);
        }
        from = to;
    }
    kept
}

#[cfg(test)]
mod tests;
