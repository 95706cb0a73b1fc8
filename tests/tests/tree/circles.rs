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

/// Imports that close a circle and stay: the folder, the file or folder that imports, what it imports, the reason.
const ALLOWED: &[(&str, &str, &str, &str)] = &[
    (
        "actors/src/dht",
        "api",
        "actor",
        "the handle starts the actor and sends it messages",
    ),
    (
        "actors/src/dht",
        "api",
        "metrics",
        "the handle registers the gauges at the start",
    ),
    (
        "actors/src/discovery",
        "api",
        "actor",
        "the handle starts the actor and sends it messages",
    ),
    (
        "actors/src/discovery",
        "api",
        "source",
        "the handle gathers the sources at the start",
    ),
    (
        "actors/src/lan",
        "api",
        "actor",
        "the handle starts the actor and sends it messages",
    ),
    (
        "actors/src/portmap",
        "api",
        "actor",
        "the handle starts the actor and sends it messages",
    ),
    (
        "actors/src/relay",
        "msg",
        "client",
        "messages to the client carry its inputs",
    ),
    (
        "actors/src/tracker",
        "api",
        "actor",
        "the handle starts the actor and sends it messages",
    ),
];

/// The imports between the files and folders of a folder: from, to, and how the first of them is written.
type Imports = BTreeMap<(String, String), String>;

#[test]
fn files_of_a_folder_import_each_other_in_no_circle() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for src in ["actors/src", "wire/src", "node/src"] {
        let folders = folders(&top().join(src));
        for (folder, imports) in &folders {
            let folder = format!("{src}/{folder}");
            let folder = folder.trim_end_matches('/');
            let allowed = |from: &str, to: &str| {
                ALLOWED
                    .iter()
                    .position(|entry| (entry.0, entry.1, entry.2) == (folder, from, to))
            };
            // An entry is needed as long as its import is part of a circle.
            for circle in circles(imports) {
                let ends = imports
                    .keys()
                    .filter(|(from, to)| circle.contains(from) && circle.contains(to));
                used.extend(ends.filter_map(|(from, to)| allowed(from, to)));
            }
            let mut rest = imports.clone();
            rest.retain(|(from, to), _| allowed(from, to).is_none());
            wrong.extend(
                circles(&rest)
                    .iter()
                    .map(|circle| shown(folder, circle, &rest)),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} circles of imports:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let all = ALLOWED.iter().enumerate();
    let unneeded: Vec<_> = all.filter(|(at, _)| !used.contains(at)).collect();
    assert!(
        unneeded.is_empty(),
        "allowed, but part of no circle: {unneeded:?}"
    );
}

fn shown(folder: &str, circle: &BTreeSet<String>, imports: &Imports) -> String {
    let files: Vec<_> = circle.iter().map(String::as_str).collect();
    let inside = |(from, to): &(String, String)| circle.contains(from) && circle.contains(to);
    let lines: Vec<_> = imports
        .iter()
        .filter(|(ends, _)| inside(ends))
        .map(|((from, to), how)| format!("    {from} -> {to}  ({how})"))
        .collect();
    format!("{folder}: {}\n{}", files.join(", "), lines.join("\n"))
}

/// Per folder of the crate: which of its files and folders imports which, and how that is written.
fn folders(src: &Path) -> BTreeMap<String, Imports> {
    let mut folders: BTreeMap<String, Imports> = BTreeMap::new();
    for edge in Crate::read(src).edges() {
        let ends = edge.from.iter().zip(&edge.to);
        let common = ends.take_while(|(a, b)| a == b).count();
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
    folders
}

/// The sets of files that import each other in circles.
fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in imports.keys() {
        next.entry(from).or_default().push(to);
    }
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for &start in next.keys() {
        if found.iter().any(|circle| circle.contains(start)) {
            continue;
        }
        // In a circle with `start`: all that it reaches and that reach it.
        let circle: BTreeSet<String> = reachable(&next, start)
            .into_iter()
            .filter(|other| reachable(&next, other).contains(start))
            .map(str::to_owned)
            .collect();
        if !circle.is_empty() {
            found.push(circle);
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
    let in_a = |files: &[(&str, &str)]| {
        let house = crate::graph::sample(&[&[("lib.rs", "mod a;")], files].concat());
        let folders = folders(house.path());
        folders.get("a").map(circles).unwrap_or_default()
    };
    let set = |names: &[&str]| {
        vec![
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<BTreeSet<_>>(),
        ]
    };

    let fine = in_a(&[
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
    assert!(fine.is_empty(), "{fine:?}");

    let three = in_a(&[
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
    assert_eq!(three, set(&["one", "three", "two"]));

    let passed_on = in_a(&[
        (
            "a/mod.rs",
            "mod one; mod two; use one::One; use two::Two; fn f(_: One, _: Two) {}",
        ),
        ("a/one.rs", "use super::Two; pub struct One(Box<Two>);"),
        ("a/two.rs", "use super::One; pub struct Two(Box<One>);"),
    ]);
    assert_eq!(passed_on, set(&["one", "two"]));

    let folders = in_a(&[
        ("a/mod.rs", "mod deep; mod flat;"),
        ("a/deep/mod.rs", "mod inner;"),
        ("a/deep/inner.rs", "use crate::a::flat::Flat;"),
        ("a/flat.rs", "pub struct Flat; use super::deep::inner;"),
    ]);
    assert_eq!(folders, set(&["deep", "flat"]));
}
