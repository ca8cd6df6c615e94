//! Import cycles between the files of one crate.
//!
//! A file imports another when its code names a path into it. `mod child;` alone imports nothing. A
//! parent that uses an item of its child imports the child; a child that names an item of its
//! parent then closes a cycle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source;

/// The files of one crate, each with its module path.
#[derive(Debug, Default)]
pub(super) struct Crate {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    /// The path below the crate's root folder.
    path: String,
    module: Vec<String>,
    text: String,
}

/// One import of a file: the imported file, and where and how it is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: usize,
    line: usize,
    path: String,
}

impl Crate {
    /// Create a crate from its files: paths below the folder of `root`, and their texts.
    pub(super) fn new(root: &str, files: impl IntoIterator<Item = (String, String)>) -> Self {
        let files = files.into_iter().map(|(path, text)| {
            let is_root = path == root;
            let module = path.trim_end_matches(".rs").split('/').map(str::to_owned);
            let module = if is_root { Vec::new() } else { module.collect() };
            File { path, module, text: source::without_tests(&text).to_owned() }
        });
        Self { files: files.collect() }
    }

    /// Return each shortest cycle of imports as a line of text.
    pub(super) fn cycles(&self) -> Vec<String> {
        let imports: Vec<_> = self.files.iter().map(|file| self.imports(file)).collect();
        let mut seen = BTreeSet::new();
        let mut cycles = Vec::new();
        for start in 0..self.files.len() {
            if let Some(cycle) = shortest_cycle(start, &imports) {
                let members: BTreeSet<_> = cycle.iter().map(|import| import.file).collect();
                if seen.insert(members) {
                    cycles.push(self.description(start, &cycle));
                }
            }
        }
        cycles
    }

    fn description(&self, start: usize, cycle: &[Import]) -> String {
        let mut text = self.files[start].path.clone();
        for import in cycle {
            let imported = &self.files[import.file].path;
            text += &format!(":{} `{}` → {imported}", import.line, import.path);
        }
        text
    }

    /// Return the first import of each file that `file` imports.
    fn imports(&self, file: &File) -> Vec<Import> {
        let paths = source::paths(&file.text);
        let aliases = self.aliases(file, &paths);
        let mut imports = BTreeMap::new();
        for path in &paths {
            let Some(target) = absolute(file, &path.segments, &aliases) else { continue };
            let imported = self.defining_file(&target);
            // A bare module path only gives the module a local name.
            let is_module = self.files[imported].module.len() == target.len();
            let is_test = target.iter().any(|segment| segment == "tests");
            if !is_module && !is_test && self.files[imported].path != file.path {
                let import =
                    Import { file: imported, line: path.line, path: path.segments.join("::") };
                imports.entry(imported).or_insert(import);
            }
        }
        imports.into_values().collect()
    }

