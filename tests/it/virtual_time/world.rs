//! Engines of several processes and one modelled server, under a clock that only the test moves.
//!
//! Bytes take no time: all output of an engine or the server arrives before the clock moves.

use std::time::{Duration, Instant};

use redcache_core::engine::{ConnId, Engine, Event, LoadFailure, OpId, Outcome, Seed, Transmit};
use redcache_core::{Config, ConfigBuilder, Key, Loaded};
use redcache_sim::server::{self, ClientId, Server};

/// The span by which the clock moves at once.
const STEP: Duration = Duration::from_millis(1);

pub(super) struct World {
    now: Instant,
    settings: fn(ConfigBuilder) -> ConfigBuilder,
    /// The number of processes that have been started.
    started: u8,
    pub(super) server: Server,
    processes: Vec<Process>,
}

/// One engine, its connection, and the events that the test has not taken yet.
struct Process {
    engine: Engine,
    link: Option<(ConnId, ClientId)>,
    loads: Vec<(OpId, Vec<Key>)>,
    outcomes: Vec<(OpId, Outcome)>,
    is_dead: bool,
    /// Whether the process is stopped: it neither sends nor receives, and its clock stands still.
    is_stopped: bool,
    /// Bytes that arrived while it was stopped.
    unread: Vec<u8>,
}

impl Process {
    fn runs(&self) -> bool {
        !self.is_dead && !self.is_stopped
    }
}

impl World {
    /// Connect `processes` engines with these settings.
    pub(super) fn new(processes: usize, settings: fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let now = Instant::now();
        let server = Server::new(now, server::Config::default());
        let mut world = Self { now, settings, started: 0, server, processes: Vec::new() };
        for _ in 0..processes {
            let process = world.start();
            world.processes.push(process);
        }
        world.settle();
        world
    }

    fn start(&mut self) -> Process {
        let config = (self.settings)(Config::builder().server("h", 1)).build().unwrap();
        let seed = Seed::new([self.started; 32], 0);
        self.started = self.started.wrapping_add(1);
        Process {
            engine: Engine::new(self.now, &seed, config),
            link: None,
            loads: Vec::new(),
            outcomes: Vec::new(),
            is_dead: false,
            is_stopped: false,
            unread: Vec::new(),
        }
    }

    /// Make a call on the engine of a process.
    pub(super) fn call<E: std::fmt::Debug>(
        &mut self,
        process: usize,
        call: impl FnOnce(&mut Engine, Instant) -> Result<OpId, E>,
    ) -> OpId {
        let op = call(&mut self.processes[process].engine, self.now).unwrap();
        self.settle();
        op
    }

    /// Return the value of a key in the near cache of a process.
    pub(super) fn near(&self, process: usize, key: &str) -> Option<Vec<u8>> {
        let near = self.processes[process].engine.near();
        near.get(key.as_bytes(), || self.now)?.value().map(|value| value.to_vec())
    }

    /// Set the time after which a call that has just been made fails.
    pub(super) fn set_timeout(&mut self, process: usize, op: OpId, timeout: Duration) {
        self.processes[process].engine.set_timeout(self.now, op, timeout);
    }

    /// Drop a call.
    pub(super) fn cancel(&mut self, process: usize, op: OpId) {
        self.processes[process].engine.cancel(self.now, op);
        self.settle();
    }

    /// Kill a process: its engine gets no further inputs.
    pub(super) fn kill(&mut self, process: usize) {
        let process = &mut self.processes[process];
        if let Some((_, client)) = process.link.take() {
            self.server.disconnect(client);
        }
        process.is_dead = true;
    }

    /// Kill a process, and replace it with a new one.
    pub(super) fn restart(&mut self, process: usize) {
        self.kill(process);
        self.processes[process] = self.start();
        self.settle();
    }

    /// Stop a process while the others continue, or let it continue.
    pub(super) fn stop(&mut self, process: usize, is_stopped: bool) {
        self.processes[process].is_stopped = is_stopped;
        self.settle();
    }

    /// Return the keys that the loader of a call is requested to load, if there is a request.
    pub(super) fn take_load(&mut self, process: usize, op: OpId) -> Option<Vec<Key>> {
        let loads = &mut self.processes[process].loads;
        let number = loads.iter().position(|(loading, _)| *loading == op)?;
        Some(loads.remove(number).1)
    }

