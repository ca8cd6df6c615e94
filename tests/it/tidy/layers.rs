//! The layers of the core: a module imports only modules of a lower row, and none beside it.
//!
//! An import that points up, or from one tower to the other, would make two modules one.

use super::source;

/// The modules of the core, top row first. The towers of one row do not import each other.
const ROWS: &[&[Tower]] = &[
    &[&["engine", "event"]],
    &[&["flow", "near"], &["wire"]],
    &[&["protocol", "api"]],
    &[&["resp", "rng", "mutant"]],
];

/// Modules of one row, top first: each may import those after it.
type Tower = &'static [&'static str];

/// Return every module, top first.
pub(super) fn modules() -> impl Iterator<Item = &'static str> {
    ROWS.iter().copied().flatten().copied().flatten().copied()
}

/// Return the wrong imports of one file; `file` is its path under `src`.
pub(super) fn faults(file: &str, text: &str) -> Vec<String> {
    let place: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    let from = place[0];
    let mut faults = Vec::new();
    for path in source::paths(source::without_tests(text)) {
        if let Some(to) = imported(&place, &path.segments)
            && let Some(why) = fault(from, to)
        {
            faults.push(format!("{file}:{}: `{from}` imports `{to}`: {why}", path.line));
        }
    }
    faults
}

/// Return the top-level module that a path leads to, unless it stays within its own.
fn imported<'a>(place: &[&str], path: &[&'a str]) -> Option<&'a str> {
    let to = match *path.first()? {
        "crate" => path.get(1)?,
        "super" => {
            let ups = path.iter().take_while(|segment| **segment == "super").count();
            // Fewer steps up than the depth of the file end inside of its module.
            if ups < place.len() {
                return None;
            }
            path.get(ups)?
        }
        _ => return None,
    };
    (*to != place[0]).then_some(to)
}

fn fault(from: &str, to: &str) -> Option<&'static str> {
    let place = |module| {
        let towers = ROWS.iter().enumerate().flat_map(|(row, towers)| {
            towers.iter().enumerate().map(move |(number, tower)| (row, number, tower))
        });
        let mut places = towers.filter_map(|(row, number, tower)| {
            Some((row, number, tower.iter().position(|other| *other == module)?))
        });
        places.next()
    };
    match (place(from), place(to)) {
        (None, _) => Some("the importing module is in no layer"),
        (_, None) => Some("this is no module; import from the module that defines it"),
        (Some((row, one, _)), Some((other_row, other, _))) if row == other_row && one != other => {
            Some("the two towers must not know each other")
        }
        (Some(from), Some(to)) => (to < from).then_some("the arrow points up"),
    }
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_written() {
    let check = |file, code: &str, expected: &[&str]| {
        let found = faults(file, code);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (fault, part) in found.iter().zip(expected) {
            assert!(fault.contains(part), "{fault}");
        }
    };
    check("api/key.rs", "use crate::protocol::slot;", &["api/key.rs:1: `api` imports `protocol`"]);
    check("rng.rs", "\nfn f(x: crate::engine::Engine) {}", &["rng.rs:2: `rng` imports `engine`"]);
    check("protocol/slot.rs", "use crate::{rng::Rng, wire};", &["`protocol` imports `wire`"]);
    check("rng.rs", "use super::engine::Engine;", &["points up"]);
    check("protocol/slot.rs", "use super::super::engine::Engine;", &["points up"]);
    check("flow/flights.rs", "use crate::wire::Conn;", &["towers"]);
    check("wire/conn.rs", "use crate::flow::{FlightId, OpId};", &["towers", "towers"]);
    check("rng.rs", "use crate::Answer;", &["`Answer`: this is no module"]);
    check("unheard_of.rs", "use crate::api::Key;", &["in no layer"]);
}

#[test]
fn an_arrow_that_points_down_or_stays_inside_is_fine() {
    for (file, code) in [
        ("engine/fetch.rs", "use super::ops::Op; use crate::engine::Engine; use crate::flow::get;"),
        ("flow/get.rs", "pub(crate) use crate::{protocol::Command, rng::Rng};"),
        ("wire/conn/handshake.rs", "use crate::resp::Frame; pub(super) fn f() {}"),
        (
            "rng.rs",
            "// use crate::engine::Engine;\n#[cfg(test)]\nmod tests { use crate::engine::Engine; }",
        ),
    ] {
        assert_eq!(faults(file, code), [""; 0]);
    }
}
