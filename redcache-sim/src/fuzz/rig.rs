//! One engine, one server model and the bytes between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_core::engine::{
    CallError, ConnId, Engine, Event, LoadFailure, LongValue, OpId, Outcome, Seed, Transmit,
};
use redcache_core::{Answer, CallOptions, Config, Key, Loaded};

use super::fixture::{key, origin};
use crate::server::{self, ClientId, Server};

/// The TTL of values.
const TTL: Duration = Duration::from_secs(60);

/// A running loader: its call, and the keys if it is a batch.
#[derive(Debug)]
pub(super) struct Load {
    op: OpId,
    keys: Option<Vec<Key>>,
}

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) now: Instant,
    engine: Engine,
    server: Server,
    dialing: Option<ConnId>,
    link: Option<(ConnId, ClientId)>,
    long_value: LongValue,
    /// Bytes in transit to the server.
    pub(super) up: Vec<u8>,
    /// Bytes in transit to the engine.
    pub(super) down: Vec<u8>,
    /// The running calls and their keys.
    pub(super) calls: BTreeMap<OpId, Vec<Key>>,
    pub(super) loads: Vec<Load>,
    made: u32,
    /// Whether answers can be checked: only the server model replies, and every value names its
    /// key.
    checks_answers: bool,
    last: Option<Answer>,
}

impl Rig {
    pub(super) fn new() -> Self {
        let now = origin();
        let config = Config::builder()
            .server("h", 1)
            .lock_ttl(Duration::from_millis(200))
            .load_timeout(Duration::from_millis(300))
            .command_timeout(Duration::from_millis(100))
            .heartbeat_interval(Duration::from_millis(200))
            .value_max(1 << 12);
        // Each setting is within its range.
        let config = config.build().expect("the settings are valid");
        let seed = Seed::new([7; 32], 0);
        let engine = Engine::new(now, &seed, config);
        let settings = server::Config { log_max: 0, ..server::Config::default() };
        let mut rig = Self {
            now,
            engine,
            server: Server::new(now, settings),
            dialing: None,
            link: None,
            long_value: LongValue::default(),
            up: Vec::new(),
            down: Vec::new(),
            calls: BTreeMap::new(),
            loads: Vec::new(),
            made: 0,
            checks_answers: true,
            last: None,
        };
        rig.drain();
        rig
    }

    /// Stop checking answers, because the engine may now receive anything.
    pub(super) fn stop_checking(&mut self) {
        self.checks_answers = false;
    }

    /// Return the value that a reader gets for a key that holds `raw`.
    pub(super) fn read(raw: &[u8]) -> Option<Bytes> {
        let mut rig = Self::new();
        rig.stop_checking();
        rig.foreign(&[b"SET", key(0).as_bytes(), raw]);
        rig.connect();
        rig.settle();
        let op = rig.engine.get(rig.now, key(0), CallOptions::new());
        rig.begin(op, vec![key(0)]);
        rig.settle();
        rig.last.and_then(|answer| answer.value)
    }

    /// Complete a pending dial.
    pub(super) fn connect(&mut self) {
        let Some(conn) = self.dialing.take() else { return };
        self.link = Some((conn, self.server.connect(self.now)));
        self.long_value = LongValue::default();
        self.engine.handle_connected(self.now, conn);
        self.drain();
    }

    /// Lose the connection and all bytes in transit.
    pub(super) fn disconnect(&mut self) {
        let Some((conn, _)) = self.link else { return };
        self.unlink();
        self.engine.handle_disconnected(self.now, conn, "lost");
        self.drain();
    }

    fn unlink(&mut self) {
        if let Some((_, client)) = self.link.take() {
            self.server.disconnect(client);
        }
        self.up.clear();
        self.down.clear();
    }

    /// Make the call chosen by `number`.
    pub(super) fn call(&mut self, number: usize) {
        let (now, one) = (self.now, key(number / 8));
        let both = vec![one.clone(), key(number / 8 + 1)];
        let engine = &mut self.engine;
        let (op, keys) = match number % 8 {
            0 => (engine.get(now, one.clone(), CallOptions::new()), vec![one]),
            1 => (engine.get_with(now, one.clone(), TTL), vec![one]),
            2 => (engine.get_many_with(now, both.clone(), TTL), both),
            3 => (engine.insert_with(now, one.clone(), TTL), vec![one]),
            4 => (engine.insert_many_with(now, both.clone(), TTL), both),
            5 => (engine.remove(now, one.clone()), vec![one]),
            6 => (engine.touch(now, one.clone(), TTL), vec![one]),
            _ => {
                let value = Self::encode_value(&one, &mut self.made);
                (engine.insert(now, one.clone(), value, TTL), vec![one])
            }
        };
        self.begin(op, keys);
    }