    /// End the loader of a call for one key.
    pub(super) fn load(&mut self, process: usize, op: OpId, value: &'static str) {
        let now = self.now;
        self.processes[process].engine.handle_loaded(now, op, Ok(Loaded::value(value)));
        self.settle();
    }

    /// End the loader of a call for one key with this result.
    pub(super) fn loaded(&mut self, process: usize, op: OpId, loaded: Loaded) {
        self.processes[process].engine.handle_loaded(self.now, op, Ok(loaded));
        self.settle();
    }

    /// End the loader of a call for several keys with one value for each.
    pub(super) fn load_many(
        &mut self,
        process: usize,
        op: OpId,
        keys: Vec<Key>,
        value: &'static str,
    ) {
        let loaded = keys.into_iter().map(|key| (key, Loaded::value(value))).collect();
        self.processes[process].engine.handle_loaded_many(self.now, op, Ok(loaded));
        self.settle();
    }

    /// End the commit of a change, or a loader of several keys, with an error.
    pub(super) fn fail(&mut self, process: usize, op: OpId) {
        let failure = LoadFailure::new("the row is locked");
        self.processes[process].engine.handle_loaded_many(self.now, op, Err(failure));
        self.settle();
    }

    /// Return the outcome of a call, if it has ended.
    pub(super) fn outcome(&mut self, process: usize, op: OpId) -> Option<Outcome> {
        let outcomes = &mut self.processes[process].outcomes;
        let number = outcomes.iter().position(|(ended, _)| *ended == op)?;
        Some(outcomes.remove(number).1)
    }

    /// Move the clock in small steps, and run `check` after each.
    pub(super) fn advance(&mut self, span: Duration, mut check: impl FnMut(&Self)) {
        let until = self.now + span;
        while self.now < until {
            self.now += STEP;
            self.server.handle_timeout(self.now);
            for process in self.processes.iter_mut().filter(|process| process.runs()) {
                process.engine.handle_timeout(self.now);
            }
            self.settle();
            check(self);
        }
    }

    /// Run a command of another client.
    pub(super) fn foreign(&mut self, words: &[&str]) {
        let client = self.server.connect(self.now);
        let mut frame = Vec::new();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        redcache_core::resp::command(&mut frame, &words);
        self.server.handle_bytes(self.now, client, &frame);
        self.settle();
        self.server.disconnect(client);
    }

    /// Deliver all bytes.
    fn settle(&mut self) {
        loop {
            let written = self.write();
            let read = self.read();
            if !written && !read {
                return;
            }
        }
    }

    /// Take the events and bytes of every engine. Return whether there were any.
    fn write(&mut self) -> bool {
        let mut written = false;
        for process in self.processes.iter_mut().filter(|process| process.runs()) {
            while let Some(event) = process.engine.poll_event() {
                written = true;
                match event {
                    Event::Dial { conn, .. } => {
                        process.link = Some((conn, self.server.connect(self.now)));
                        process.engine.handle_connected(self.now, conn);
                    }
                    Event::Load { op } if process.engine.begin_load(op) => {
                        process.loads.push((op, Vec::new()));
                    }
                    Event::LoadMany { op, keys } if process.engine.begin_load(op) => {
                        process.loads.push((op, keys));
                    }
                    Event::Done { op, outcome } => process.outcomes.push((op, outcome)),
                    _ => {}
                }
            }
            loop {
                let next = process.engine.transmits().next();
                let Some(Transmit { conn, .. }) = next else { break };
                written = true;
                let mut bytes = Vec::new();
                process.engine.take_transmit(conn, &mut bytes);
                if let Some((_, client)) = process.link {
                    self.server.handle_bytes(self.now, client, &bytes);
                }
            }
        }
        written
    }

    /// Deliver the output of the server to the engines. Return whether there was any.
    fn read(&mut self) -> bool {
        let mut read = false;
        while let Some(event) = self.server.poll_event() {
            let server::Event::Transmit { client, bytes } = event else { continue };
            for process in &mut self.processes {
                if process.link.is_some_and(|(_, own)| own == client) {
                    process.unread.extend_from_slice(&bytes);
                }
            }
        }
        for process in self.processes.iter_mut().filter(|process| process.runs()) {
            if let Some((conn, _)) = process.link
                && !process.unread.is_empty()
            {
                read = true;
                let bytes = std::mem::take(&mut process.unread);
                process.engine.handle_read(self.now, conn, &bytes);
            }
        }
        read
    }
}
