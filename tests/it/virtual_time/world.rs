//! Engines of several processes and one modelled server, under a clock that only the test moves.
//!
//! Bytes take no time: all that an engine or the server writes arrives before the clock moves.

use std::time::{Duration, Instant};

use redcache_core::engine::{ConnId, Engine, Event, OpId, Outcome, Seed};
use redcache_core::{Config, ConfigBuilder, Key, Loaded};
use redcache_sim::server::{self, ClientId, Server};

/// The span by which the clock moves at once.
const STEP: Duration = Duration::from_millis(1);

pub(super) struct World {
    now: Instant,
    pub(super) server: Server,
    processes: Vec<Process>,
}

/// One engine, its connection, and the events that the test has not taken yet.
struct Process {
    engine: Engine,
    link: Option<(ConnId, ClientId)>,
    loads: Vec<(OpId, Vec<Key>)>,
    outcomes: Vec<(OpId, Outcome)>,
}

impl World {
    /// Connect `processes` engines with these settings.
    pub(super) fn new(processes: usize, settings: fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let now = Instant::now();
        let process = |number: usize| {
            let config = settings(Config::builder().server("h", 1)).build().unwrap();
            let seed = Seed::new([number as u8; 32], 0);
            let engine = Engine::new(now, &seed, config);
            Process { engine, link: None, loads: Vec::new(), outcomes: Vec::new() }
        };
        let mut world = Self {
            now,
            server: Server::new(now, server::Config::default()),
            processes: (0..processes).map(process).collect(),
        };
        world.settle();
        world
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

    /// Set the time after which a call that has just been made fails.
    pub(super) fn set_timeout(&mut self, process: usize, op: OpId, timeout: Duration) {
        self.processes[process].engine.set_timeout(self.now, op, timeout);
    }

    /// Drop a call.
    pub(super) fn cancel(&mut self, process: usize, op: OpId) {
        self.processes[process].engine.cancel(self.now, op);
        self.settle();
    }

    /// Return the keys that the loader of a call has been asked for, if it has.
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

    /// Return the outcome of a call, if it has ended.
    pub(super) fn outcome(&mut self, process: usize, op: OpId) -> Option<Outcome> {
        let outcomes = &mut self.processes[process].outcomes;
        let number = outcomes.iter().position(|(ended, _)| *ended == op)?;
        Some(outcomes.remove(number).1)
    }

    /// Move the clock, and run `check` whenever it has moved a little.
    pub(super) fn advance(&mut self, span: Duration, mut check: impl FnMut(&Self)) {
        let until = self.now + span;
        while self.now < until {
            self.now += STEP;
            self.server.handle_timeout(self.now);
            for process in &mut self.processes {
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

    /// Carry every byte to its end.
    fn settle(&mut self) {
        loop {
            let written = self.write();
            let read = self.read();
            if !written && !read {
                return;
            }
        }
    }

    /// Take the events and bytes of every engine; return whether there were any.
    fn write(&mut self) -> bool {
        let mut written = false;
        for process in &mut self.processes {
            while let Some(event) = process.engine.poll_event() {
                written = true;
                match event {
                    Event::Dial { conn, .. } => {
                        process.link = Some((conn, self.server.connect(self.now)));
                        process.engine.handle_connected(self.now, conn);
                    }
                    Event::Load { op } => process.loads.push((op, Vec::new())),
                    Event::LoadMany { op, keys } => process.loads.push((op, keys)),
                    Event::Done { op, outcome } => process.outcomes.push((op, outcome)),
                    _ => {}
                }
            }
            loop {
                let next = process.engine.transmits().next();
                let Some(conn) = next else { break };
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

    /// Carry the output of the server to the engines; return whether there was any.
    fn read(&mut self) -> bool {
        let mut read = false;
        while let Some(event) = self.server.poll_event() {
            let server::Event::Transmit { client, bytes } = event else { continue };
            for process in &mut self.processes {
                if let Some((conn, _)) = process.link.filter(|(_, own)| *own == client) {
                    read = true;
                    process.engine.handle_read(self.now, conn, &bytes);
                }
            }
        }
        read
    }
}
