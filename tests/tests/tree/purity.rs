//! What libraries must not touch.

use crate::{
    graph::Crate,
    source::{code, shown, sources, top},
};

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

/// Which of `forbidden` the files below a folder contain, as `file: what`.
fn offences(folder: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(&top().join(folder)) {
        let code = code(&path);
        for what in forbidden.iter().filter(|what| code.contains(**what)) {
            found.push(format!("{}: {what}", shown(&path)));
        }
    }
    found
}

#[test]
fn wire_is_pure() {
    let mut wrong = offences("wire/src", NOT_IN_WIRE);
    // Imports in groups: `use std::{fmt, fs}`.
    for (file, path) in Crate::read(&top().join("wire/src")).written() {
        if let [first, second, ..] = &path[..]
            && first == "std"
            && ["fs", "env", "thread", "process"].contains(&second.as_str())
        {
            wrong.push(format!("{}: std::{second}", shown(file)));
        }
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
