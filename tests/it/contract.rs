//! The contract between the model and Redis: both get the same probes, and every byte of their
//! answers must agree.
//!
//! A probe is a short dialogue over a few connections (see [`play`]); the tables are in [`probes`].
//! The real server's answer is the expectation. `REDCACHE_CONTRACT_ADDR=127.0.0.1:6379` compares
//! the model with another server than the installed one. That server is **flushed and
//! reconfigured**.

mod play;
mod probe;
mod probes;
mod scripts;
mod subject;

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use self::play::{Line, play};
use self::probe::Probe;
use self::subject::Subject;

/// Send each probe to the model and to Redis. Fail with every probe that they answer differently.
fn check(probes: &[Probe]) {
    // All tests share the server that the environment variable names.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let redis = Subject::redis();
    check_on(&redis, &Subject::model_of(&redis), probes);
}

fn check_on(redis: &Subject, model: &Subject, probes: &[Probe]) {
    let mut report = String::new();
    for (name, steps) in probes {
        let (expected, got) = (play(redis, steps), play(model, steps));
        if expected != got {
            writeln!(report, "\nprobe: {name}").unwrap();
            compare(&expected, &got, &mut report);
        }
    }
    assert!(report.is_empty(), "the model does not answer as Redis does:\n{report}");
}

fn compare(expected: &[Line], got: &[Line], report: &mut String) {
    for (line, other) in expected.iter().zip(got) {
        if line == other {
            writeln!(report, "    {}\n        {}", line.step, line.answer).unwrap();
        } else {
            writeln!(report, "  ! {}", line.step).unwrap();
            writeln!(report, "  redis {}", line.answer).unwrap();
            writeln!(report, "  model {}", other.answer).unwrap();
        }
    }
}

#[test]
fn the_handshake_is_that_of_redis() {
    check(probes::handshake::PROBES);
}

#[test]
fn requests_are_accepted_and_rejected_as_in_redis() {
    check(probes::request::PROBES);
}

#[test]
fn keys_hold_and_expire_as_in_redis() {
    check(probes::keys::PROBES);
}

#[test]
fn reads_are_tracked_as_in_redis() {
    check(probes::tracking::PROBES);
}

#[test]
fn pushes_for_own_changes_are_those_of_redis() {
    check(probes::own_changes::PROBES);
}

#[test]
fn scripts_behave_as_in_redis() {
    check(probes::script::PROBES);
}

#[test]
fn transactions_and_comparing_writes_are_those_of_redis() {
    check(probes::native::PROBES);
}

#[test]
fn a_server_in_trouble_rejects_as_redis_does() {
    check(probes::trouble::PROBES);
}

#[test]
fn a_node_of_a_cluster_redirects_as_redis_does() {
    let redis = Subject::redis_node();
    check_on(&redis, &Subject::model_node_of(&redis), probes::cluster::PROBES);
}

#[test]
fn there_are_enough_probes() {
    let groups = [
        probes::handshake::PROBES,
        probes::request::PROBES,
        probes::keys::PROBES,
        probes::tracking::PROBES,
        probes::own_changes::PROBES,
        probes::script::PROBES,
        probes::native::PROBES,
        probes::trouble::PROBES,
        probes::cluster::PROBES,
    ];
    let mut names: Vec<&str> = groups.into_iter().flatten().map(|(name, _)| *name).collect();
    let probes = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), probes, "two probes have the same name");
    assert!(probes >= 60, "only {probes} probes");
}
