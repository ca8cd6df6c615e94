//! Rules that no reviewer should have to check: imports, purity, length, attributes, prose, and
//! documents that agree with the code.

mod cycles;
mod faces;
mod layers;
mod prose;
mod source;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use redcache_core::Config;

/// The number of lines that a file may have, without its tests.
const LINES_MAX: usize = 400;

/// Files that are longer, and the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Folders whose comments and names are not yet held to the rules of [`prose`].
const UNREVISED: &[&str] = &[];

/// The files of a face that hold its public calls.
const FACE_FILES: [&str; 4] = ["src/cache.rs", "src/read.rs", "src/write.rs", "src/refreshing.rs"];

/// Calls that the two faces document with different first paragraphs.
const DIFFERENT: &[&str] = &[];

/// Parts of paths that the core must not name.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "collections::HashMap",
    "collections::HashSet",
    "RandomState",
    "getrandom",
    "rand",
    "Uuid::now_v7",
    "Uuid::new_v4",
];

#[test]
fn the_core_imports_downwards_only() {
    let root = root().join("redcache-core/src");
    let faults =
        files_below(&root, "rs").into_iter().filter(|file| file != "lib.rs" && !is_test(file));
    let faults = faults.flat_map(|file| layers::faults(&file, &read(root.join(&file))));
    report("imports in redcache-core", faults);
}

#[test]
fn the_layers_are_the_top_modules_of_the_core() {
    let files = files_below(&root().join("redcache-core/src"), "rs");
    let tops = files.iter().filter(|file| *file != "lib.rs" && !file.contains('/'));
    let mut tops: Vec<_> = tops.map(|file| file.trim_end_matches(".rs")).collect();
    let mut listed: Vec<_> = layers::modules().collect();
    tops.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, tops);
}

#[test]
fn no_file_imports_itself_through_others() {
    let roots = crate_roots();
    let faults = roots.iter().flat_map(|root_file| {
        let cycles = cycles_of(root_file, &roots).into_iter();
        cycles.map(move |cycle| format!("{root_file}: {cycle}"))
    });
    report("import cycles", faults);
}

/// Return the root files of every library, program and test of the workspace.
fn crate_roots() -> Vec<String> {
    let is_root = |file: &String| file.ends_with("/lib.rs") || file.ends_with("/main.rs");
    sources().into_iter().filter(is_root).collect()
}

fn cycles_of(root_file: &str, roots: &[String]) -> Vec<String> {
    let (folder, root_name) = root_file.rsplit_once('/').unwrap();
    let inner = roots.iter().filter(|other| *other != root_file).map(|other| {
        let (other, _) = other.rsplit_once('/').unwrap();
        format!("{other}/")
    });
    let inner: Vec<_> = inner.filter(|other| other.starts_with(folder)).collect();
    let files = files_below(&root().join(folder), "rs").into_iter().filter(|file| {
        let path = format!("{folder}/{file}");
        !file.ends_with("tests.rs")
            && !file.contains("tests/")
            && !inner.iter().any(|inner| path.starts_with(inner))
    });
    let files = files.map(|file| {
        let text = read(root().join(folder).join(&file));
        (file, text)
    });
    cycles::Crate::new(root_name, files).cycles()
}

#[test]
fn the_core_has_no_clock_socket_thread_or_entropy() {
    let root = root().join("redcache-core/src");
    let files = files_below(&root, "rs").into_iter().filter(|file| !is_test(file));
    let faults = files.flat_map(|file| impurities(&file, &read(root.join(&file))));
    report("impurities of redcache-core", faults);
}

fn impurities(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for path in source::paths(source::without_tests(text)) {
        if let Some(what) = IMPURE.iter().find(|what| path.contains(what)) {
            found.push(format!("{file}:{}: {what}", path.line));
        }
    }
    found
}

#[test]
fn an_impurity_is_found_however_it_is_written() {
    let code = "use std::{time::{Instant, SystemTime}, net};\nfn f() { Instant::now(); net::f() }";
    assert_eq!(
        impurities("f.rs", code),
        ["f.rs:1: SystemTime", "f.rs:1: std::net", "f.rs:2: Instant::now"]
    );
    assert!(impurities("f.rs", "use std::time::Instant; // no Instant::now() here").is_empty());
}

