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
mod tests {
    use super::*;

    const STRICT: Limits = Limits {
        depth: 8,
        values: 64,
        canonical: true,
    };
    const LENIENT: Limits = Limits {
        canonical: false,
        ..STRICT
    };

    #[test]
    fn accepts_canonical_values() {
        for ok in [
            "i0e",
            "i-1e",
            "i42e",
            "0:",
            "3:abc",
            "le",
            "de",
            "li1e1:ae",
            "d1:a0:1:bi2ee",
            "d0:le1:adee",
            "d1:a1:b2:aale1:bdee",
        ] {
            assert_eq!(scan(ok.as_bytes(), STRICT), Ok(ok.len()), "{ok}");
        }
    }

    #[test]
    fn says_where_the_syntax_breaks() {
        for (bad, at) in [
            ("", 0),
            ("<html>", 0),
            ("e", 0),
            ("i", 0),
            ("ie", 0),
            ("i-e", 0),
            ("i+1e", 0),
            ("i1", 0),
            ("i1x", 0),
            ("l", 1),
            ("l1:a", 4),
            ("1", 0),
            ("1:", 0),
            ("2:a", 0),
            ("-1:a", 0),
            ("d1:ae", 4),
            ("di1ei2ee", 1),
            ("d1:a", 4),
            ("dle1:ae", 1),
            (":", 0),
            ("18446744073709551615:a", 0),
            ("18446744073709551616:a", 0),
            ("99999999999999999999999999:a", 0),
            ("li1e99:abe", 4),
        ] {
            assert_eq!(
                scan(bad.as_bytes(), STRICT),
                Err(BencodeError::Syntax(at)),
                "{bad}"
            );
            assert_eq!(
                scan(bad.as_bytes(), LENIENT),
                Err(BencodeError::Syntax(at)),
                "{bad}"
            );
        }
    }

    #[test]
    fn only_the_strict_mode_refuses_what_is_not_canonical() {
        for (bad, at) in [
            ("i-0e", 0),
            ("i00e", 0),
            ("i01e", 0),
            ("i-01e", 0),
            ("01:a", 0),
            ("00:", 0),
            ("d1:b0:1:a0:e", 6),
            ("d1:a0:1:a0:e", 6),
            ("d2:aa0:1:a0:e", 7),
            ("ld1:ai1e1:ai2eee", 8),
            ("d01:ai1ee", 1),
        ] {
            assert_eq!(
                scan(bad.as_bytes(), STRICT),
                Err(BencodeError::NotCanonical(at)),
                "{bad}"
            );
            assert_eq!(scan(bad.as_bytes(), LENIENT), Ok(bad.len()), "{bad}");
        }
        assert_eq!(scan(b"i1e\r\n", STRICT), Err(BencodeError::Trailing(2)));
        assert_eq!(scan(b"i1e\r\n", LENIENT), Ok(3));
    }

    #[test]
    fn bounds_depth_and_values() {
        let nested = |n: usize| format!("{}{}", "l".repeat(n), "e".repeat(n));
        assert_eq!(scan(nested(8).as_bytes(), STRICT), Ok(16));
        assert_eq!(
            scan(nested(9).as_bytes(), STRICT),
            Err(BencodeError::TooDeep(8))
        );
        let wide = |n: usize| format!("l{}e", "0:".repeat(n));
        assert_eq!(scan(wide(63).as_bytes(), STRICT), Ok(128));
        assert_eq!(
            scan(wide(64).as_bytes(), STRICT),
            Err(BencodeError::TooMany(64))
        );
        // keys count as well
        let dictionary = "d1:ai1e1:bi1ee";
        assert_eq!(
            scan(
                dictionary.as_bytes(),
                Limits {
                    values: 5,
                    ..STRICT
                }
            ),
            Ok(14)
        );
        assert_eq!(
            scan(
                dictionary.as_bytes(),
                Limits {
                    values: 4,
                    ..STRICT
                }
            ),
            Err(BencodeError::TooMany(4))
        );
    }

    #[test]
    fn a_hundred_thousand_levels_are_refused_on_a_tiny_stack() {
        let checks = || {
            for open in ["l", "d1:a"] {
                let deep = open.repeat(100_000);
                assert_eq!(scan(deep.as_bytes(), STRICT), Err(BencodeError::TooDeep(8)));
                let unlimited = Limits {
                    depth: usize::MAX,
                    values: usize::MAX,
                    canonical: true,
                };
                assert_eq!(
                    scan(deep.as_bytes(), unlimited),
                    Err(BencodeError::Syntax(deep.len()))
                );
                let _ = raw_value(format!("d1:a{deep}").as_bytes(), b"b");
            }
        };
        let small = std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(checks);
        small.expect("a thread").join().expect("no overflow");
    }

    #[test]
    fn finds_raw_values() {
        let bytes = b"d1:ali1ei2ee4:infod1:xd1:yi1eee1:z3:abce";
        assert_eq!(scan(bytes, STRICT), Ok(bytes.len()));
        assert_eq!(raw_value(bytes, b"a"), Some(&b"li1ei2ee"[..]));
        assert_eq!(raw_value(bytes, b"info"), Some(&b"d1:xd1:yi1eee"[..]));
        assert_eq!(
            raw_value(bytes, b"z").and_then(byte_string),
            Some(&b"abc"[..])
        );
        assert_eq!(
            raw_value(bytes, b"x"),
            None,
            "only the top level is searched"
        );
        assert_eq!(entries(bytes).count(), 3);
        assert_eq!(raw_value(b"l1:ae", b"a"), None);
        assert_eq!(byte_string(b"3:abcd"), None);
        assert_eq!(byte_string(b"i3e"), None);
    }
}
