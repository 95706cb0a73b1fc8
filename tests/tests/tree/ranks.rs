//! The rules of the house that a compiler does not check (`docs/ARCHITECTURE.md`, ranks and rules):
//! who may import whom, and what libraries may not touch.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// The actors' modules and their ranks: a module imports lower ranks only.
const RANKS: &[(&str, u8)] = &[
    ("kit", 0),
    ("disguise", 0),
    ("store", 1),
    ("transport", 2),
    ("relay", 3),
    ("portmap", 3),
    ("tracker", 4),
    ("dht", 4),
    ("lan", 4),
    ("discovery", 5),
    ("offers", 5),
    ("link", 6),
    ("channel", 7),
    ("chat", 8),
    ("node", 9),
];

/// What `wire` must not name: its callers pass time and randomness in, and do all I/O.
const NOT_IN_WIRE: &[&str] = &[
    "tokio",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::SystemTime",
    "SystemTime::now",
    "Instant::now",
    "OsRng",
    "SysRng",
    "thread_rng",
    "getrandom",
];

/// What a library must not do to the process it lives in, and queues without a bound.
const NOT_IN_LIBRARIES: &[&str] = &[
    "install_default(",
    "set_global_default(",
    "set_hook(",
    "tokio::signal",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "process::exit",
    "unbounded_channel",
    "mpsc::unbounded",
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// All Rust files below a folder but those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
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
    found
}

/// A file's code: without comments and without the tests at its end.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let mut code = String::new();
    let lines: Vec<_> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let item = lines[at + 1..].iter().find(|next| !next.starts_with("#["));
        let opens_mod = item.is_some_and(|n| n.starts_with("mod ") && n.ends_with('{'));
        if *line == "#[cfg(test)]" && opens_mod {
            break;
        }
        // Cutting at `//` also cuts strings with URLs in them, which does no harm here.
        code.push_str(line.split("//").next().unwrap());
        code.push('\n');
    }
    code
}

/// The first names behind each `prefix` (such as `crate::`), with groups in braces taken apart.
fn named_behind(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            names.extend(group_heads(group));
        } else {
            names.push(head(rest));
        }
    }
    names
}

fn head(path: &str) -> String {
    path.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The heads of `a::b, c::{d, e}, f}`: a, c, f.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0_u32, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                heads.push(head(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn rank(module: &str) -> Option<u8> {
    RANKS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, rank)| *rank)
}

/// The words of `forbidden` in the files, as `path: word`.
fn offences(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(&top().join(folder)) {
        let code = code(&path);
        for word in forbidden.iter().filter(|word| code.contains(**word)) {
            found.push(format!("{}: {word}", path.display()));
        }
    }
    found
}

#[test]
fn actors_import_lower_ranks_only() {
    let src = top().join("actors/src");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&src).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let module = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let own =
            rank(&module).unwrap_or_else(|| panic!("actors/src/{module} has no rank in RANKS"));
        for path in sources(&folder) {
            let code = code(&path);
            for name in named_behind(&code, "crate::")
                .into_iter()
                .chain(named_behind(&code, "super::super::"))
            {
                let Some(other) = rank(&name) else { continue };
                if other >= own && name != module {
                    wrong.push(format!(
                        "{}: {module} (rank {own}) imports {name} (rank {other})",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "a module imports lower ranks only:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn wire_is_pure() {
    let mut wrong = offences("wire/src", NOT_IN_WIRE);
    for path in sources(&top().join("wire/src")) {
        let names = named_behind(&code(&path), "std::");
        wrong.extend(
            names
                .into_iter()
                .filter(|name| ["fs", "env", "thread", "process"].contains(&name.as_str()))
                .map(|name| format!("{}: std::{name}", path.display())),
        );
    }
    assert!(
        wrong.is_empty(),
        "wire does no I/O, reads no clock and draws no randomness:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn libraries_leave_the_process_alone() {
    let mut wrong = offences("wire/src", NOT_IN_LIBRARIES);
    wrong.extend(offences("actors/src", NOT_IN_LIBRARIES));
    assert!(
        wrong.is_empty(),
        "no process-wide state, output or unbounded queue in a library:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_check_itself_reads_imports_right() {
    assert_eq!(named_behind("use crate::kit::Addr;", "crate::"), ["kit"]);
    assert_eq!(
        named_behind("use crate::{kit::{A, B}, store, link::x::Y};", "crate::"),
        ["kit", "store", "link"]
    );
    assert_eq!(
        named_behind("fn f(a: crate::channel::A)", "crate::"),
        ["channel"]
    );
    assert!(named_behind("bitchat_crate::kit", "crate::").is_empty());
    assert!(rank("channel") > rank("link"));
}
