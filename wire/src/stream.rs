//! The first bytes of each stream of a connection: `kind u8 ‖ version u8` (`docs/PROTOCOL.md`, streams).

/// The purpose of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// The control stream, one per connection: observed addresses, draining, punching.
    Control,
    /// A link.
    Link,
    /// A sub-stream of a link (files, media).
    Sub,
    /// A request to a relay.
    RelayHop,
    /// A circuit that a relay opens to its target.
    RelayStop,
}

/// The version of all stream kinds so far.
pub const STREAM_VERSION: u8 = 1;

impl StreamKind {
    /// The two bytes that open a stream of this kind.
    pub fn header(self) -> [u8; 2] {
        let kind = match self {
            Self::Control => 1,
            Self::Link => 2,
            Self::Sub => 3,
            Self::RelayHop => 4,
            Self::RelayStop => 5,
        };
        [kind, STREAM_VERSION]
    }

    /// Reads the two bytes; `None` for unknown kinds or versions, whose streams are reset.
    pub fn parse(header: [u8; 2]) -> Option<Self> {
        match header {
            [1, STREAM_VERSION] => Some(Self::Control),
            [2, STREAM_VERSION] => Some(Self::Link),
            [3, STREAM_VERSION] => Some(Self::Sub),
            [4, STREAM_VERSION] => Some(Self::RelayHop),
            [5, STREAM_VERSION] => Some(Self::RelayStop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_headers_and_no_other_are_known() {
        let mut known = Vec::new();
        for kind in 0..=u8::MAX {
            for version in 0..=u8::MAX {
                if let Some(found) = StreamKind::parse([kind, version]) {
                    assert_eq!(found.header(), [kind, version]);
                    known.push((kind, found));
                }
            }
        }
        use StreamKind::{Control, Link, RelayHop, RelayStop, Sub};
        assert_eq!(
            known,
            [
                (1, Control),
                (2, Link),
                (3, Sub),
                (4, RelayHop),
                (5, RelayStop)
            ]
        );
    }
}
