//! Documents name only what exists: links, paths, tests and commands.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::source::{shown, top};

/// Documents beside those in `docs/`.
const DOCUMENTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "tests/PREDECESSORS.md",
    "docs/models/README.md",
];

/// Folders that a path in a document may be relative to, in this order.
const BASES: &[&str] = &["", "actors/src", "node/src", "wire/src"];

/// Folders that hold tests, and code that they call.
const CODE: &[&str] = &["actors", "fuzz", "node", "tests", "wire"];

/// Marks a line about what is to come, whose paths need not exist.
const PLANNED: &str = "*(planned)*";

/// Endings of names of figures and metrics, which look like names of tests.
const UNITS: &[&str] = &[
    "_bytes", "_copies", "_kib", "_mib", "_ms", "_pct", "_per_s", "_ratio", "_s", "_total",
];

/// A piece of code in a document.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    line: usize,
    text: String,
}

struct Document {
    path: PathBuf,
    /// Numbers of the lines with [`PLANNED`].
    planned: Vec<usize>,
    /// Between backticks, without line breaks.
    spans: Vec<Piece>,
    /// The lines of code blocks.
    block: Vec<Piece>,
    /// Targets of links.
    links: Vec<Piece>,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Self {
        let (mut block, mut prose, mut fenced) = (Vec::new(), String::new(), false);
        let mut planned = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.contains(PLANNED) {
                planned.push(at + 1);
            }
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            if fenced && !fence {
                let text = line.to_owned();
                block.push(Piece { line: at + 1, text });
            } else if !fence {
                prose.push_str(line);
            }
            prose.push('\n');
        }
        let piece = |from: usize, to: usize| Piece {
            line: prose[..from].lines().count().max(1),
            text: prose[from..to]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
        };
        let ticks: Vec<usize> = prose.match_indices('`').map(|(at, _)| at).collect();
        let spans = ticks
            .chunks_exact(2)
            .map(|ends| piece(ends[0] + 1, ends[1]))
            .collect();
        let links = prose
            .match_indices("](")
            .filter_map(|(at, _)| Some(piece(at + 2, at + prose[at..].find(')')?)))
            .collect();
        Self {
            path,
            planned,
            spans,
            block,
            links,
        }
    }
}

fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = DOCUMENTS.iter().map(|name| top().join(name)).collect();
    for entry in std::fs::read_dir(top().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(Document::read).collect()
}

/// What `wrong` finds in all documents, as `file:line: ...`.
fn all(wrong: impl Fn(&Document) -> Vec<(usize, String)>) -> String {
    let found: Vec<_> = documents()
        .iter()
        .flat_map(|document| {
            let file = shown(&document.path);
            wrong(document)
                .into_iter()
                .map(move |(line, what)| format!("{file}:{line}: {what}"))
        })
        .collect();
    found.join("\n")
}

#[test]
fn paths_in_documents_exist() {
    let wrong = all(wrong_paths);
    assert!(wrong.is_empty(), "named, but not there:\n{wrong}");
}

fn wrong_paths(document: &Document) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for link in &document.links {
        let target = link.text.split('#').next().unwrap();
        let here = document.path.parent().unwrap();
        if !target.is_empty() && !target.contains(':') && !here.join(target).exists() {
            wrong.push((link.line, target.to_owned()));
        }
    }
    let commands = document.block.iter().flat_map(|line| {
        let first = line.text.split_whitespace().find(|word| *word != "$");
        first.map(|text| (line.line, text.trim_start_matches("./").to_owned()))
    });
    let spans = document.spans.iter().flat_map(|span| {
        span.text
            .split(' ')
            .map(|word| (span.line, word.to_owned()))
    });
    for (line, text) in spans.chain(commands) {
        for path in braces(&text) {
            if is_path(&path)
                && !document.planned.contains(&line)
                && !BASES
                    .iter()
                    .any(|base| top().join(base).join(&path).exists())
            {
                wrong.push((line, path));
            }
        }
    }
    wrong
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn braces(text: &str) -> Vec<String> {
    let Some((head, (inner, tail))) = text
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)))
    else {
        return vec![text.to_owned()];
    };
    inner
        .split(',')
        .flat_map(|one| braces(&format!("{head}{}{tail}", one.trim())))
        .collect()
}

