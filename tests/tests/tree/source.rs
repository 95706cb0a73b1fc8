//! Source files as the checks read them: without comments, strings and tests.

use std::path::{Path, PathBuf};

/// The top folder of the repository.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A path relative to the top folder, for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(top())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// All Rust files below a folder except tests.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "tests" || name == "tests.rs" || name.ends_with("_tests.rs") {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file, see [`strip`].
pub(crate) fn code(path: &Path) -> String {
    strip(&std::fs::read_to_string(path).unwrap())
}

/// Removes comments, the contents of strings and characters, and inline modules of tests.
pub(crate) fn strip(text: &str) -> String {
    without_inline_tests(&without_comments(text))
}

fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = at > 0 && is_word(bytes[at - 1]);
        if rest.starts_with(b"//") {
            at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            at += find(rest, b"*/").map_or(rest.len(), |end| end + 2);
        } else if rest[0] == b'"' {
            out.extend_from_slice(b"\"\"");
            at += string(rest);
        } else if !after_word && let Some(len) = raw_string(rest) {
            out.extend_from_slice(b"\"\"");
            at += len;
        } else if rest[0] == b'\''
            && let Some(len) = character(rest)
        {
            out.extend_from_slice(b"' '");
            at += len;
        } else {
            out.push(rest[0]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// The length of the string literal at the start.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string literal at the start: `r"..."`, `r#"..."#`, `br"..."`.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let body = rest.strip_prefix(b"b").unwrap_or(rest).strip_prefix(b"r")?;
    let hashes = body.iter().take_while(|&&b| b == b'#').count();
    if body.get(hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let prefix = rest.len() - body.len() + hashes + 1;
    Some(find(&rest[prefix..], &end).map_or(rest.len(), |at| prefix + at + end.len()))
}

/// The length of a character literal at the start; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return rest[3..].iter().position(|&b| b == b'\'').map(|at| at + 4);
    }
    // A character has at most four bytes; a lifetime has no quote behind its first letter.
    let end = rest.iter().skip(2).take(4).position(|&b| b == b'\'')? + 2;
    let inner = std::str::from_utf8(&rest[1..end]).ok()?;
    (inner.chars().count() == 1).then_some(end + 1)
}

fn without_inline_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        let item = after_attributes(tail);
        let is_module = item
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .take(4)
            .any(|word| word == "mod");
        let opens = item.find(['{', ';', '}']);
        rest = match opens {
            Some(brace) if is_module && item[brace..].starts_with('{') => {
                skip_block(&item[brace..])
            }
            // `#[cfg(test)] mod name;`: without its declaration, the file is no part of the crate.
            Some(end) if is_module && item[end..].starts_with(';') => &item[end + 1..],
            _ => item,
        };
    }
    out + rest
}

/// What follows the attributes at the start.
fn after_attributes(mut text: &str) -> &str {
    while text.starts_with("#[") {
        let end = text.find(']').map_or(text.len(), |at| at + 1);
        text = text[end..].trim_start();
    }
    text
}

/// What follows the block in braces at the start.
fn skip_block(text: &str) -> &str {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[at + 1..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

/// A word, or one character of punctuation (`::` is one token).
pub(crate) fn tokens(code: &str) -> Vec<&str> {
    let bytes = code.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = if is_word(bytes[at]) {
            bytes[at..].iter().take_while(|&&b| is_word(b)).count()
        } else if code[at..].starts_with("::") {
            2
        } else {
            code[at..].chars().next().unwrap().len_utf8()
        };
        let token = &code[at..at + len];
        if !token.trim().is_empty() {
            found.push(token);
        }
        at += len;
    }
    found
}

#[test]
fn only_code_is_left() {
    let text = r##"
        use a::b; // use c::d
        /* use e */ let s = "use f // \" no"; let r = r#"use " g"#; let c = '"'; fn x<'a>(y: &'a str) {}
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { fn f() { use h; } }
        #[cfg(test)]
        mod other;
        #[cfg(test)]
        fn helper() {}
        fn z() {}
    "##;
    let code = strip(text);
    for gone in ["c::d", "use e", "use f", "use \" g", "use h", "other"] {
        assert!(!code.contains(gone), "{gone}: {code}");
    }
    for kept in ["use a::b;", "<'a>(y: &'a str)", "fn helper", "fn z"] {
        assert!(code.contains(kept), "{kept}: {code}");
    }
    assert_eq!(tokens("a::{b, c}"), ["a", "::", "{", "b", ",", "c", "}"]);
}
