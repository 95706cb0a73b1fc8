//! Ranks: a module imports modules of lower ranks only (`docs/ARCHITECTURE.md`, actors and their ranks).

use std::path::Path;

use crate::{
    graph::Crate,
    source::{shown, top},
};

/// The actors' modules and their ranks.
const RANKS: &[(&str, u8)] = &[
    ("kit", 0),
    ("disguise", 0),
    ("migrations", 0),
    ("store", 1),
    ("transport", 2),
    ("relay", 3),
    ("portmap", 3),
    ("tracker", 4),
    ("dht", 4),
    ("lan", 4),
    ("discovery", 5),
    ("public_relays", 5),
    ("link", 6),
    ("channel", 7),
    ("chat", 8),
    ("node", 9),
];

#[test]
fn actors_import_lower_ranks_only() {
    let wrong = against(RANKS, &top().join("actors/src"), "");
    assert!(
        wrong.is_empty(),
        "a module imports lower ranks only:\n{}",
        wrong.join("\n")
    );
}

/// What imports against the ranks of the children of `module`, a path in the crate at `src` such as `transport` (empty for
/// the crate's root). A child is a folder or a file; each folder must have a rank.
pub(crate) fn against(ranks: &[(&str, u8)], src: &Path, module: &str) -> Vec<String> {
    let of = |name: &str| {
        ranks
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, rank)| *rank)
    };
    let tree = Crate::read(src);
    let parent: Vec<&str> = module.split('/').filter(|part| !part.is_empty()).collect();
    let folder = parent
        .iter()
        .fold(src.to_path_buf(), |path, part| path.join(part));
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" && of(&name).is_none() {
            wrong.push(format!("{} has no rank", shown(&path)));
        }
    }
    for edge in tree.edges() {
        let child = |path: &[String]| {
            let (above, below) = path.split_at_checked(parent.len())?;
            (above == parent).then(|| below.first().cloned())?
        };
        let (Some(from), Some(to)) = (child(&edge.from), child(&edge.to)) else {
            continue;
        };
        let (Some(own), Some(other)) = (of(&from), of(&to)) else {
            continue;
        };
        if other >= own && from != to {
            wrong.push(format!(
                "{}: {from} (rank {own}) imports {to} (rank {other}): {}",
                shown(&edge.file),
                edge.written
            ));
        }
    }
    wrong.sort();
    wrong
}

#[test]
fn an_import_of_a_higher_rank_is_found() {
    let house = crate::graph::sample(&[
        ("lib.rs", "mod low; mod high; mod odd;"),
        ("low/mod.rs", "mod inner; pub struct Low;"),
        ("low/inner.rs", "use crate::{odd::Odd, high::High};"),
        ("high/mod.rs", "use crate::low::Low; pub struct High;"),
        ("odd/mod.rs", "pub struct Odd;"),
    ]);
    let wrong = against(&[("low", 0), ("high", 1)], house.path(), "");
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong[0].contains("low (rank 0) imports high (rank 1)"),
        "{wrong:?}"
    );
    assert!(wrong[1].ends_with("odd has no rank"), "{wrong:?}");
}
