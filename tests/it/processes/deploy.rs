//! A rolling deploy: two processes of each of two versions, whose structs are incompatible, on the
//! same namespaces.
//!
//! `REDCACHE_DEPLOY_SECONDS` sets the time of the load.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use redcache_tests::{Process, RedisServer};
use serde_json::Value;

use crate::conformance::scene;

const ROUNDS: u32 = 50;

/// The largest number of loads of one version for one key within one TTL: the first load, the load
/// that replaces the other version's value, and the load for the side key.
const LOADS_MAX: u64 = 3;

/// A process of one version.
struct Version {
    process: Process,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Version {
    /// Start a process, and wait until it has read all keys.
    fn start(version: &str, server: &RedisServer, seconds: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        // A slow machine must not make calls time out.
        let url = format!("{}?command_timeout=60s&load_timeout=60s&lock_ttl=60s", server.url());
        command.args([version, &url, &ROUNDS.to_string(), seconds]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command).expect("cargo has built it");
        let lines = BufReader::new(process.take_stdout().unwrap()).lines();
        let input = process.take_stdin().unwrap();
        let mut started = Self { process, input, lines };
        assert_eq!(started.line(), "ready");
        started
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the process has not failed").unwrap()
    }

    fn begin(&mut self) {
        writeln!(self.input).unwrap();
    }

    /// Wait for the end of the load, and return the figures of each namespace.
    fn figures(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

#[test]
fn versions_in_several_processes_neither_fail_nor_fight() {
    scene::run("versions_in_several_processes_neither_fail_nor_fight", || {
        let seconds = std::env::var("REDCACHE_DEPLOY_SECONDS").unwrap_or_else(|_| "2".to_owned());
        let (server, began_at) = (RedisServer::start(), Instant::now());
        let start = |version| [(); 2].map(|()| Version::start(version, &server, &seconds));
        let mut versions = ["old", "new"].map(start);
        versions.iter_mut().flatten().for_each(Version::begin);
        let figures = versions.each_mut().map(|of_one| of_one.each_mut().map(Version::figures));
        // The TTL of the short namespaces is a second. It may end during the first of these loads
        // and during the last.
        let short_max = LOADS_MAX * (began_at.elapsed().as_secs() + 2);
        for namespace in figures[0][0].as_object().unwrap().keys() {
            let loads_max = if namespace.ends_with("-long") { LOADS_MAX } else { short_max };
            let versions = figures.each_ref().map(|it| it.each_ref().map(|it| &it[namespace]));
            for process in versions.iter().flatten() {
                println!("{namespace}: {process}");
                assert_eq!(process["errors"], serde_json::json!({}), "{namespace}");
                assert_eq!(process["wrong"], 0, "{namespace}");
            }
            for [one, other] in versions.map(|it| it.map(loads)) {
                let is_bounded =
                    one.iter().zip(&other).all(|(one, other)| one + other <= loads_max);
                assert!(is_bounded, "{namespace}: {one:?} and {other:?} of {loads_max}");
            }
            let of_all = versions.iter().flatten();
            let sum = |name| -> u64 { of_all.clone().map(|it| it[name].as_u64().unwrap()).sum() };
            let keys = loads(versions[0][0]).len() as u64;
            assert!(sum("replaced") >= keys && sum("undecodable") >= sum("replaced"));
            assert!(sum("replaced") <= keys * loads_max, "{namespace}");
        }
        for Version { mut process, input, .. } in versions.into_iter().flatten() {
            drop(input);
            scene::wait_until("the process ends", || process.ended().is_some());
        }
    });
}

/// Return the loads of each key.
fn loads(figures: &Value) -> Vec<u64> {
    let loads = figures["loads"].as_array().unwrap();
    loads.iter().map(|loads| loads.as_u64().unwrap()).collect()
}