#[test]
fn files_are_short_or_say_why_not() {
    let faults = sources().into_iter().filter(|file| !is_test(file)).filter_map(|file| {
        let lines = source::without_tests(&read(root().join(&file))).lines().count();
        let excused = LONG_FILES.iter().any(|(long, _)| *long == file);
        match (lines > LINES_MAX, excused) {
            (true, false) => Some(format!("{file} has {lines} lines; the limit is {LINES_MAX}")),
            (false, true) => Some(format!("{file} has become short; it needs no excuse any more")),
            (true, true) | (false, false) => None,
        }
    });
    report("file lengths", faults);
}

#[test]
fn every_crate_forbids_unsafe_code_and_has_the_lints_of_the_workspace() {
    let faults = members().into_iter().flat_map(|member| {
        let manifest = read(root().join(&member).join("Cargo.toml"));
        let lib = after(&manifest, "[lib]\npath = \"").unwrap_or("src/lib.rs");
        let lib = read(root().join(&member).join(lib));
        let unsafe_code = (!lib.contains("\n#![forbid(unsafe_code)]\n"))
            .then(|| format!("{member}: no #![forbid(unsafe_code)] in its root"));
        let lints = (!manifest.contains("\n[lints]\nworkspace = true\n"))
            .then(|| format!("{member}: not the lints of the workspace"));
        [unsafe_code, lints]
    });
    report("crates", faults.flatten());
}

#[test]
fn nothing_is_left_unfinished() {
    // Concatenated, so that this file is not found.
    let marks =
        [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X"), concat!("#[", "ignore")];
    let faults = sources().into_iter().flat_map(|file| {
        let text = read(root().join(&file));
        let marks =
            marks.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{file}: {mark}"));
        let calls = ["todo", "unimplemented", "dbg"].into_iter().flat_map(|name| {
            let lines = source::calls_of_macro(&text, name).into_iter();
            lines.map(move |line| (line, name))
        });
        let calls = calls.map(|(line, name)| format!("{file}:{line}: {name}!"));
        marks.chain(calls).collect::<Vec<_>>()
    });
    report("unfinished", faults);
}

#[test]
fn comments_and_names_are_plain_english() {
    let folders = members().into_iter().chain(["examples-shared".to_owned(), "fuzz".to_owned()]);
    let faults = folders.flat_map(|folder| {
        let files = files_below(&root().join(&folder), "rs").into_iter();
        let faults = files.flat_map(|file| {
            let faults = prose::faults(&read(root().join(&folder).join(&file))).into_iter();
            let folder = folder.clone();
            faults.map(move |fault| format!("{folder}/{file}:{fault}"))
        });
        let faults: Vec<_> = faults.collect();
        match (faults.is_empty(), UNREVISED.contains(&folder.as_str())) {
            (true, true) => vec![format!("{folder} has become clean: drop it from UNREVISED")],
            (false, true) => Vec::new(),
            (_, false) => faults,
        }
    });
    report("prose", faults);
}

#[test]
fn both_faces_document_a_call_alike() {
    let texts = FACE_FILES.map(|file| {
        ["redcache-driver", "redcache-blocking"].map(|face| read(root().join(face).join(file)))
    });
    let methods = texts.iter().map(|[driver, _]| faces::methods(driver).len());
    assert!(methods.sum::<usize>() > 20);
    let different = texts.iter().flat_map(|[one, other]| faces::differences(one, other));
    let different: Vec<_> = different.collect();
    let agreeing = DIFFERENT.iter().filter(|name| !different.iter().any(|(it, _)| it == *name));
    let agreeing = agreeing.map(|name| format!("`{name}` agrees: drop it from DIFFERENT"));
    let faults = different.iter().filter(|(name, _)| !DIFFERENT.contains(&name.as_str()));
    let faults = faults.map(|(name, texts)| format!("`{name}`{texts}"));
    report("documented differently", agreeing.chain(faults));
}

#[test]
fn the_readme_names_every_option_and_every_call() {
    let readme = read(root().join("README.md"));
    let options = Config::SETTINGS.iter().map(|setting| setting.name.to_owned());
    let face = root().join("redcache-driver");
    let calls = FACE_FILES.iter().flat_map(|file| names(&face.join(file), "    pub async fn ", ""));
    let calls: Vec<_> = calls.filter(|call| call != "connect_on").collect();
    assert!(options.len() > 10 && calls.len() > 10, "{calls:?}");
    let unnamed = options.chain(calls).filter(|name| !readme.contains(&format!("`{name}`")));
    report("not in README.md", unnamed);
}

/// Return the names of functions whose line begins with `start` and has `then` after the name.
fn names(file: &Path, start: &str, then: &str) -> Vec<String> {
    let text = read(file);
    let names = text.lines().filter_map(|line| {
        let line = line.strip_prefix(start)?;
        let end = line.find(['(', '<'])?;
        line[end..].starts_with(then).then(|| line[..end].to_owned())
    });
    names.collect()
}

#[test]
fn the_architecture_is_short_and_names_every_module_of_the_core() {
    let text = read(root().join("ARCHITECTURE.md"));
    assert!(text.lines().count() <= 200, "ARCHITECTURE.md has {} lines", text.lines().count());
    let unnamed = layers::modules().filter(|module| !text.contains(&format!("`{module}`")));
    report("not in ARCHITECTURE.md", unnamed.map(str::to_owned));
}

#[test]
fn documents_name_files_that_exist() {
    let documents = files_below(&root(), "md");
    let faults = documents.into_iter().flat_map(|document| {
        let text = read(root().join(&document));
        let folder = root().join(&document).parent().map_or_else(root, Path::to_owned);
        let is_there = |file: &str| root().join(file).exists() || folder.join(file).exists();
        let missing = named_files(&text).into_iter().filter(|file| !is_there(file));
        missing.map(|file| format!("{document}: {file}")).collect::<Vec<_>>()
    });
    report("named, but not there", faults);
}

/// Return the files that a document names as `` `folder/file.rs` `` or links to.
fn named_files(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|name| {
        let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        is_path
            && name.contains('/')
            && [".rs", ".md", ".toml", ".yml"].iter().any(|end| name.ends_with(end))
    });
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let links = links.map(|link| link.split('#').next().unwrap_or(link));
    quoted.chain(links).collect()
}

