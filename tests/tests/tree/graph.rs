//! Which module of a crate uses which, from the paths in its source.
//!
//! A path counts for the file that defines what it names: re-exports (`pub use child::Item`) and imports that a
//! parent passes on (`use super::Item`) are followed to the end. So a `mod.rs` that only re-exports its children is
//! used by nobody, and one that defines what its children use is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::source::{strip, tokens};

/// A module's path in its crate; empty for the root.
pub(crate) type Module = Vec<String>;

/// Steps after which re-exports are given up: they may lead around in circles.
const MAX_DEPTH: u8 = 16;

/// One use of another module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    /// The module that uses.
    pub from: Module,
    /// The module whose file defines what is used.
    pub to: Module,
    /// The file of `from`.
    pub file: PathBuf,
    /// The path as it is written there.
    pub written: String,
}

/// A name that a `use` brings into a module.
#[derive(Debug)]
struct Import {
    /// The name; `*` for a glob.
    name: String,
    path: Vec<String>,
    public: bool,
}

#[derive(Debug, Default)]
struct File {
    path: PathBuf,
    imports: Vec<Import>,
    /// Names of items that are defined here.
    defined: BTreeSet<String>,
    /// Paths outside of `use` items.
    paths: Vec<Vec<String>>,
}

/// The modules of a crate that have a file, without tests.
pub(crate) struct Crate(BTreeMap<Module, File>);

impl Crate {
    /// Reads the crate whose root is in `src`.
    pub(crate) fn read(src: &Path) -> Self {
        let mut files = BTreeMap::new();
        let root = ["lib.rs", "main.rs"]
            .map(|name| src.join(name))
            .into_iter()
            .find(|path| path.exists())
            .unwrap();
        read_module(&root, src, Vec::new(), &mut files);
        Self(files)
    }

    /// All uses between different modules.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = BTreeSet::new();
        for (module, file) in &self.0 {
            let mut add = |path: &[String]| {
                let Some(to) = self.resolve(module, path, true, 0) else {
                    return;
                };
                if to != *module {
                    edges.insert(Edge {
                        from: module.clone(),
                        to,
                        file: file.path.clone(),
                        written: path.join("::"),
                    });
                }
            };
            for import in &file.imports {
                let only_passed_on = import.public && !file.mentions(&import.name);
                if import.name == "*" {
                    if !import.public {
                        self.through_glob(module, file, &import.path, &mut add);
                    }
                } else if !only_passed_on {
                    add(&import.path);
                }
            }
            for path in &file.paths {
                add(path);
            }
        }
        edges.into_iter().collect()
    }

    /// All paths that are written, with their files: of other crates, too.
    pub(crate) fn written(&self) -> impl Iterator<Item = (&PathBuf, &Vec<String>)> {
        self.0.values().flat_map(|file| {
            let imports = file.imports.iter().map(|import| &import.path);
            imports.chain(&file.paths).map(|path| (&file.path, path))
        })
    }

    /// A glob import uses those names of its module that the file mentions.
    fn through_glob(
        &self,
        module: &Module,
        file: &File,
        path: &[String],
        add: &mut impl FnMut(&[String]),
    ) {
        let Some(target) = self.resolve(module, path, true, 0) else {
            return;
        };
        for name in self.names(&target, 0).filter(|name| file.mentions(name)) {
            let mut whole = path.to_vec();
            whole.push(name.to_owned());
            add(&whole);
        }
    }

    /// All names of a module, those that its own globs bring in included.
    fn names(&self, module: &Module, depth: u8) -> Box<dyn Iterator<Item = &str> + '_> {
        let Some(file) = self.0.get(module).filter(|_| depth < MAX_DEPTH) else {
            return Box::new(std::iter::empty());
        };
        let module = module.clone();
        let globbed = file
            .imports
            .iter()
            .filter(|import| import.name == "*")
            .filter_map(move |glob| self.resolve(&module, &glob.path, true, depth + 1))
            .flat_map(move |target| self.names(&target, depth + 1));
        let own = file.defined.iter().map(String::as_str);
        let imported = file.imports.iter().map(|import| import.name.as_str());
        Box::new(own.chain(imported).chain(globbed))
    }

    /// The module that defines what `path`, written in `module`, names; `None` for another crate.
    fn resolve(
        &self,
        module: &Module,
        path: &[String],
        written: bool,
        depth: u8,
    ) -> Option<Module> {
        if depth > MAX_DEPTH {
            return Some(module.clone());
        }
        let mut at = module.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            // A name of the module's own, or another crate.
            first if written && !self.knows(&at, first) => return None,
            _ => {}
        }
        while let Some((name, tail)) = rest.split_first() {
            let mut child = at.clone();
            child.push(name.clone());
            if self.0.contains_key(&child) {
                at = child;
                rest = tail;
                continue;
            }
            let Some(file) = self.0.get(&at) else { break };
            if file.defined.contains(name) {
                break;
            }
            let named = file.imports.iter().find(|import| import.name == *name);
            let through = named.and_then(|import| self.resolve(&at, &import.path, true, depth + 1));
            if let Some(through) = through {
                return if tail.is_empty() {
                    Some(through)
                } else {
                    self.resolve(&through, tail, false, depth + 1)
                };
            }
            let globs = file.imports.iter().filter(|import| import.name == "*");
            for glob in globs {
                if let Some(target) = self.resolve(&at, &glob.path, true, depth + 1)
                    && target != at
                    && self.knows(&target, name)
                {
                    return self.resolve(&target, rest, false, depth + 1);
                }
            }
            break;
        }
        Some(at)
    }

    fn knows(&self, module: &Module, name: &str) -> bool {
        let mut child = module.clone();
        child.push(name.to_owned());
        self.0.contains_key(&child) || self.names(module, MAX_DEPTH - 4).any(|own| own == name)
    }
}

