//! The ranks inside `actors/src/transport` (`docs/ARCHITECTURE.md`): its rooms, and which of them may name which.

use std::path::{Path, PathBuf};

use crate::source::{code, sources, top};

/// The files and folders directly below `actors/src/transport` and their ranks: each imports lower ranks only.
const TRANSPORT_RANKS: &[(&str, u8)] = &[
    ("address", 0),
    ("admission", 0),
    ("metrics", 0),
    ("proxy", 0),
    ("tls", 0),
    ("nat", 1),
    ("socket", 1),
    ("connection", 2),
    ("api", 3),
    ("msg", 4),
    ("shared", 4),
    ("life", 5),
    ("quic", 5),
    ("tcp", 5),
    ("punch", 6),
    ("dial", 7),
    ("registry", 8),
    ("handle", 9),
];

fn transport() -> PathBuf {
    top().join("actors/src/transport")
}

/// The first names behind each `prefix`, with groups in braces taken apart.
fn named_behind(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(heads(group)),
            None => names.extend(heads(rest).into_iter().take(1)),
        }
    }
    names
}

/// The heads of `a::b, c::{d, e}, f}`: a, c, f.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut heads) = (0_u32, true, Vec::new());
    let mut rest = group.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && (c.is_alphanumeric() || c == '_') => {
                let mut head = String::from(c);
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    head.push(c);
                }
                heads.push(head);
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// What a file below the folder names of it, where `depth` is how many folders lie between.
fn named(code: &str, depth: usize, is_mod: bool) -> Vec<String> {
    let up = "super::".repeat(depth + usize::from(!is_mod));
    // `use crate::{kit::X, transport::{a::Y, b}}` is the same as two imports.
    let flat = code.replace("transport::", "crate::transport::");
    let flat = flat.replace("crate::crate::", "crate::");
    let mut names = named_behind(&flat, "crate::transport::");
    if !up.is_empty() {
        names.extend(named_behind(code, &up));
    }
    names.retain(|name| name != "super" && name != "self");
    names
}

fn rank(room: &str) -> Option<u8> {
    let found = TRANSPORT_RANKS.iter().find(|(name, _)| *name == room);
    found.map(|(_, rank)| *rank)
}

#[test]
fn transport_rooms_keep_their_ranks() {
    let top = transport();
    let mut wrong = Vec::new();
    for path in sources(&top) {
        let below = path.strip_prefix(&top).unwrap();
        if below == Path::new("mod.rs") {
            continue;
        }
        let first = below.components().next().unwrap().as_os_str();
        let room = first.to_str().unwrap().trim_end_matches(".rs");
        let own = rank(room).unwrap_or_else(|| panic!("transport/{room} has no rank"));
        let (depth, is_mod) = (below.components().count() - 1, below.ends_with("mod.rs"));
        let code = code(&path);
        for name in named(&code, depth, is_mod) {
            if name == room {
                continue;
            }
            match rank(&name) {
                Some(other) if other < own => {}
                Some(other) => wrong.push(format!(
                    "{}: {room} (rank {own}) imports {name} (rank {other})",
                    below.display()
                )),
                // What mod.rs passes on comes from a room, whose rank counts.
                None => wrong.push(format!("{}: {name} is not a room", below.display())),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a room of the transport imports lower ranks only:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn imports_of_rooms_are_read_right() {
    let nested = "use crate::{kit::A, transport::{api::B, socket::{self, udp::C}}};";
    assert_eq!(named(nested, 1, false), ["api", "socket"]);
    assert_eq!(
        named("use super::{msg::{A, B}, nat};", 0, false),
        ["msg", "nat"]
    );
    assert_eq!(named("use super::super::nat::A;", 1, false), ["nat"]);
    assert_eq!(named("fn f(a: crate::transport::api::A)", 1, true), ["api"]);
    assert!(named("use super::sibling::A;", 1, false).is_empty());
    assert!(rank("registry") > rank("dial"));
}
