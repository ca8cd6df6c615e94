//! An engine without a socket: its server is a table of replies.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use redcache_core::engine::{ConnId, Engine, Event, LongValue, OpId, Outcome, Seed};
use redcache_core::resp::{Frame, Limits, Scanner, decode};
use redcache_core::{CallOptions, Config, ConfigBuilder, Key};

use crate::Failure;

/// An engine whose keys are all in a scripted Redis.
pub(super) struct Scripted {
    engine: Engine,
    conn: ConnId,
    now: Instant,
    sent: Vec<u8>,
    /// Replies by the length of the request. All keys have the same length, so two requests of the
    /// engine have the same length only if they consist of the same commands.
    replies: HashMap<usize, Vec<u8>>,
    value: Vec<u8>,
    piece: usize,
}

impl Scripted {
    /// Connect the engine. Every key holds the value, and replies arrive in pieces.
    pub(super) fn connect(value: &[u8], piece: usize) -> Result<Self, Failure> {
        Self::connect_with(Config::builder(), value, piece)
    }

    /// Connect the engine without a near cache. Its reads never ask for a TTL, so batches of equal
    /// size consist of equal commands.
    pub(super) fn connect_without_near(value: &[u8]) -> Result<Self, Failure> {
        Self::connect_with(Config::builder().near_cache_bytes(0), value, usize::MAX)
    }

    fn connect_with(config: ConfigBuilder, value: &[u8], piece: usize) -> Result<Self, Failure> {
        let now = Instant::now();
        let seed = Seed::new([7; 32], 1_700_000_000_000);
        let mut engine = Engine::new(now, &seed, config.server("localhost", 6379).build()?);
        engine.handle_timeout(now);
        let conn = loop {
            match engine.poll_event() {
                Some(Event::Dial { conn, .. }) => break conn,
                Some(_) => {}
                None => return Err("the engine does not want to connect".into()),
            }
        };
        engine.handle_connected(now, conn);
        let mut scripted = Self {
            engine,
            conn,
            now,
            sent: Vec::new(),
            replies: HashMap::new(),
            value: value.to_vec(),
            piece,
        };
        scripted.exchange()?;
        while scripted.engine.poll_event().is_some() {}
        if !scripted.engine.is_tracked() {
            return Err("the engine does not take the handshake for one of Redis".into());
        }
        Ok(scripted)
    }

    /// Read one key.
    pub(super) fn get_with(&mut self, key: Key, ttl: Duration) -> Result<(), Failure> {
        let op = self.engine.get_with(self.now, key, ttl)?;
        self.finish(op)
    }

    /// Read many keys.
    pub(super) fn get_many(&mut self, keys: Vec<Key>) -> Result<(), Failure> {
        let op = self.engine.get_many(self.now, keys, CallOptions::new())?;
        self.finish(op)
    }

    /// Read many keys with a loader.
    pub(super) fn get_many_with(&mut self, keys: Vec<Key>, ttl: Duration) -> Result<(), Failure> {
        let op = self.engine.get_many_with(self.now, keys, ttl)?;
        self.finish(op)
    }

    fn finish(&mut self, op: OpId) -> Result<(), Failure> {
        self.exchange()?;
        while let Some(event) = self.engine.poll_event() {
            let Event::Done { op: done, outcome } = event else { continue };
            let found = match outcome {
                Outcome::Answer(answer) => answer.is_ok_and(|answer| answer.value.is_some()),
                Outcome::Answers(answers) => answers
                    .into_iter()
                    .all(|answer| answer.is_ok_and(|answer| answer.value.is_some())),
                _ => false,
            };
            return if done == op && found { Ok(()) } else { Err("a wrong answer".into()) };
        }
        Err("no answer".into())
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        loop {
            while self.engine.take_transmit(self.conn, &mut self.sent) {
                let reply = match self.replies.entry(self.sent.len()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => unknown.insert(replies(&self.sent, &self.value)?),
                };
                let mut long_value = LongValue::default();
                for piece in reply.chunks(self.piece) {
                    long_value.receive(piece, |received| {
                        (self.engine.handle_received(self.now, self.conn, received), ())
                    });
                }
            }
            if !self.engine.is_starting() {
                return Ok(());
            }
            self.engine.start_more(self.now);
        }
    }
}

/// Return the replies of a Redis in which every key holds the value for ten minutes.
fn replies(mut sent: &[u8], value: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut scanner = Scanner::new(Limits::default());
    let mut replies = Vec::new();
    while !sent.is_empty() {
        let end = scanner.scan(sent)?.ok_or("a command is not whole")?;
        let Frame::Array(words) = decode(&sent[..end])? else { return Err("not a command".into()) };
        match words.first() {
            Some(Frame::Bulk(b"HELLO")) => {
                replies.extend_from_slice(b"%1\r\n$5\r\nproto\r\n:3\r\n");
            }
            Some(Frame::Bulk(b"PING")) => replies.extend_from_slice(b"+PONG\r\n"),
            Some(Frame::Bulk(b"GET")) => bulk(value, &mut replies),
            Some(Frame::Bulk(b"MGET")) => {
                let keys = words.len() - 1;
                replies.extend_from_slice(format!("*{keys}\r\n").as_bytes());
                (0..keys).for_each(|_| bulk(value, &mut replies));
            }
            Some(Frame::Bulk(b"PTTL")) => replies.extend_from_slice(b":600000\r\n"),
            // The key already has a value.
            Some(Frame::Bulk(b"SET")) => replies.extend_from_slice(b"_\r\n"),
            _ => replies.extend_from_slice(b"+OK\r\n"),
        }
        sent = &sent[end..];
    }
    Ok(replies)
}

/// Append a bulk string.
pub(super) fn bulk(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