impl File {
    fn mentions(&self, name: &str) -> bool {
        self.paths.iter().any(|path| path[0] == name)
    }
}

fn read_module(file: &Path, folder: &Path, module: Module, files: &mut BTreeMap<Module, File>) {
    let code = strip(&std::fs::read_to_string(file).unwrap());
    let (parsed, children) = parse(&tokens(&code));
    for child in children {
        let flat = folder.join(format!("{child}.rs"));
        let nested = folder.join(&child).join("mod.rs");
        let at = if flat.exists() { flat } else { nested };
        let mut path = module.clone();
        path.push(child.clone());
        if at.exists() {
            read_module(&at, &folder.join(&child), path, files);
        }
    }
    let path = file.to_path_buf();
    files.insert(module, File { path, ..parsed });
}

/// What a file's code holds, and the modules that it declares.
fn parse(tokens: &[&str]) -> (File, Vec<String>) {
    let (mut file, mut children) = (File::default(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1).copied().unwrap_or_default();
        match tokens[at] {
            "use" if !next.starts_with(['<', ',', '>']) => {
                let public = is_public(&tokens[..at]);
                let end = at + tokens[at..].iter().position(|&t| t == ";").unwrap();
                use_tree(&tokens[at + 1..end], &[], public, &mut file.imports);
                at = end;
            }
            "mod" if tokens.get(at + 2) == Some(&";") => {
                children.push(next.to_owned());
                at += 2;
            }
            "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" | "fn" | "mod"
            | "macro_rules"
                if is_name(next) || next == "!" =>
            {
                let name = if next == "!" { tokens[at + 2] } else { next };
                file.defined.insert(name.to_owned());
                at += 1;
            }
            word if is_name(word) && at.checked_sub(1).is_none_or(|i| tokens[i] != ".") => {
                let mut path = vec![word.to_owned()];
                while tokens.get(at + 1) == Some(&"::")
                    && tokens.get(at + 2).is_some_and(|t| is_name(t))
                {
                    path.push(tokens[at + 2].to_owned());
                    at += 2;
                }
                // `pub(super)`, `self.field`
                if path
                    .iter()
                    .any(|part| !["crate", "self", "super"].contains(&part.as_str()))
                {
                    file.paths.push(path);
                }
            }
            _ => {}
        }
        at += 1;
    }
    (file, children)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether the item that begins behind these tokens is `pub`, in whatever scope.
fn is_public(before: &[&str]) -> bool {
    match before {
        [.., "pub"] => true,
        [head @ .., ")"] => {
            let open = head.iter().rposition(|&t| t == "(");
            open.is_some_and(|open| head[..open].last() == Some(&"pub"))
        }
        _ => false,
    }
}

/// Adds the names of a `use` tree such as `a::{b, c::{self, d as e}, f::*}`.
fn use_tree(tree: &[&str], prefix: &[String], public: bool, out: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tree.len() {
        match tree[at] {
            "::" => {}
            "{" => {
                for part in parts(&tree[at + 1..tree.len() - 1]) {
                    use_tree(part, &path, public, out);
                }
                return;
            }
            "*" => {
                let name = "*".to_owned();
                out.push(Import { name, path, public });
                return;
            }
            "as" => {
                let name = tree[at + 1].to_owned();
                out.push(Import { name, path, public });
                return;
            }
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().cloned() {
        out.push(Import { name, path, public });
    }
}

/// Splits at the commas that are in no inner braces.
fn parts<'a>(list: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let mut depth = 0_i32;
    list.split(|&token| {
        depth += i32::from(token == "{") - i32::from(token == "}");
        token == "," && depth == 0
    })
    .filter(|part| !part.is_empty())
    .collect()
}

/// A made-up crate of these files, for the tests of the checks.
pub(crate) fn sample(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn uses_are_followed_to_where_a_name_is_defined() {
    let house = sample(&[
        ("lib.rs", "mod a; mod b; pub mod c; pub use c::deep::Deep;"),
        (
            "a.rs",
            "use crate::{b::{self, B as X}, Deep}; fn f() { super::c::g(); std::mem::take(); } pub struct A;",
        ),
        (
            "b.rs",
            "use super::c::*; pub struct B(Inner); mod inline { struct NotHere; }",
        ),
        (
            "c/mod.rs",
            "pub mod deep; mod inner; use deep::Deep; pub use inner::*; pub fn g(_: Deep) {} use crate::a::A;",
        ),
        ("c/deep.rs", "use super::A; pub struct Deep(A);"),
        ("c/inner.rs", "pub struct Inner;"),
    ]);
    let edges: BTreeSet<String> = Crate::read(house.path())
        .edges()
        .iter()
        .map(|e| format!("{}->{}", e.from.join("/"), e.to.join("/")))
        .collect();
    let wanted = [
        "a->b",
        "a->c",
        "a->c/deep",
        "b->c/inner",
        "c->a",
        "c->c/deep",
        "c/deep->a",
    ];
    assert_eq!(edges, wanted.map(str::to_owned).into());
}