    /// Return the modules that have a local name in `file`: its children, and imported modules.
    fn aliases(
        &self,
        file: &File,
        paths: &[source::CodePath<'_>],
    ) -> BTreeMap<String, Vec<String>> {
        let is_child = |other: &&File| {
            other.module.split_last().is_some_and(|(_, parent)| parent == file.module)
        };
        let children = self.files.iter().filter(is_child).map(|child| child.module.clone());
        let named =
            paths.iter().filter_map(|path| absolute(file, &path.segments, &BTreeMap::new()));
        let modules = named.filter(|target| self.files.iter().any(|file| file.module == *target));
        let modules = children.chain(modules).filter(|module| !module.is_empty());
        modules.map(|module| (module[module.len() - 1].clone(), module)).collect()
    }

    /// Return the file whose module is the longest prefix of `target`.
    fn defining_file(&self, target: &[String]) -> usize {
        let files = self.files.iter().enumerate();
        let holding = files.filter(|(_, file)| target.starts_with(&file.module));
        let (number, _) =
            holding.max_by_key(|(_, file)| file.module.len()).expect("the root holds every path");
        number
    }
}

/// Return the path from the root of the crate, or `None` for a path into another crate.
fn absolute(
    file: &File,
    segments: &[&str],
    aliases: &BTreeMap<String, Vec<String>>,
) -> Option<Vec<String>> {
    // `a::b::{self}` is `a::b`.
    let segments = match segments {
        [stem @ .., "self"] if !stem.is_empty() => stem,
        _ => segments,
    };
    let (stem, rest) = match segments {
        ["crate", rest @ ..] => (Vec::new(), rest),
        ["self", rest @ ..] => (file.module.clone(), rest),
        ["super", ..] => {
            let ups = segments.iter().take_while(|segment| **segment == "super").count();
            let depth = file.module.len().checked_sub(ups)?;
            (file.module[..depth].to_vec(), &segments[ups..])
        }
        [first, rest @ ..] if !rest.is_empty() => (aliases.get(*first)?.clone(), rest),
        _ => return None,
    };
    // `pub(crate)` and `pub(super)` name no item.
    let is_item = !rest.is_empty();
    is_item.then(|| stem.into_iter().chain(rest.iter().map(|it| (*it).to_owned())).collect())
}

/// Return the imports along the shortest way from `start` back to it.
fn shortest_cycle(start: usize, imports: &[Vec<Import>]) -> Option<Vec<Import>> {
    let mut reached: BTreeMap<usize, (usize, &Import)> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(from) = open.pop_front() {
        for import in &imports[from] {
            if reached.contains_key(&import.file) {
                continue;
            }
            reached.insert(import.file, (from, import));
            open.push_back(import.file);
            if import.file == start {
                return Some(way_back(start, &reached));
            }
        }
    }
    None
}

fn way_back(start: usize, reached: &BTreeMap<usize, (usize, &Import)>) -> Vec<Import> {
    let mut way = Vec::new();
    let mut at = start;
    loop {
        let (from, import) = reached[&at];
        way.push(import.clone());
        if from == start {
            way.reverse();
            return way;
        }
        at = from;
    }
}

fn check(files: &[(&str, &str)], expected: &[&str]) {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    assert_eq!(Crate::new("lib.rs", files).cycles(), expected);
}

#[test]
fn a_child_that_imports_its_parent_closes_a_cycle() {
    let parent = "mod child;\nuse self::child::Child;";
    check(
        &[("lib.rs", "mod a;"), ("a.rs", parent), ("a/child.rs", "\nuse super::Parent;")],
        &["a.rs:2 `self::child::Child` → a/child.rs:2 `super::Parent` → a.rs"],
    );
    check(
        &[
            ("a.rs", "mod child; fn f() { child::f() }"),
            ("a/child.rs", "fn f(x: crate::a::X) {}"),
            ("lib.rs", ""),
        ],
        &["a.rs:1 `child::f` → a/child.rs:1 `crate::a::X` → a.rs"],
    );
}

#[test]
fn a_child_may_extend_a_parent_that_only_declares_it() {
    check(&[("lib.rs", ""), ("a.rs", "mod child;"), ("a/child.rs", "impl super::A {}")], &[]);
    check(
        &[
            ("lib.rs", "mod a; pub use a::A;"),
            ("a.rs", "mod b; mod c; pub use b::B; use c::C;"),
            ("a/b.rs", "pub(in super::super) struct B(super::c::C); pub(super) fn f() {}"),
            ("a/c.rs", "\n#[cfg(test)]\nmod tests { use super::super::A; }"),
        ],
        &[],
    );
}

#[test]
fn a_cycle_is_found_through_other_files_and_local_names_of_modules() {
    check(
        &[
            ("lib.rs", "pub use a::A;"),
            ("a.rs", "use crate::b; fn f() { b::x::f() }"),
            ("b.rs", "mod x;"),
            ("b/x.rs", "use super::super::c::{self, C};"),
            ("c.rs", "use crate::a::A as B;"),
        ],
        &["a.rs:1 `b::x::f` → b/x.rs:1 `super::super::c::C` → c.rs:1 `crate::a::A` → a.rs"],
    );
    check(
        &[("lib.rs", "pub use a::A;"), ("a.rs", "use crate::A;")],
        &["lib.rs:1 `a::A` → a.rs:1 `crate::A` → lib.rs"],
    );
}
