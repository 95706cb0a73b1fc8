//! Counts a message's fields before they are decoded.
//!
//! An empty element of a repeated field takes two bytes on the wire and a hundred in memory. Counted
//! first, a hostile message never costs much more memory than its own length.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::MessageError;

/// Maximum number of fields of the `LinkMessage` itself: one, and room for later versions.
const MAX_OUTER: usize = 16;
/// Maximum number of fields of the messages in it, together: above [`super::MAX_UNLINKED`] + [`super::MAX_LINKED`], the most that the caps allow.
const MAX_INNER: usize = 2_048;
/// Maximum number of fields of one element of a repeated field, such as a member's addresses.
const MAX_ELEMENT: usize = 32;
/// Number of the schema's last kind. Higher ones are of later versions and may have any type.
const LAST_KIND: u32 = 16;
/// The number of `peers` in `LinkMessage`, the one kind whose elements have repeated fields.
const PEERS: u32 = 2;
/// The number of `linked` in `Peers`.
const LINKED: u32 = 1;

/// Refuses a message with more fields than the caps allow.
pub(super) fn check(message: &[u8]) -> Result<(), MessageError> {
    let mut inner = 0;
    let mut outer = 0;
    each_field(message, &mut outer, MAX_OUTER, |kind, body| {
        if kind > LAST_KIND {
            return Ok(());
        }
        each_field(body, &mut inner, MAX_INNER, |field, element| {
            if (kind, field) == (PEERS, LINKED) {
                each_field(element, &mut 0, MAX_ELEMENT, |_, _| Ok(()))
            } else {
                Ok(())
            }
        })
    })
}

/// Calls `nested` with the number and bytes of each length-delimited field, and counts all fields in `count`.
fn each_field<'a>(
    mut bytes: &'a [u8],
    count: &mut usize,
    max: usize,
    mut nested: impl FnMut(u32, &'a [u8]) -> Result<(), MessageError>,
) -> Result<(), MessageError> {
    while !bytes.is_empty() {
        *count += 1;
        if *count > max {
            return Err(MessageError::TooMany {
                what: "fields",
                max,
            });
        }
        let (number, wire_type) = decode_key(&mut bytes).map_err(|_| MessageError::Malformed)?;
        let fixed = match wire_type {
            WireType::Varint => {
                decode_varint(&mut bytes).map_err(|_| MessageError::Malformed)?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => {
                let len = decode_varint(&mut bytes).map_err(|_| MessageError::Malformed)?;
                let (field, rest) = usize::try_from(len)
                    .ok()
                    .and_then(|len| bytes.split_at_checked(len))
                    .ok_or(MessageError::Malformed)?;
                nested(number, field)?;
                bytes = rest;
                0
            }
            // Groups were never in this schema, and only they nest without a length.
            WireType::StartGroup | WireType::EndGroup => return Err(MessageError::Malformed),
        };
        bytes = bytes.get(fixed..).ok_or(MessageError::Malformed)?;
    }
    Ok(())
}
