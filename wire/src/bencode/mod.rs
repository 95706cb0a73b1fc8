//! Checks bencode before any parser recurses into it (BEP 3): size, depth, and canonical form.
//!
//! [`scan`] walks the bytes with a bounded stack on the heap, so that no input can exhaust the call
//! stack, and never allocates what a length prefix claims. Bytes that passed may be given to a
//! recursive parser such as `serde_bencode`. [`entries`], [`raw_value`] and [`byte_string`] read
//! single values in place, so that signed parts keep their bytes.

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
    /// Unsorted or duplicate keys, or a number with leading zeros, at this offset.
    #[error("not in canonical form at byte {0}")]
    NotCanonical(usize),
    /// This many bytes after the value.
    #[error("{0} bytes after the end")]
    Trailing(usize),
    /// More values than allowed.
    #[error("more than {0} values")]
    TooMany(usize),
}

/// Limits that [`scan`] enforces.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum nesting depth of lists and dictionaries.
    pub depth: usize,
    /// Maximum number of values (each string, number, list, dictionary and key counts one).
    pub values: usize,
    /// Whether to refuse what is not canonical (sorted unique keys, no leading zeros, no trailing bytes).
    ///
    /// Otherwise keys may be unsorted and repeated, numbers may have leading zeros, and bytes after
    /// the value are ignored, as in what real trackers send.
    pub canonical: bool,
}

/// A list or dictionary that is not closed yet.
enum Open<'a> {
    List,
    /// A dictionary before a key, with the previous key.
    Key(Option<&'a [u8]>),
    /// A dictionary before the value of this key.
    Value(&'a [u8]),
}

/// Walks one value without recursion and without allocating what prefixes claim; returns its length in bytes.
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

/// Reads the byte string at `at`: its contents and the offset after it.
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

/// Reads the number at `at` (the offset of its `i`); returns the offset after it.
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

/// The offset after the value at `at`; `None` if there is no value.
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

/// The keys of the top-level dictionary with the raw bytes of their values, in their order in
/// `bytes`. Empty if `bytes` is not a dictionary. `bytes` must have passed [`scan`]; otherwise
/// the entries up to the first malformed one are returned.
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

/// The raw bytes of the value of `key` in the top-level dictionary. `bytes` must have passed [`scan`].
/// If the key is repeated (not canonical), the first.
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