    fn begin(&mut self, op: Result<OpId, redcache_core::Error>, keys: Vec<Key>) {
        if let Ok(op) = op {
            assert!(self.calls.insert(op, keys).is_none(), "two calls have one id");
        }
        self.drain();
    }

    /// Drop a running call.
    pub(super) fn cancel(&mut self, which: usize) {
        let Some(&op) = self.calls.keys().nth(which % self.calls.len().max(1)) else { return };
        self.calls.remove(&op);
        self.loads.retain(|load| load.op != op);
        self.engine.cancel(self.now, op);
        self.drain();
    }

    /// End a running loader.
    pub(super) fn end_load(&mut self, which: usize, succeeds: bool) {
        if self.loads.is_empty() {
            return;
        }
        let Load { op, keys } = self.loads.swap_remove(which % self.loads.len());
        let failure = || LoadFailure::new("failed");
        let (now, made) = (self.now, &mut self.made);
        match keys {
            Some(keys) => {
                let load = |key: Key| (key.clone(), Loaded::value(Self::encode_value(&key, made)));
                let found = keys.into_iter().map(load).collect();
                let loaded = if succeeds { Ok(found) } else { Err(failure()) };
                self.engine.handle_loaded_many(now, op, loaded);
            }
            None => {
                let keys = self.calls.get(&op).cloned().unwrap_or_default();
                let value = keys.first().map(|key| Loaded::value(Self::encode_value(key, made)));
                let loaded = value.filter(|_| succeeds).ok_or_else(failure);
                self.engine.handle_loaded(now, op, loaded);
            }
        }
        self.drain();
    }

    /// Return a value that names its key.
    pub(super) fn encode_value(key: &Key, made: &mut u32) -> Bytes {
        *made += 1;
        Bytes::from([key.as_bytes(), format!("|{made}").as_bytes()].concat())
    }

    /// Run a command of another client.
    pub(super) fn foreign(&mut self, words: &[&[u8]]) {
        let client = self.server.connect(self.now);
        let mut frame = Vec::new();
        redcache_core::resp::command(&mut frame, words);
        self.server.handle_bytes(self.now, client, &frame);
        self.listen();
        self.server.disconnect(client);
    }

    /// Deliver up to `length` bytes to the server.
    pub(super) fn deliver_up(&mut self, length: usize) {
        let Some((_, client)) = self.link else { return };
        let bytes: Vec<u8> = self.up.drain(..length.min(self.up.len())).collect();
        self.server.handle_bytes(self.now, client, &bytes);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(event) = self.server.poll_event() {
            match (event, self.link) {
                (server::Event::Transmit { client, bytes }, Some((_, own))) if client == own => {
                    self.down.extend(bytes);
                }
                (server::Event::Transmit { .. } | server::Event::HangUp { .. }, _) => {}
            }
        }
    }

    /// Deliver up to `length` bytes to the engine.
    pub(super) fn deliver_down(&mut self, length: usize) {
        let bytes: Vec<u8> = self.down.drain(..length.min(self.down.len())).collect();
        self.receive(&bytes);
    }

