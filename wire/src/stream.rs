//! What a stream of a connection opens with: `kind u8 ‖ version u8` (`docs/PROTOCOL.md`, streams).

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamKind {
    /// One a connection: observed address, drain.
    Control,
    /// A link.
    Link,
    /// A sub-stream of a link (files, media).
    Sub,
    /// A request to a relay.
    RelayHop,
    /// A relay's word to the circuit's target.
    RelayStop,
}

/// The version of every stream kind so far.
pub const STREAM_VERSION: u8 = 1;

impl StreamKind {
    /// The two bytes that open a stream of this kind.
    pub fn header(self) -> [u8; 2] {
        todo!()
    }
    /// Reads the two bytes; `None` for unknown kinds or versions, whose streams are reset.
    pub fn parse(header: [u8; 2]) -> Option<Self> {
        let _ = header;
        todo!()
    }
}
