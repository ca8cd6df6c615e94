//! An engine under virtual time, with scripted replies of its servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::answer::{Answer, Loaded};
use crate::api::config::{Address, Config, ConfigBuilder};
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::engine::{Engine, Seed};
use crate::event::{CallStep, Event, Outcome};
use crate::flow::call::OpId;
use crate::protocol::script::Script;
use crate::resp::{Frame, Limits, Scanner, decode};
use crate::wire::router::ConnId;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// The reply to `HELLO`, and those to the commands of the handshake that follow.
const HANDSHAKE: [&str; 2] =
    ["%1\r\n$5\r\nproto\r\n:3\r\n", "+OK\r\n+PONG\r\n-ERR unknown subcommand\r\n+OK\r\n"];

/// The replies to a read of a missing key with a lock attempt.
pub(super) const MISSING_LOCKED: &str = "_\r\n:-2\r\n+OK\r\n";

/// An engine, its connections, and its events.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) engine: Engine,
    /// The servers refuse connections.
    pub(super) refuses: bool,
    /// The open connections, each with its server's port.
    open: Vec<(ConnId, u16)>,
    /// The bytes that were sent to each server and that the test has not read.
    unread: BTreeMap<u16, Vec<u8>>,
    loads: Vec<OpId>,
    outcomes: Vec<(OpId, Outcome)>,
    pub(super) steps: Vec<(OpId, CallStep)>,
}

impl World {
    /// Connect an engine to the server at port 1.
    pub(super) fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// Connect an engine with these settings to the server at port 1.
    pub(super) fn with(settings: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the origin of a test's virtual time")]
        let now = Instant::now();
        let config = settings(Config::builder().server("h", 1)).build().unwrap();
        let seed = Seed { random: [7; 32], unix_ms: 0 };
        let mut world = Self {
            now,
            engine: Engine::new(now, &seed, config),
            refuses: false,
            open: Vec::new(),
            unread: BTreeMap::new(),
            loads: Vec::new(),
            outcomes: Vec::new(),
            steps: Vec::new(),
        };
        world.settle();
        world
    }

    /// Connect an engine to a cluster of the servers at the ports 1 and 2. The key `k` belongs to
    /// the first.
    pub(super) fn cluster() -> Self {
        let mut world = Self::with(|builder| builder.cluster([("h", 1)]));
        world.answer_topology(1, 5, &[(1, 0, 8191), (2, 8192, 16383)]);
        world
    }

    /// Have a server answer the slot map queries.
    pub(super) fn answer_topology(&mut self, port: u16, epoch: u64, ranges: &[(u16, u16, u16)]) {
        let info = format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n");
        let info = format!("${}\r\n{info}\r\n", info.len());
        let mut shards = format!("*{}\r\n", ranges.len());
        for (port, first, last) in ranges {
            shards += &format!("%2\r\n$5\r\nslots\r\n*2\r\n:{first}\r\n:{last}\r\n$5\r\nnodes\r\n");
            shards += "*1\r\n%3\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$8\r\nendpoint\r\n$1\r\nh\r\n";
            shards += &format!("$4\r\nport\r\n:{port}\r\n");
        }
        let replies = self.take_sent_to(port).into_iter().map(|command| match &*command {
            "CLUSTER INFO" => info.clone(),
            "CLUSTER SHARDS" => shards.clone(),
            "PING" => "+PONG\r\n".to_owned(),
            other => panic!("`{other}` asks for no slot map"),
        });
        self.hear_from(port, &replies.collect::<String>());
    }

