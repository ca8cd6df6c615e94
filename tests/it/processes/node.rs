//! A `node` process and its answers.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use redcache_tests::{Process, RedisServer};
use serde_json::Value;

use crate::conformance::scene::wait_until;

/// The limit for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A process with a cache, killed when it is dropped.
pub(super) struct Node {
    process: Process,
    input: Option<ChildStdin>,
    output: Receiver<Value>,
    /// Answers that arrived before the test waited for them.
    early: Vec<Value>,
    ids: u64,
}

impl Node {
    /// Start a node whose locks outlive every scenario.
    pub(super) fn start(runtime: &str, server: &RedisServer) -> Self {
        Self::start_with(runtime, server, &["--lock-ttl-ms", "60000"])
    }

    pub(super) fn start_with(runtime: &str, server: &RedisServer, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.args(["--redis", &server.url(), "--runtime", runtime]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command).expect("cargo has built it");
        let lines = BufReader::new(process.take_stdout().unwrap()).lines();
        let (says, output) = mpsc::channel();
        // The thread ends with the output of the process.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let answer = serde_json::from_str(&line);
                if says.send(answer.expect("every line is JSON")).is_err() {
                    return;
                }
            }
        });
        let input = process.take_stdin();
        Self { process, input, output, early: Vec::new(), ids: 0 }
    }

    /// Write a line and return its id.
    pub(super) fn ask(&mut self, mut line: Value) -> Value {
        self.ids += 1;
        let id = Value::from(self.ids);
        line["id"] = id.clone();
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        id
    }

    /// Wait for the answer to a line.
    #[track_caller]
    pub(super) fn answer(&mut self, id: &Value) -> Value {
        loop {
            if let Some(at) = self.early.iter().position(|answer| answer["id"] == *id) {
                return self.early.swap_remove(at);
            }
            let answer = self.output.recv_timeout(PATIENCE);
            self.early.push(answer.unwrap_or_else(|_| panic!("no answer to {id}")));
        }
    }

    /// Write a line and wait for its answer.
    #[track_caller]
    pub(super) fn call(&mut self, line: Value) -> Value {
        let id = self.ask(line);
        self.answer(&id)
    }

    /// Return a counter of the cache.
    #[track_caller]
    pub(super) fn stat(&mut self, name: &str) -> u64 {
        self.call(serde_json::json!({"op": "stats"}))["ok"][name].as_u64().unwrap()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    pub(super) fn pause(&self) {
        self.process.pause();
    }

    pub(super) fn resume(&self) {
        self.process.resume();
    }

    /// Close the input, and return the remaining answers and the exit status.
    pub(super) fn finish(mut self) -> (Vec<Value>, ExitStatus) {
        self.input = None;
        let mut answers = std::mem::take(&mut self.early);
        while let Ok(answer) = self.output.recv_timeout(PATIENCE) {
            answers.push(answer);
        }
        let mut status = None;
        wait_until("the process ends", || {
            status = self.process.ended();
            status.is_some()
        });
        (answers, status.unwrap())
    }
}
