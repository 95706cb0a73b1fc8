//! Tests, or parts of them, that this machine cannot run.
//!
//! `cargo test` captures what a passing test prints, so each skip is also appended to the file that
//! `BITCHAT_TEST_SKIPPED` names, whose lines `./test` prints in its summary. This source file is also compiled into the
//! tests of `bitchat-actors`, which cannot depend on this crate.

use std::{
    fmt::Display,
    io::Write as _,
    net::{Ipv6Addr, UdpSocket},
};

/// The variable that names the file.
const FILE: &str = "BITCHAT_TEST_SKIPPED";

/// Records that the current test, or a part of it, is skipped, and why.
///
/// # Panics
/// When the file cannot be written.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    // The test harness names the thread of a test after it; with `--test-threads=1` there is none.
    let test = thread.name().unwrap_or("a test");
    skip_named(test, reason);
}

/// As [`skip`], for this test.
///
/// # Panics
/// When the file cannot be written.
#[allow(clippy::print_stdout, reason = "shown when the test is run alone")]
pub fn skip_named(test: &str, reason: impl Display) {
    let line = format!("SKIPPED  {test}: {reason}\n");
    print!("{line}");
    let Some(path) = std::env::var_os(FILE) else {
        return;
    };
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    // In one piece: tests of several processes append at the same time.
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        panic!("{FILE}: {error}");
    }
}

/// Whether `::1` can be bound. If not, the test skips what needs it, which is recorded.
pub fn has_ipv6() -> bool {
    let there = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !there {
        skip("no IPv6 on loopback");
    }
    there
}
