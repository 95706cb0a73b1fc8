//! The budget of dependencies: their number and their licences.
//!
//! `deny.toml` holds the allowed licences; this test reads it, so that the check needs nothing
//! but cargo.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates linked into the binary on Linux, Bit Chat's own included.
const MAX_IN_BINARY: usize = 340;
/// Packages in the lock file, for all platforms, those of tests included.
const MAX_IN_LOCK: usize = 480;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// `name version|licence` of each package that `cargo tree` finds below the binary.
fn tree(edges: &str) -> BTreeSet<String> {
    cargo_tree(&["--package", "bitchat", "--edges", edges], "{p}|{l}")
}

/// What `cargo tree` prints for each package, in that format.
fn cargo_tree(what: &[&str], format: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(top())
        .args(["tree", "--locked"])
        .args(what)
        .args([
            "--target",
            "x86_64-unknown-linux-gnu",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--format", format])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The strings of the `allow` list of `deny.toml`.
fn allowed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(top().join("deny.toml")).unwrap();
    let list = text
        .split_once("allow = [")
        .unwrap()
        .1
        .split_once(']')
        .unwrap()
        .0;
    list.lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds tighter than `OR`;
/// the old `/` means `OR`.
struct Spdx<'a> {
    words: Vec<String>,
    at: usize,
    allowed: &'a BTreeSet<String>,
}

impl<'a> Spdx<'a> {
    fn is_allowed(expression: &str, allowed: &'a BTreeSet<String>) -> bool {
        let spaced = expression
            .replace('(', " ( ")
            .replace(')', " ) ")
            .replace('/', " OR ")
            .replace(" WITH ", "+WITH+");
        let words = spaced
            .split_whitespace()
            .map(|word| word.replace("+WITH+", " WITH "))
            .collect();
        let mut spdx = Self {
            words,
            at: 0,
            allowed,
        };
        let ok = spdx.either();
        ok && spdx.at == spdx.words.len()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at).is_some_and(|next| next == word);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> bool {
        let mut ok = self.both();
        while self.take("OR") {
            ok |= self.both();
        }
        ok
    }

    fn both(&mut self) -> bool {
        let mut ok = self.one();
        while self.take("AND") {
            ok &= self.one();
        }
        ok
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let ok = self.either();
            return self.take(")") && ok;
        }
        let ok = self
            .words
            .get(self.at)
            .is_some_and(|word| self.allowed.contains(word));
        self.at += 1;
        ok
    }
}

#[test]
fn the_binary_stays_within_its_budget() {
    let crates = tree("normal");
    println!(
        "{} crates in the binary, at most {MAX_IN_BINARY}",
        crates.len()
    );
    assert!(crates.len() > 50, "cargo tree shows the tree: {crates:?}");
    assert!(
        crates.len() <= MAX_IN_BINARY,
        "{} crates in the binary, at most {MAX_IN_BINARY}",
        crates.len()
    );
}

#[test]
fn the_lock_file_stays_within_its_budget() {
    let lock = std::fs::read_to_string(top().join("Cargo.lock")).unwrap();
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    println!("{packages} packages in Cargo.lock, at most {MAX_IN_LOCK}");
    assert!(
        packages <= MAX_IN_LOCK,
        "{packages} packages in Cargo.lock, at most {MAX_IN_LOCK}"
    );
}

#[test]
fn every_licence_is_allowed() {
    let allowed = allowed();
    let refused: Vec<_> = tree("normal,build")
        .into_iter()
        .filter(|line| {
            !line
                .split_once('|')
                .is_some_and(|(_, licence)| Spdx::is_allowed(licence, &allowed))
        })
        .collect();
    assert!(
        refused.is_empty(),
        "not in the allow list of deny.toml: {refused:#?}"
    );
}

/// Building the program and then the tests compiles dependencies once: what only tests need must not change their
/// features, or everything above them is built again (half of a clean build, when that happened).
#[test]
fn tests_and_the_program_use_the_same_features() {
    let program = cargo_tree(
        &["--package", "bitchat", "--edges", "normal,build"],
        "{p} {f}",
    );
    let all = cargo_tree(&["--workspace", "--edges", "normal,build,dev"], "{p} {f}");
    let differ: Vec<_> = program.difference(&all).collect();
    assert!(
        differ.is_empty(),
        "the workspace's tests give these other features; name them in the workspace's Cargo.toml: {differ:#?}"
    );
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]
        .map(str::to_owned)
        .into();
    let ok = |expression| Spdx::is_allowed(expression, &allowed);
    assert!(ok("MIT"));
    assert!(ok("MIT OR GPL-3.0"));
    assert!(ok("GPL-3.0/MIT"));
    assert!(ok("Apache-2.0 WITH LLVM-exception AND MIT"));
    assert!(ok("(MIT OR GPL-3.0) AND (ISC)"));
    assert!(!ok("MIT AND GPL-3.0"));
    assert!(!ok("GPL-3.0 OR MIT AND GPL-2.0"));
    assert!(!ok("(MIT"));
    assert!(!ok("MIT ISC"));
    assert!(!ok(""));
}