    /// Serve the engine's events. Every dial succeeds.
    pub(super) fn settle(&mut self) {
        self.engine.handle_timeout(self.now);
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Dial { conn, .. } if self.refuses => {
                    self.engine.handle_disconnected(self.now, conn, "connection refused");
                }
                Event::Dial { conn, address: Address::Tcp { port, .. } } => {
                    self.open.push((conn, port));
                    self.engine.handle_connected(self.now, conn);
                    let unread = self.unread.remove(&port);
                    self.hear_from(port, HANDSHAKE[0]);
                    assert_eq!(self.take_sent_to(port), ["PING"]);
                    self.unread.extend(unread.map(|bytes| (port, bytes)));
                    self.hear_from(port, HANDSHAKE[1]);
                }
                Event::Observed(event) => {
                    self.engine.config().observer.notify(|it| event.notify(it))
                }
                Event::HangUp { conn } => self.open.retain(|(open, _)| *open != conn),
                Event::Load { op } | Event::LoadMany { op, .. } => self.loads.push(op),
                Event::Step { op, step } => self.steps.push((op, step)),
                Event::Done { op, outcome } => self.outcomes.push((op, outcome)),
                _ => {}
            }
        }
    }

    /// Let time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Lose the connection to the server at port 1.
    pub(super) fn hang_up(&mut self) {
        let conn = self.conn(1).expect("the connection is open");
        self.transmit(1);
        self.open.retain(|(open, _)| *open != conn);
        self.engine.handle_disconnected(self.now, conn, "connection reset");
        self.settle();
    }

    pub(super) fn call(
        &mut self,
        call: impl FnOnce(&mut Engine, Instant) -> Result<OpId, Error>,
    ) -> OpId {
        let op = call(&mut self.engine, self.now).unwrap();
        self.settle();
        op
    }

    /// Start a `get_with` of the key `k`.
    pub(super) fn fetch(&mut self) -> OpId {
        self.call(|engine, now| engine.get_with(now, Key::from("k"), 60 * SECOND))
    }

    /// Start a `remove` of the key `k`.
    pub(super) fn remove(&mut self) -> OpId {
        self.call(|engine, now| engine.remove(now, Key::from("k")))
    }

    fn conn(&self, port: u16) -> Option<ConnId> {
        self.open.iter().find(|(_, open)| *open == port).map(|(conn, _)| *conn)
    }

    /// Have the server at port 1 send these bytes.
    pub(super) fn hear(&mut self, bytes: &str) {
        self.hear_from(1, bytes);
    }

    /// Have a server send these bytes, after it has read everything that was sent to it.
    pub(super) fn hear_from(&mut self, port: u16, bytes: &str) {
        for byte in bytes.as_bytes().chunks(1) {
            let conn = self.conn(port).expect("the connection is open");
            self.transmit(port);
            self.engine.handle_read(self.now, conn, byte);
        }
        self.settle();
    }

    fn transmit(&mut self, port: u16) {
        if let Some(conn) = self.conn(port) {
            let mut bytes = Vec::new();
            self.engine.take_transmit(conn, &mut bytes);
            self.unread.entry(port).or_default().extend_from_slice(&bytes);
        }
    }

    /// Return the commands to the server at port 1 since the last call, each with its key.
    pub(super) fn take_sent(&mut self) -> Vec<String> {
        self.take_sent_to(1)
    }

    /// Return the commands to a server since the last call, each with its key. Commands of the
    /// handshake are left out.
    pub(super) fn take_sent_to(&mut self, port: u16) -> Vec<String> {
        self.transmit(port);
        let bytes = self.unread.remove(&port).unwrap_or_default();
        let (mut rest, mut sent) = (&bytes[..], Vec::new());
        while let Some(end) = Scanner::new(Limits::default()).scan(rest).unwrap() {
            let Frame::Array(words) = decode(&rest[..end]).unwrap() else { panic!() };
            let words = words.iter().map(|word| match word {
                Frame::Bulk(word) => String::from_utf8_lossy(word).into_owned(),
                _ => panic!("a command consists of bulk strings"),
            });
            let words: Vec<_> = words.collect();
            if !matches!(words[0].as_str(), "HELLO" | "CLIENT") {
                sent.push(name(&words));
            }
            rest = &rest[end..];
        }
        sent
    }

    /// Take the call whose loader is to run next.
    pub(super) fn take_load(&mut self) -> Option<OpId> {
        let op = self.take_load_late()?;
        assert!(self.engine.begin_load(op), "the load has passed to another call");
        Some(op)
    }

    /// Take the call whose loader is to run next, and do not begin it.
    pub(super) fn take_load_late(&mut self) -> Option<OpId> {
        (!self.loads.is_empty()).then(|| self.loads.remove(0))
    }

    /// End the loader of a call.
    pub(super) fn loaded(&mut self, op: OpId, loaded: impl Into<Loaded>) {
        self.engine.handle_loaded(self.now, op, Ok(loaded.into()));
        self.settle();
    }

    /// Return the outcome of a call, if the call has ended.
    pub(super) fn outcome(&mut self, op: OpId) -> Option<Outcome> {
        let at = self.outcomes.iter().position(|(done, _)| *done == op)?;
        Some(self.outcomes.remove(at).1)
    }

    /// Return the answer of a call for one key, if the call has ended.
    pub(super) fn answer(&mut self, op: OpId) -> Option<Result<Answer, CallError>> {
        match self.outcome(op)? {
            Outcome::Answer(answer) => Some(answer),
            other => panic!("{other:?}"),
        }
    }

    /// Return the source and the value of a call for one key as a text.
    pub(super) fn text(&mut self, op: OpId) -> String {
        match self.answer(op) {
            None => "waits".to_owned(),
            Some(Err(error)) => format!("{error:?}"),
            Some(Ok(answer)) => {
                let value = answer.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                format!("{} {}", answer.source.as_str(), value.as_deref().unwrap_or("nothing"))
            }
        }
    }
}

fn name(words: &[String]) -> String {
    let script = Script::ALL.into_iter().find(|script| match words[0].as_str() {
        "EVALSHA" => words[1] == script.sha1(),
        "EVAL" => words[1] == script.source(),
        _ => false,
    });
    match script {
        Some(script) => format!("{script:?} {}", words[3]),
        None => words.iter().take(2).cloned().collect::<Vec<_>>().join(" "),
    }
}
