//! Checks bencode before any parser recurses into it (BEP 3): size, depth, and canonical form.
//!
//! [`scan`] walks the bytes with a bounded stack on the heap, so that no input can exhaust the call
//! stack, and never allocates by what a length prefix claims. What passed it may be given to a
//! recursive parser such as `serde_bencode`. [`entries`], [`raw_value`] and [`byte_string`] read
//! single values where they lie, so that signed parts keep their bytes.

/// Why bencode was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// Not bencode at this offset.
    #[error("not bencode at byte {0}")]
    Syntax(usize),
    /// Nested deeper than allowed.
    #[error("nested more than {0} levels deep")]
    TooDeep(usize),
    /// Keys unsorted or doubled, or a number with leading zeros, at this offset.
    #[error("not in canonical form at byte {0}")]
    NotCanonical(usize),
    /// Bytes behind the value.
    #[error("{0} bytes behind the end")]
    Trailing(usize),
    /// More values than allowed.
    #[error("more than {0} values")]
    TooMany(usize),
}

/// What [`scan`] allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting levels of lists and dictionaries.
    pub depth: usize,
    /// Values in all (each string, number, list and dictionary counts one, and so does a key).
    pub values: usize,
    /// Refuse what is not canonical (sorted unique keys, no leading zeros, no trailing bytes).
    ///
    /// Without it keys may stand in any order and twice, numbers may have leading zeros, and bytes
    /// behind the value are passed over: what real trackers send.
    pub canonical: bool,
}

/// A list or dictionary that is not closed yet.
enum Open<'a> {
    List,
    /// A dictionary in front of a key, with the key before it.
    Key(Option<&'a [u8]>),
    /// A dictionary in front of this key's value.
    Value(&'a [u8]),
}

/// Walks one value without recursion or allocation in proportion to claims; returns its length in bytes.
/// With `canonical`, the value must fill `bytes` exactly.
pub fn scan(bytes: &[u8], limits: Limits) -> Result<usize, BencodeError> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut values = 0usize;
    let mut at = 0usize;
    loop {
        let byte = *bytes.get(at).ok_or(BencodeError::Syntax(at))?;
        if byte == b'e' {
            match open.pop() {
                Some(Open::List | Open::Key(_)) => at += 1,
                Some(Open::Value(_)) | None => return Err(BencodeError::Syntax(at)),
            }
        } else {
            values += 1;
            if values > limits.values {
                return Err(BencodeError::TooMany(limits.values));
            }
            if let Some(Open::Key(last)) = open.last() {
                let (key, end) = string(bytes, at, limits.canonical)?;
                if limits.canonical && last.is_some_and(|last| last >= key) {
                    return Err(BencodeError::NotCanonical(at));
                }
                open.pop();
                open.push(Open::Value(key));
                at = end;
                continue;
            }
            match byte {
                b'0'..=b'9' => at = string(bytes, at, limits.canonical)?.1,
                b'i' => at = number(bytes, at, limits.canonical)?,
                b'l' | b'd' => {
                    if open.len() >= limits.depth {
                        return Err(BencodeError::TooDeep(limits.depth));
                    }
                    open.push(if byte == b'l' {
                        Open::List
                    } else {
                        Open::Key(None)
                    });
                    at += 1;
                    continue;
                }
                _ => return Err(BencodeError::Syntax(at)),
            }
        }
        // A whole value ends at `at`.
        match open.last_mut() {
            None => break,
            Some(Open::Value(key)) => {
                let key = *key;
                open.pop();
                open.push(Open::Key(Some(key)));
            }
            Some(Open::List | Open::Key(_)) => {}
        }
    }
    if limits.canonical && at != bytes.len() {
        return Err(BencodeError::Trailing(bytes.len() - at));
    }
    Ok(at)
}

/// A byte string at `at`: its contents and the offset behind it.
fn string(bytes: &[u8], at: usize, canonical: bool) -> Result<(&[u8], usize), BencodeError> {
    let syntax = BencodeError::Syntax(at);
    let mut len = 0usize;
    let mut i = at;
    loop {
        match *bytes.get(i).ok_or(syntax)? {
            digit @ b'0'..=b'9' => {
                len = len
                    .checked_mul(10)
                    .and_then(|len| len.checked_add(usize::from(digit - b'0')))
                    .ok_or(syntax)?;
                i += 1;
            }
            b':' if i > at => break,
            _ => return Err(syntax),
        }
    }
    if canonical && i - at > 1 && bytes[at] == b'0' {
        return Err(BencodeError::NotCanonical(at));
    }
    let start = i + 1;
    let end = start.checked_add(len).ok_or(syntax)?;
    Ok((bytes.get(start..end).ok_or(syntax)?, end))
}

/// A number at `at` (which is the `i`): the offset behind it.
fn number(bytes: &[u8], at: usize, canonical: bool) -> Result<usize, BencodeError> {
    let negative = bytes.get(at + 1) == Some(&b'-');
    let first = at + 1 + usize::from(negative);
    let digits = bytes
        .get(first..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let end = first + digits;
    if digits == 0 || bytes.get(end) != Some(&b'e') {
        return Err(BencodeError::Syntax(at));
    }
    if canonical && bytes[first] == b'0' && (digits > 1 || negative) {
        return Err(BencodeError::NotCanonical(at));
    }
    Ok(end + 1)
}

/// The offset behind the value at `at`; `None` if there is none.
fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match *bytes.get(at)? {
            b'l' | b'd' => {
                depth += 1;
                at += 1;
            }
            b'e' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b'i' => at = number(bytes, at, false).ok()?,
            _ => at = string(bytes, at, false).ok()?.1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The keys of the top-level dictionary, each with the raw bytes of its value, in the order in which
/// they stand. Empty if `bytes` is no dictionary. `bytes` must have passed [`scan`]; of others, as
/// many entries as make sense are given.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = if bytes.first() == Some(&b'd') {
        1
    } else {
        bytes.len()
    };
    std::iter::from_fn(move || {
        let (key, start) = string(bytes, at, false).ok()?;
        let end = skip(bytes, start)?;
        at = end;
        Some((key, bytes.get(start..end)?))
    })
}

/// The raw bytes of the value behind `key` in the top-level dictionary. `bytes` must have passed [`scan`].
/// Of a key that stands there twice (not canonical), the first.
pub fn raw_value<'a>(bytes: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    entries(bytes)
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}

/// The contents of a raw value that is one byte string; `None` if it is anything else.
pub fn byte_string(raw: &[u8]) -> Option<&[u8]> {
    let (contents, end) = string(raw, 0, false).ok()?;
    (end == raw.len()).then_some(contents)
}

/// Writes a byte string.
pub(crate) fn put_string(out: &mut Vec<u8>, contents: &[u8]) {
    out.extend_from_slice(contents.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(contents);
}

#[cfg(test)]
mod tests;