/// Whether this names a file or folder of the repository: with a slash, and either the extension of a file that we have
/// or the start of a folder that we have. Placeholders in capitals (`NAME.rs`) are left out.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    // What is built is below `target`.
    if !text.contains('/')
        || text.starts_with('/')
        || text.starts_with("target/")
        || !text.chars().all(plain)
        || text.contains("..")
    {
        return false;
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let placeholder = |part: &&str| {
        let stem = part.split(['.', '-', '_']).next().unwrap();
        stem.len() > 1 && stem.chars().all(|c| c.is_ascii_uppercase())
    };
    if parts
        .iter()
        .any(|part| placeholder(part) && !part.ends_with(".md"))
    {
        return false;
    }
    let extensions = [
        "rs", "md", "toml", "proto", "json", "sh", "py", "mjs", "sql", "yml", "txt", "vp",
        "service",
    ];
    let last = Path::new(parts.last().unwrap());
    let known = last
        .extension()
        .is_some_and(|e| extensions.contains(&e.to_str().unwrap()));
    known
        || BASES.iter().any(|base| {
            parts.len() + usize::from(text.ends_with('/')) > 1
                && top().join(base).join(parts[0]).is_dir()
        })
}

#[test]
fn tests_in_documents_exist() {
    let functions = test_functions();
    let wrong = all(|document| wrong_tests(document, &functions));
    assert!(wrong.is_empty(), "no test has that name:\n{wrong}");
}

fn wrong_tests(document: &Document, functions: &BTreeSet<String>) -> Vec<(usize, String)> {
    let spans = document.spans.iter().flat_map(|span| {
        let words = span.text.split(' ');
        words.map(|word| {
            (
                span.line,
                word.trim_matches([',', ';', '(', ')']).to_owned(),
            )
        })
    });
    spans
        .filter(|(_, word)| looks_like_a_test(word) && !functions.contains(word))
        .collect()
}

/// Four words or more, joined by `_`: shorter names are those of settings and of other functions.
fn looks_like_a_test(word: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    word.split('_').count() >= 4
        && word.split('_').all(plain)
        && !word.starts_with("bitchat_")
        && !UNITS.iter().any(|unit| word.ends_with(unit))
}

/// The names of all functions, in tests or called by them.
fn test_functions() -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for file in CODE.iter().flat_map(|folder| all_rust(&top().join(folder))) {
        let text = std::fs::read_to_string(file).unwrap();
        for at in text.match_indices("fn ").map(|(at, _)| at + 3) {
            let name = text[at..].split(|c: char| !c.is_alphanumeric() && c != '_');
            functions.extend(name.take(1).map(str::to_owned));
        }
    }
    functions
}

/// All Rust files below a folder, tests included, without what was built.
fn all_rust(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            found.extend(all_rust(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn commands_in_documents_exist() {
    let wrong = all(wrong_commands);
    assert!(wrong.is_empty(), "no such command:\n{wrong}");
}

fn wrong_commands(document: &Document) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for piece in document.spans.iter().chain(&document.block) {
        let text = piece.text.split(" #").next().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let rest = &words[at + 1..];
            let problem = match *word {
                "bitchat" => program(rest),
                "docker/testbed" => testbed(rest),
                "cargo" => cargo(rest),
                _ => None,
            };
            wrong.extend(problem.map(|problem| (piece.line, format!("{text}: {problem}"))));
        }
    }
    wrong
}

/// Follows the words behind `bitchat` down the tree of its commands; a placeholder, a value or an option that takes one ends
/// the walk.
fn program(words: &[&str]) -> Option<String> {
    let tree = bitchat::cli::command();
    let mut at = &tree;
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap();
            let found = [at, &tree]
                .into_iter()
                .flat_map(clap_options)
                .find(|(name, _)| name == flag);
            match found {
                _ if flag == "help" || flag == "version" => {}
                Some((_, true)) => drop(words.next()),
                Some((_, false)) => {}
                // Not ours: `docker run --name bitchat --read-only`.
                None if std::ptr::eq(at, &raw const tree) => return None,
                None => return Some(format!("no option --{flag} of {}", at.get_name())),
            }
            continue;
        }
        let plain = |c: char| c.is_ascii_lowercase() || c == '-' || c == '|';
        if !at.has_subcommands() || word == "bitchat" || !word.chars().all(plain) {
            return None;
        }
        let mut found = None;
        for one in word.split('|') {
            found = at.get_subcommands().find(|c| c.get_name() == one);
            if found.is_none() && one != "help" {
                return Some(format!("no command {one} of {}", at.get_name()));
            }
        }
        at = found?;
    }
    None
}

