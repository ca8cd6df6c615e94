//! A cluster whose nodes may send any reply.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use redcache_core::engine::{ConnId, Engine, Event, OpId, Outcome, Seed, Transmit};
use redcache_core::{Address, CallOptions, Config, Key};

use super::fixture::origin;
use crate::request::{request_end, words};

const SHARDS: &str = "*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%4\r\n\
    $4\r\nport\r\n:7000\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$6\r\nhealth\r\n$6\r\nonline\r\n\
    $8\r\nendpoint\r\n$4\r\nnode\r\n";
const HELLO: &[u8] =
    b"%3\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// The time limit of a call.
const CALL_TIMEOUT: Duration = Duration::from_millis(200);
/// The interval of discovery.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(100);

/// An engine and its nodes, which answer at once.
#[derive(Debug)]
pub(super) struct Cluster {
    now: Instant,
    engine: Engine,
    links: BTreeMap<ConnId, Vec<u8>>,
    /// Replies to the next topology queries; [`SHARDS`] answers the rest.
    topologies: VecDeque<Vec<u8>>,
    /// Replies to the next reads; a null answers the rest.
    read_replies: VecDeque<Vec<u8>>,
    call: Option<OpId>,
    has_answer: bool,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let now = origin();
        let config = Config::builder()
            .cluster([("seed", 1)])
            .discovery_interval(DISCOVERY_INTERVAL)
            .command_timeout(CALL_TIMEOUT)
            .reconnect_delay_max(Duration::from_millis(20))
            .heartbeat_interval(Duration::from_millis(100));
        // Each setting is within its range.
        let config = config.build().expect("the settings are valid");
        let engine = Engine::new(now, &Seed::new([7; 32], 0), config);
        let (topologies, read_replies) = (VecDeque::new(), VecDeque::new());
        let (links, call) = (BTreeMap::new(), None);
        let mut cluster =
            Self { now, engine, links, topologies, read_replies, call, has_answer: false };
        cluster.drain();
        assert!(cluster.read(), "a cluster in good health answers");
        cluster
    }

    /// Queue a reply to the next topology query.
    pub(super) fn queue_topology(&mut self, reply: Vec<u8>) {
        self.topologies.push_back(reply);
    }

    /// Queue a reply to the next read.
    pub(super) fn queue_reply(&mut self, reply: Vec<u8>) {
        self.read_replies.push_back(reply);
    }

    /// Advance time until the queued topology replies are used.
    pub(super) fn wait_for_discovery(&mut self) {
        let end = self.now + 2 * DISCOVERY_INTERVAL;
        while self.now < end && !self.topologies.is_empty() {
            self.step(Duration::from_millis(5));
        }
    }

    /// Read a key and return whether it was answered. Panics if the call takes too long.
    pub(super) fn read(&mut self) -> bool {
        self.has_answer = false;
        let call = self.engine.get(self.now, Key::from("k"), CallOptions::new());
        self.call = Some(call.expect("an open cache takes calls"));
        self.drain();
        let end = self.now + CALL_TIMEOUT + Duration::from_millis(10);
        while self.call.is_some() {
            assert!(self.now < end, "a call exceeds its time limit: {:?}", self.engine.stats());
            self.step(Duration::from_millis(5));
        }
        self.has_answer
    }

    /// Check that the engine recovers once all replies are valid.
    pub(super) fn recover(&mut self) {
        self.topologies.clear();
        self.read_replies.clear();
        for _ in 0..100 {
            if self.read() {
                return;
            }
            self.step(Duration::from_millis(100));
        }
        panic!("the engine does not recover: {:?}", self.engine.stats());
    }

    fn step(&mut self, span: Duration) {
        self.now += span;
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        // A reply may trigger further commands, but only a limited number.
        for _ in 0..10_000 {
            while let Some(event) = self.engine.poll_event() {
                self.on_event(event);
            }
            let Some(Transmit { conn, .. }) = self.engine.transmits().next() else { return };
            let mut bytes = Vec::new();
            self.engine.take_transmit(conn, &mut bytes);
            let received = self.links.get_mut(&conn).expect("bytes are for an open link");
            received.extend(bytes);
            self.serve(conn);
        }
        panic!("engine and nodes exchange messages without end");
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Dial { conn, address } => {
                if let Address::Tcp { host, port } = &address {
                    assert!(!host.is_empty() && *port != 0, "{address} cannot be connected to");
                }
                self.links.insert(conn, Vec::new());
                self.engine.handle_connected(self.now, conn);
            }
            Event::HangUp { conn } => drop(self.links.remove(&conn)),
            Event::Done { op, outcome } => {
                assert_eq!(self.call.take(), Some(op), "an unknown call ends");
                self.has_answer = matches!(outcome, Outcome::Answer(Ok(_)));
            }
            _ => {}
        }
    }

    fn serve(&mut self, conn: ConnId) {
        while let Some(received) = self.links.get_mut(&conn)
            && let Some(length) = request_end(received)
        {
            let rest = received.split_off(length);
            let frame = std::mem::replace(received, rest);
            let reply = self.reply(&words(&frame));
            self.engine.handle_read(self.now, conn, &reply);
            while let Some(event) = self.engine.poll_event() {
                self.on_event(event);
            }
        }
    }

    fn reply(&mut self, words: &[&[u8]]) -> Vec<u8> {
        match words {
            [b"HELLO", ..] => HELLO.to_vec(),
            [b"CLUSTER", b"INFO"] => b"$25\r\ncluster_current_epoch:1\r\n\r\n".to_vec(),
            [b"CLUSTER", ..] => self.topologies.pop_front().unwrap_or_else(|| SHARDS.into()),
            [b"GET", ..] => self.read_replies.pop_front().unwrap_or_else(|| b"_\r\n".to_vec()),
            [b"PTTL", ..] => b":-2\r\n".to_vec(),
            [b"PING", ..] => b"+PONG\r\n".to_vec(),
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

/// Encode arbitrary bytes as a reply to `CLUSTER SHARDS` or `CLUSTER SLOTS`. Also return whether it
/// names an owner of any slot.
pub(super) fn encode_topology(by_shards: bool, bytes: &[u8]) -> (Vec<u8>, bool) {
    const ENTRY: usize = 8;
    let mut out = format!("*{}\r\n", bytes.chunks(ENTRY).count()).into_bytes();
    let mut is_owned = false;
    for entry in bytes.chunks(ENTRY) {
        let at = |place: usize| u16::from(entry.get(place).copied().unwrap_or(0));
        let first = at(0) << 7 | at(1) & 0x7f;
        let last = at(2) << 7 | at(3) & 0x7f;
        let port = at(4) << 8 | at(5);
        let host = entry.get(6..).unwrap_or_default();
        let is_host = std::str::from_utf8(host).is_ok();
        let slots = redcache_core::protocol::Slot::COUNT;
        is_owned |= first <= last && last < slots && port != 0 && is_host;
        let head = if by_shards {
            format!(
                "%2\r\n$5\r\nslots\r\n*2\r\n:{first}\r\n:{last}\r\n$5\r\nnodes\r\n*1\r\n%3\r\n\
                $4\r\nrole\r\n$6\r\nmaster\r\n$4\r\nport\r\n:{port}\r\n$8\r\nendpoint\r\n${}\r\n",
                host.len()
            )
        } else {
            format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n${}\r\n", host.len())
        };
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(host);
        let tail = if by_shards { "\r\n".to_owned() } else { format!("\r\n:{port}\r\n") };
        out.extend_from_slice(tail.as_bytes());
    }
    (out, is_owned)
}
