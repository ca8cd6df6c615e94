//! A cluster of which nothing can be believed: what its nodes say of it and where they send commands is any bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use redcache_core::{Address, Config, ConnId, Engine, Event, Key, OpId, Outcome, Seed};

use super::fixture::origin;
use crate::request::{request_end, words};

const SHARDS: &str = "*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%4\r\n\
    $4\r\nport\r\n:7000\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$6\r\nhealth\r\n$6\r\nonline\r\n\
    $8\r\nendpoint\r\n$4\r\nnode\r\n";
const HELLO: &[u8] =
    b"%3\r\n$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// How long a call may take.
const PATIENCE: Duration = Duration::from_millis(200);
/// How often nodes are asked of the cluster, at the least.
const REFRESH: Duration = Duration::from_millis(100);

/// An engine and the nodes that it connects to, all of which answer at once.
#[derive(Debug)]
pub(super) struct Cluster {
    now: Instant,
    engine: Engine,
    links: BTreeMap<ConnId, Vec<u8>>,
    /// What the next questions for the topology are answered with, then [`SHARDS`].
    maps: VecDeque<Vec<u8>>,
    /// What the next reads are answered with, then that there is nothing.
    refusals: VecDeque<Vec<u8>>,
    call: Option<OpId>,
    has_answer: bool,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let now = origin();
        let config = Config::builder_cluster([("seed", 1)])
            .discovery_interval(REFRESH)
            .command_timeout(PATIENCE)
            .reconnect_delay_max(Duration::from_millis(20))
            .heartbeat_interval(Duration::from_millis(100));
        // Every one of these settings is within its bounds.
        let config = config.build().expect("the settings are valid");
        let engine = Engine::new(now, &Seed { random: [7; 32], unix_ms: 0 }, config);
        let (maps, refusals) = (VecDeque::new(), VecDeque::new());
        let (links, call) = (BTreeMap::new(), None);
        let mut cluster = Self { now, engine, links, maps, refusals, call, has_answer: false };
        cluster.drain();
        assert!(cluster.read(), "a cluster in good health answers");
        cluster
    }

    /// The next question for the topology is answered with these bytes.
    pub(super) fn claim(&mut self, reply: Vec<u8>) {
        self.maps.push_back(reply);
    }

    /// The next read is answered with these bytes.
    pub(super) fn refuse(&mut self, reply: Vec<u8>) {
        self.refusals.push_back(reply);
    }

    /// Lets time pass until the nodes have been asked once more.
    pub(super) fn refresh(&mut self) {
        let end = self.now + 2 * REFRESH;
        while self.now < end && !self.maps.is_empty() {
            self.step(Duration::from_millis(5));
        }
    }

    /// Reads a key, and says whether there was an answer. The call ends in its time.
    pub(super) fn read(&mut self) -> bool {
        self.has_answer = false;
        let call = self.engine.get(self.now, Key::from("k"));
        self.call = Some(call.expect("an open cache takes calls"));
        self.drain();
        let end = self.now + PATIENCE + Duration::from_millis(10);
        while self.call.is_some() {
            assert!(self.now < end, "a call is not over in its time: {:?}", self.engine.stats());
            self.step(Duration::from_millis(5));
        }
        self.has_answer
    }

    /// Whatever it was told, once its nodes make sense again the engine does.
    pub(super) fn recover(&mut self) {
        self.maps.clear();
        self.refusals.clear();
        for _ in 0..100 {
            if self.read() {
                return;
            }
            self.step(Duration::from_millis(100));
        }
        panic!("nothing is answered any more: {:?}", self.engine.stats());
    }

    fn step(&mut self, span: Duration) {
        self.now += span;
        self.engine.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        // A reply may have the engine say more; a conversation without end would be a mistake of the engine.
        for _ in 0..10_000 {
            while let Some(event) = self.engine.poll_event() {
                self.on_event(event);
            }
            let Some(conn) = self.engine.poll_transmit() else { return };
            let mut bytes = Vec::new();
            self.engine.take_transmit(conn, &mut bytes);
            let received = self.links.get_mut(&conn).expect("bytes are for an open link");
            received.extend(bytes);
            self.serve(conn);
        }
        panic!("engine and nodes do not come to an end");
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
                assert_eq!(self.call.take(), Some(op), "a call ends that is not under way");
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
            [b"CLUSTER", ..] => self.maps.pop_front().unwrap_or_else(|| SHARDS.into()),
            [b"GET", ..] => self.refusals.pop_front().unwrap_or_else(|| b"_\r\n".to_vec()),
            [b"PTTL", ..] => b":-2\r\n".to_vec(),
            [b"PING", ..] => b"+PONG\r\n".to_vec(),
            _ => b"+OK\r\n".to_vec(),
        }
    }
}

/// Spells a topology out of any bytes, as `CLUSTER SHARDS` or `CLUSTER SLOTS` would say it. Also says whether it
/// names an owner of any slot.
pub(super) fn encode_value(by_shards: bool, bytes: &[u8]) -> (Vec<u8>, bool) {
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
        let slots = redcache_core::Slot::COUNT;
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
