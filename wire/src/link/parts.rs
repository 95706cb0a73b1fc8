//! Reads fixed fields from a message whose length was checked.

/// The unread rest of a message.
pub(super) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// All of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The fields after a message's number, if the message has that number and that length.
    pub(super) fn of(message: &'a [u8], number: u8, len: usize) -> Option<Self> {
        match message.split_first() {
            Some((first, rest)) if *first == number && message.len() == len => Some(Self(rest)),
            _ => None,
        }
    }

    /// The next `N` bytes. The fields of each message add up to its checked length.
    pub(super) fn take<const N: usize>(&mut self) -> &'a [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .expect("the fields add up to the checked length");
        self.0 = rest;
        field
    }
}