    /// Pass bytes to the engine.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        if let Some((conn, _)) = self.link {
            let Self { engine, now, long_value, .. } = self;
            long_value
                .receive(bytes, |received| (engine.handle_received(*now, conn, received), ()));
            self.drain();
        }
    }

    /// Advance time.
    pub(super) fn wait(&mut self, span: Duration) {
        self.now += span;
        self.server.handle_timeout(self.now);
        self.listen();
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    /// Deliver everything in both directions.
    pub(super) fn settle(&mut self) {
        // A reply may trigger further commands, but only a limited number.
        for _ in 0..1000 {
            if self.up.is_empty() && self.down.is_empty() {
                return self.check_near();
            }
            self.deliver_up(usize::MAX);
            self.deliver_down(usize::MAX);
        }
        panic!("engine and server exchange messages without end");
    }

    /// With everything delivered, check that near entries equal the server's values.
    fn check_near(&self) {
        if !self.checks_answers {
            return;
        }
        for key in (0..3).map(key) {
            let Some(hit) = self.engine.near().peek(key.as_bytes(), self.now) else { continue };
            let raw = self.server.value(0, key.as_bytes());
            let held = raw.is_some_and(|raw| hit.value().is_none_or(|value| raw.ends_with(value)));
            assert!(held, "{key:?} has the near entry {hit:?}, which differs from the server");
        }
    }

    /// Advance time until every call must have ended.
    pub(super) fn end_in_time(&mut self) {
        for _ in 0..200 {
            self.wait(Duration::from_millis(50));
            self.connect();
            self.settle();
            while !self.loads.is_empty() {
                self.end_load(0, true);
                self.settle();
            }
            if self.calls.is_empty() && self.engine.stats().flights == 0 {
                return;
            }
        }
        panic!("{:?} have not ended, {:?}", self.calls, self.engine.stats());
    }

    fn drain(&mut self) {
        loop {
            while let Some(event) = self.engine.poll_event() {
                self.on_event(event);
            }
            let Some(Transmit { conn, .. }) = self.engine.transmits().next() else { return };
            let mut bytes = Vec::new();
            self.engine.take_transmit(conn, &mut bytes);
            assert_eq!(self.link.map(|(open, _)| open), Some(conn), "bytes for a closed link");
            self.up.extend(bytes);
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Dial { conn, .. } => self.dialing = Some(conn),
            Event::HangUp { conn } => {
                self.dialing = self.dialing.filter(|&dialing| dialing != conn);
                if self.link.is_some_and(|(open, _)| open == conn) {
                    self.unlink();
                }
            }
            Event::Load { op } => self.start_load(op, None),
            Event::LoadMany { op, keys } => self.start_load(op, Some(keys)),
            Event::Done { op, outcome } => {
                let keys = self.calls.remove(&op).expect("a finished call ends again");
                self.loads.retain(|load| load.op != op);
                self.check(&keys, outcome);
            }
            _ => {}
        }
    }

    fn start_load(&mut self, op: OpId, keys: Option<Vec<Key>>) {
        assert!(self.calls.contains_key(&op), "a load for an unknown call");
        assert!(self.engine.begin_load(op), "a load that is not the call's own");
        self.loads.push(Load { op, keys });
    }

    fn check(&mut self, keys: &[Key], outcome: Outcome) {
        let answers = match outcome {
            Outcome::Answer(answer) => vec![answer],
            Outcome::Answers(answers) => answers,
            _ => return,
        };
        assert_eq!(answers.len(), keys.len());
        for (key, answer) in keys.iter().zip(answers) {
            self.note(key, answer);
        }
    }

    fn note(&mut self, key: &Key, answer: Result<Answer, CallError>) {
        let Ok(answer) = answer else { return };
        if let (true, Some(value)) = (self.checks_answers, &answer.value) {
            let is_own = value.starts_with(key.as_bytes()) && value.get(1) == Some(&b'|');
            assert!(is_own, "{key:?} was answered with {value:?}");
        }
        self.last = Some(answer);
    }
}

#[cfg(test)]
mod tests {
    use redcache_core::LOCK_PREFIX;

    use super::*;

    #[test]
    fn a_late_batch_load_is_not_given_to_another_flight_with_the_same_slot() {
        let mut rig = Rig::new();
        rig.connect();
        rig.settle();
        let lock = format!("{LOCK_PREFIX}stranger");
        rig.foreign(&[b"SET", b"b", lock.as_bytes(), b"PX", b"60000"]);
        // A batch of `a` and `b` loads the first and waits for the second.
        rig.call(2);
        rig.settle();
        assert_eq!(rig.loads.len(), 1);
        for _ in 0..35 {
            rig.wait(Duration::from_millis(10));
            rig.settle();
        }
        assert_eq!((rig.calls.len(), rig.engine.stats().flights), (1, 1), "`a` is given up");
        // The flight of `c` reuses the slot of the flight of `a`.
        rig.call(17);
        rig.settle();
        assert_eq!(rig.loads.len(), 2);
        // The batch's loader ends late; each answer must still name its key.
        rig.end_load(0, true);
        rig.settle();
        assert_eq!(rig.calls.len(), 2, "`c` is still being loaded");
        rig.end_in_time();
    }
}
