//! Which module of the core may import which. An arrow that points up is an error, and so is one from one tower to the
//! other: then neither could be understood without the other.

use super::source;

/// What the engine says to the outside and what it is made of, top first.
const TOP: &[&str] = &["engine", "event"];
/// What to do.
const FLOW_TOWER: &[&str] = &["flow", "near"];
/// How to say it.
const WIRE_TOWER: &[&str] = &["wire"];
/// What both towers speak in.
const WORDS: &[&str] = &["protocol", "api", "resp", "rng", "mutant"];

/// Every module, top first; the towers stand side by side.
pub(super) fn modules() -> impl Iterator<Item = &'static str> {
    [TOP, FLOW_TOWER, WIRE_TOWER, WORDS].into_iter().flatten().copied()
}

/// Finds what is wrong with the imports of one file; `file` is its path under `src`.
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

/// The module of the core that a path leads to, unless it stays within its own.
fn imported<'a>(place: &[&str], path: &[&'a str]) -> Option<&'a str> {
    let to = match *path.first()? {
        "crate" => path.get(1)?,
        "super" => {
            let ups = path.iter().take_while(|segment| **segment == "super").count();
            // Fewer steps up than the file is deep end inside of its module.
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
    let is_in = |tower: &[&str], module| tower.contains(&module);
    let towers = [(FLOW_TOWER, WIRE_TOWER), (WIRE_TOWER, FLOW_TOWER)];
    if towers.iter().any(|(one, other)| is_in(one, from) && is_in(other, to)) {
        return Some("the two towers must not know each other");
    }
    let height = |module| modules().position(|other| other == module);
    match (height(from), height(to)) {
        (Some(from), Some(to)) => (to < from).then_some("the arrow points up"),
        (None, _) => Some("the importing module is in no layer"),
        (_, None) => Some("this is no module; import from the module that defines it"),
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
