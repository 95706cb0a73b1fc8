//! No circle of imports between the files of one folder.
//!
//! The nodes of a folder are its files and the folders in it; the edges are what [`Crate::edges`] finds. The folder's own
//! `mod.rs` is the room that the others stand in: they may use what it defines (as they see what is private there), so
//! it is no node. What it merely passes on from one of them to another is an edge between these two.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{graph::Crate, source::top};

/// Circles that stay, and why: the folder, the files that a circle there may have, the reason.
const ALLOWED: &[(&str, &[&str], &str)] = &[
    (
        "actors/src/channel/sim",
        &["rogue", "world"],
        "the world runs its members, honest and rogue, and these look around in it (test code)",
    ),
    (
        "actors/src/dht",
        &["actor", "announce", "api", "metrics", "pending", "state"],
        "`start` in `api` builds the actor, which takes its settings and handle from there",
    ),
    (
        "actors/src/discovery",
        &["actor", "api", "book", "budget", "sources", "state"],
        "`start` in `api` builds the actor, which takes its settings and handle from there",
    ),
    (
        "actors/src/lan",
        &["actor", "api"],
        "`start` in `api` builds the actor, which takes its settings and handle from there",
    ),
    (
        "actors/src/portmap",
        &["actor", "api", "ask"],
        "`start` in `api` builds the actor, which takes its settings and handle from there",
    ),
    (
        "actors/src/relay",
        &["client", "msg"],
        "the client's messages carry its own events",
    ),
    (
        "actors/src/tracker",
        &[
            "actor",
            "api",
            "ask",
            "http",
            "swarm",
            "tiers",
            "udp_client",
        ],
        "`start` in `api` builds the actor, which takes its settings and handle from there",
    ),
];

/// A circle: the folder, its files, and the imports that make it.
struct Circle {
    folder: String,
    files: BTreeSet<String>,
    imports: Vec<String>,
}

#[test]
fn files_of_a_folder_import_each_other_in_no_circle() {
    let mut wrong = Vec::new();
    for src in ["actors/src", "wire/src", "node/src"] {
        for circle in circles(&top().join(src)) {
            let folder = format!("{src}/{}", circle.folder);
            let folder = folder.trim_end_matches('/');
            let allowed = ALLOWED.iter().any(|(of, files, _)| {
                *of == folder
                    && circle
                        .files
                        .iter()
                        .all(|file| files.contains(&file.as_str()))
            });
            if !allowed {
                let files: Vec<_> = circle.files.into_iter().collect();
                wrong.push(format!(
                    "{folder}: {}\n    {}",
                    files.join(", "),
                    circle.imports.join("\n    ")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} circles of imports:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn circles(src: &Path) -> Vec<Circle> {
    // Per folder: which file imports which, and how it is written.
    let mut folders: BTreeMap<String, BTreeMap<(String, String), String>> = BTreeMap::new();
    for edge in Crate::read(src).edges() {
        let common = edge
            .from
            .iter()
            .zip(&edge.to)
            .take_while(|(a, b)| a == b)
            .count();
        let (Some(from), Some(to)) = (edge.from.get(common), edge.to.get(common)) else {
            continue;
        };
        folders
            .entry(edge.from[..common].join("/"))
            .or_default()
            .entry((from.clone(), to.clone()))
            .or_insert_with(|| {
                let file = edge.file.strip_prefix(src).unwrap_or(&edge.file);
                format!("{}: {}", file.display(), edge.written)
            });
    }
    let mut found = Vec::new();
    for (folder, edges) in folders {
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (from, to) in edges.keys() {
            next.entry(from).or_default().push(to);
        }
        let mut grouped = BTreeSet::new();
        for &start in next.keys() {
            if grouped.contains(start) {
                continue;
            }
            // In a circle with `start`: all that it reaches and that reach it.
            let circle: BTreeSet<String> = reachable(&next, start)
                .into_iter()
                .filter(|other| reachable(&next, other).contains(start))
                .map(str::to_owned)
                .collect();
            if circle.is_empty() {
                continue;
            }
            grouped.extend(circle.iter().cloned());
            let inside =
                |(from, to): &(String, String)| circle.contains(from) && circle.contains(to);
            let imports = edges
                .iter()
                .filter(|(ends, _)| inside(ends))
                .map(|((from, to), how)| format!("{from} -> {to}  ({how})"))
                .collect();
            found.push(Circle {
                folder: folder.clone(),
                files: circle,
                imports,
            });
        }
    }
    found
}

/// What `start` leads to; itself only if it leads back.
fn reachable<'a>(next: &BTreeMap<&'a str, Vec<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut queue: Vec<&str> = next.get(start).cloned().unwrap_or_default();
    while let Some(at) = queue.pop() {
        if seen.insert(at) {
            queue.extend(next.get(at).into_iter().flatten());
        }
    }
    seen
}

#[test]
fn circles_are_found_and_a_folder_that_re_exports_is_none() {
    let fine = crate::graph::sample(&[
        ("lib.rs", "pub mod a;"),
        (
            "a/mod.rs",
            "mod one; mod two; pub use one::One; pub(crate) use two::*; use one::f; pub struct Own(One);",
        ),
        (
            "a/one.rs",
            "use super::{Two, Own}; pub struct One(Two); fn f(_: Own) {}",
        ),
        ("a/two.rs", "pub struct Two;"),
    ]);
    assert!(circles(fine.path()).is_empty());

    let twins = crate::graph::sample(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod one; mod two; mod three; pub use one::One; pub use two::Two;",
        ),
        ("a/one.rs", "use super::Two; pub struct One(Two);"),
        (
            "a/two.rs",
            "pub struct Two; fn f() { let _ = super::three::g(); }",
        ),
        ("a/three.rs", "pub fn g(_: Option<crate::a::One>) {}"),
    ]);
    let found = circles(twins.path());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].folder, "a");
    assert_eq!(
        found[0].files,
        ["one", "three", "two"].map(str::to_owned).into()
    );

    let passed_on = crate::graph::sample(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod one; mod two; use one::One; use two::Two; fn f(_: One, _: Two) {}",
        ),
        ("a/one.rs", "use super::Two; pub struct One(Box<Two>);"),
        ("a/two.rs", "use super::One; pub struct Two(Box<One>);"),
    ]);
    let found = circles(passed_on.path());
    assert_eq!(found[0].files, ["one", "two"].map(str::to_owned).into());
}
