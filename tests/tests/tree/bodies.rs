//! What an event means is decided in `chat`: `channel` replicates logs, `store` keeps them, and neither
//! names a body of an event but those of the log itself.

use std::path::Path;

use crate::source::{code, shown, sources, tokens, top};

/// Folders that know no bodies.
const FOLDERS: &[&str] = &["actors/src/channel", "actors/src/store"];

/// What they may name of `Body`: the bodies of the log itself (`wire/src/event/log.rs`).
const OF_LOGS: &[&str] = &["Genesis", "Leave", "leave"];

/// Names from the files of other bodies in `wire/src/event`, and of what `chat` makes of them.
const OF_CHAT: &[&str] = &[
    "BodyError",
    "EventKind",
    "MAX_EMOJI",
    "MAX_MENTIONS",
    "MAX_PICTURE",
    "MAX_PROFILE_NAME",
    "MAX_STATUS",
    "MAX_TEXT",
    "Picture",
    "ReadMark",
    "Said",
];

#[test]
fn channel_and_store_name_no_body_of_a_capability() {
    let wrong: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| sources(&top().join(folder)))
        .filter(|path| !is_simulator(path))
        .flat_map(|path| {
            let found = bodies(&code(&path));
            found
                .into_iter()
                .map(move |what| format!("{}: {what}", shown(&path)))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "what events mean belongs to chat, behind store's Index and channel's Reader:\n{}",
        wrong.join("\n")
    );
}

/// The simulator of channels is part of the tests, and writes texts to have something to replicate.
fn is_simulator(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "sim")
}

fn bodies(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (at, &token) in tokens.iter().enumerate() {
        if OF_CHAT.contains(&token) {
            found.push(token.to_owned());
        }
        let [first, "::", second] = tokens[at..tokens.len().min(at + 3)] else {
            continue;
        };
        match (first, second) {
            ("Body", "of") => {}
            ("Body", body) if !OF_LOGS.contains(&body) => found.push(format!("Body::{body}")),
            ("crate", "chat") => found.push("crate::chat".to_owned()),
            ("crate", "{") if group(&tokens[at + 2..]).contains(&"chat") => {
                found.push("crate::{chat}".to_owned());
            }
            _ => {}
        }
    }
    found
}

/// The tokens of the group in braces at the start.
fn group<'a>(tokens: &'a [&'a str]) -> &'a [&'a str] {
    let mut depth = 0_i32;
    let end = tokens.iter().position(|&token| {
        depth += i32::from(token == "{") - i32::from(token == "}");
        depth == 0
    });
    &tokens[..end.unwrap_or(tokens.len())]
}

#[test]
fn bodies_are_found() {
    assert!(bodies("match Body::of(e) { Body::Genesis(c) => c, _ => Body::leave() }").is_empty());
    assert!(bodies("use crate::{store::Store, link}; fn chat() {}").is_empty());
    for (code, what) in [
        ("if let Body::Text(t) = b {}", "Body::Text"),
        ("Body::read_mark(m)", "Body::read_mark"),
        ("use crate::{store::{A, B}, chat::Chat};", "crate::{chat}"),
        ("crate::chat::fold(x)", "crate::chat"),
        ("fn f(k: EventKind) {}", "EventKind"),
        ("use bitchat_wire::event::{Body, ReadMark};", "ReadMark"),
    ] {
        assert_eq!(bodies(code), [what], "{code}");
    }
}
