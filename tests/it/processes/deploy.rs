//! A rolling deploy: two processes with incompatible structs on the same namespaces.
//!
//! `REDCACHE_DEPLOY_SECONDS` sets the time of the load.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use redcache_tests::{Process, RedisServer};
use serde_json::Value;

use crate::conformance::scene;

const ROUNDS: u32 = 50;

/// The loads of one version for one key within one TTL: one if the key is missing or holds the
/// first value of the other version, and one after the other version has replaced that value.
const LOADS_MAX: u64 = 2;

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
fn versions_in_two_processes_neither_fail_nor_fight() {
    scene::run("versions_in_two_processes_neither_fail_nor_fight", || {
        let seconds = std::env::var("REDCACHE_DEPLOY_SECONDS").unwrap_or_else(|_| "2".to_owned());
        let (server, began_at) = (RedisServer::start(), Instant::now());
        let mut old = Version::start("old", &server, &seconds);
        let mut new = Version::start("new", &server, &seconds);
        let mut versions = [&mut old, &mut new];
        versions.iter_mut().for_each(|version| version.begin());
        let figures = versions.map(|version| version.figures());
        // The TTL of the short namespaces is a second. It may end during the first of these loads
        // and during the last.
        let short_max = LOADS_MAX * (began_at.elapsed().as_secs() + 2);
        for (namespace, of_old) in figures[0].as_object().unwrap() {
            let (of_both, loads_max) = match namespace.ends_with("-long") {
                true => ([of_old, &figures[1][namespace]], LOADS_MAX),
                false => ([of_old, &figures[1][namespace]], short_max),
            };
            println!("{namespace}: old {of_old}, new {}", of_both[1]);
            for of_one in of_both {
                assert_eq!(of_one["errors"], serde_json::json!({}), "{namespace}");
                assert_eq!(of_one["wrong"], 0, "{namespace}");
                let loads = of_one["loads"].as_array().unwrap();
                let is_bounded = |loads: &Value| loads.as_u64().unwrap() <= loads_max;
                assert!(loads.iter().all(is_bounded), "{namespace}: {loads:?} of {loads_max}");
            }
            let sum = |name| -> u64 { of_both.iter().map(|it| it[name].as_u64().unwrap()).sum() };
            let keys = of_old["loads"].as_array().unwrap().len() as u64;
            assert!(sum("replaced") >= keys && sum("undecodable") >= sum("replaced"));
            assert!(sum("replaced") <= keys * loads_max, "{namespace}");
        }
        for version in [old, new] {
            let Version { mut process, input, .. } = version;
            drop(input);
            scene::wait_until("the process ends", || process.ended().is_some());
        }
    });
}