#[test]
fn named_files_are_quoted_paths_and_local_links() {
    let text =
        "`a/b.rs`, `a/b`, `x.rs`, `a::b/c.rs`, [c](d/e.md#f), [web](https://example.org/x.md)";
    assert_eq!(named_files(text), ["a/b.rs", "d/e.md"]);
}

#[test]
fn the_page_of_failures_names_tests_that_exist() {
    let tests = sources().into_iter().filter(|file| is_test(file));
    let tests: String = tests.map(|file| read(root().join(file))).collect();
    let page = read(root().join("docs/failures.md"));
    let sections: Vec<_> = page.split("\n### ").skip(1).collect();
    assert!(sections.len() > 10);
    let mut faults = Vec::new();
    for section in sections {
        let title = section.lines().next().unwrap();
        let Some((_, named)) = section.split_once("**Tests.**") else {
            faults.push(format!("`{title}` names no test"));
            continue;
        };
        for name in named.split('`').skip(1).step_by(2) {
            if !tests.contains(&format!("fn {name}")) {
                faults.push(format!("`{title}` names {name}, which does not exist"));
            }
        }
    }
    report("docs/failures.md", faults.into_iter());
}

/// The clock of the system may jump, so only the names of locks contain its time.
#[test]
fn deadlines_do_not_depend_on_the_clock_of_the_system() {
    let libraries = ["core", "adapter", "driver", "tokio", "smol", "async-std", "blocking", "tls"];
    let folders = libraries.map(|library| format!("redcache-{library}/src/"));
    let is_library = |file: &String| {
        folders.iter().any(|folder| file.starts_with(folder)) || file.starts_with("redcache/src/")
    };
    let reads_it = |file: &String| read(root().join(file)).contains("SystemTime::now");
    let found: Vec<_> = sources().into_iter().filter(is_library).filter(reads_it).collect();
    assert_eq!(found, ["redcache-adapter/src/seed.rs"]);
}

/// Fail with every fault at once.
fn report(title: &str, faults: impl Iterator<Item = String>) {
    let mut lines = String::new();
    for fault in faults {
        write!(lines, "\n  {fault}").unwrap();
    }
    assert!(lines.is_empty(), "{title}:{lines}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn members() -> Vec<String> {
    let manifest = read(root().join("Cargo.toml"));
    let list =
        manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Return every source file of every member and of the examples, as paths from the root.
fn sources() -> Vec<String> {
    let folders = members().into_iter().chain(["examples-shared".to_owned()]);
    let sources = folders.flat_map(|folder| {
        let files = files_below(&root().join(&folder), "rs").into_iter();
        files.map(move |file| format!("{folder}/{file}")).collect::<Vec<_>>()
    });
    let sources: Vec<_> = sources.collect();
    assert!(sources.len() > 50, "{sources:?}");
    sources
}

fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

/// Return the files with an extension below a folder, as paths from there, without build results
/// and hidden folders.
fn files_below(folder: &Path, extension: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split('"').next()
}