/// The long options of a command, and whether each takes a value.
fn clap_options(command: &clap::Command) -> Vec<(String, bool)> {
    command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_action().takes_values())))
        .collect()
}

fn testbed(words: &[&str]) -> Option<String> {
    let source = std::fs::read_to_string(top().join("docker/testbed_lib/cli.py")).unwrap();
    let verb = words
        .iter()
        .find(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'))?;
    let quoted = format!("\"{verb}\"");
    (!verb.starts_with('-') && !source.contains(&quoted)).then(|| format!("no verb {verb}"))
}

/// Packages, tests, programs and examples that `cargo` is asked for.
fn cargo(words: &[&str]) -> Option<String> {
    let ours = ["actors", "node", "tests", "wire"];
    for pair in words.windows(2) {
        let folders: &[&str] = match pair[0] {
            "-p" | "--package" => {
                let named = |krate: &&str| {
                    let manifest = top().join(krate).join("Cargo.toml");
                    let text = std::fs::read_to_string(manifest).unwrap();
                    text.contains(&format!("name = \"{}\"", pair[1]))
                };
                if ours.iter().any(named) {
                    continue;
                }
                return Some(format!("no package {}", pair[1]));
            }
            "--test" => &["tests"],
            "--bin" => &["src/bin"],
            "--example" => &["examples"],
            _ => continue,
        };
        let exists = ours
            .iter()
            .flat_map(|krate| folders.iter().map(move |f| top().join(krate).join(f)))
            .any(|folder| {
                folder.join(format!("{}.rs", pair[1])).exists()
                    || folder.join(pair[1]).join("main.rs").exists()
            });
        let placeholder = pair[1].chars().all(|c| c.is_ascii_uppercase());
        if !exists && !placeholder {
            return Some(format!("no target {}", pair[1]));
        }
    }
    None
}

#[test]
fn what_does_not_exist_is_found() {
    let text = "See [a](docs/NO.md), [b](README.md#x) and `actors/src/nowhere.rs`, `store/no_such.rs`, `wire/src/{lib,gone}.rs`,\n\
        `migrations/NAME.sql`, `application/json`, `tests/tests/tree/`.\n\
        `no_test_has_this_name`, `what_does_not_exist_is_found`, `link_rtt_p50_ratio`\n\
        `bitchat\nchannel fly`, `bitchat channel tracker add|remove`, `bitchat up --no-lan`, `bitchat up --fly`, `bitchat CMD`\n\
        ```sh\n$ bitchat --home X lift   # bitchat fly\ntests/gone --all\n./test\ndocker/testbed fly\ndocker/testbed smoke\n\
        docker run --name bitchat --read-only bitchat up\ncargo test -p bitchat-tests --test fly\ncargo run --bin bench -- relay\n```\n";
    let document = Document::parse(top().join("X.md"), text);
    let only =
        |found: Vec<(usize, String)>| found.into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    let paths = wrong_paths(&document);
    let names: Vec<_> = paths.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "docs/NO.md",
            "actors/src/nowhere.rs",
            "store/no_such.rs",
            "wire/src/gone.rs",
            "tests/gone"
        ]
    );
    let tests = wrong_tests(&document, &test_functions());
    assert_eq!(tests, [(3, "no_test_has_this_name".to_owned())]);
    let commands = wrong_commands(&document);
    assert_eq!(
        only(commands),
        [4, 5, 7, 10, 13],
        "{:?}",
        wrong_commands(&document)
    );
}
