//! A model of one Redis 7 server: keys, expiry, client tracking and redcache's scripts. It may be a node of a [`Cluster`]
//! of such servers, in which each knows of the others what it was told.
//!
//! A [`Server`] has the four kinds of methods that redcache's own engine has. It is *told* of connections, bytes and
//! time; it *wishes*, through [`Server::poll_event`] and [`Server::poll_timeout`], that bytes be sent, that
//! connections end and that it be woken; it answers *questions*; and a test may *disturb* it. After every input,
//! drain the wishes.
//!
//! ```text
//!  handle_bytes ─▶ request ─▶ dispatch ─▶ commands/* ─▶ keyspace
//!                                             │ read, changed
//!  poll_event   ◀─ reply   ◀─────────────── tracking
//! ```
//!
//! What it does not model says so in its reply instead of answering something likely.
//!
//! ```
//! use std::time::Instant;
//! use redcache_sim::server::{Config, Event, Server};
//!
//! let now = Instant::now();
//! let mut server = Server::new(now, Config::default());
//! let client = server.connect(now);
//! server.handle_bytes(now, client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
//! assert_eq!(server.poll_event(), Some(Event::Transmit { client, bytes: b"+OK\r\n".to_vec() }));
//! assert_eq!(server.value(0, b"k").as_deref(), Some(&b"v"[..]));
//! ```

mod call;
mod chance;
mod client;
mod clock;
mod cluster;
mod commands;
mod config;
mod dispatch;
mod disturb;
mod keyspace;
mod memory;
mod record;
mod redirect;
mod replicate;
mod reply;
mod request;
mod script;
#[cfg(test)]
mod tests;
mod tracking;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::client::{ClientId, Tracking};
pub use self::cluster::{Cluster, Member};
pub use self::config::{Config, Eviction, HelloSupport};
pub use self::record::{CommandCount, LoggedCommand};
pub use self::replicate::KeyCopy;
pub use self::reply::{Reply, ReplyError};
pub use self::script::{ScriptCall, ScriptEffect};

use self::chance::Chance;
use self::client::Client;
use self::clock::Clock;
use self::disturb::Faults;
use self::keyspace::{Keyspace, Value};
use self::record::Record;
use self::script::Scripts;
use self::tracking::TrackingTable;

/// A model of one Redis server.
#[derive(Debug)]
pub struct Server {
    config: Config,
    clock: Clock,
    chance: Chance,
    clients: BTreeMap<ClientId, Client>,
    last_client: u64,
    keyspace: Keyspace,
    tracking: TrackingTable,
    scripts: Scripts,
    /// What the server knows of its cluster, if it is a node of one.
    cluster: Option<Cluster>,
    /// The client whose command the server works on.
    running: Option<Running>,
    /// Keys of the running client that its own command changed; `None` stands for all keys.
    pending: Vec<Option<Bytes>>,
    /// Memory was short when the running command began.
    out_of_memory: bool,
    /// Clients that have output, or must be hung up on.
    outbox: VecDeque<ClientId>,
    faults: Faults,
    record: Record,
}

/// The client whose command the server works on, and whether the command itself has begun.
#[derive(Debug, Clone, Copy)]
struct Running {
    client: ClientId,
    executing: bool,
}

/// What a server wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes to the client.
    Transmit {
        /// The connection to send on.
        client: ClientId,
        /// What to send; never empty.
        bytes: Vec<u8>,
    },
    /// End the connection. The server has forgotten the client already.
    HangUp {
        /// The connection to end, once all its bytes are sent.
        client: ClientId,
    },
}

impl Server {
    /// Starts an empty server.
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            clock: Clock::new(now),
            chance: Chance::new(config.seed),
            config,
            clients: BTreeMap::new(),
            last_client: 0,
            keyspace: Keyspace::default(),
            tracking: TrackingTable::default(),
            scripts: Scripts::default(),
            cluster: None,
            running: None,
            pending: Vec::new(),
            out_of_memory: false,
            outbox: VecDeque::new(),
            faults: Faults::default(),
            record: Record::default(),
        }
    }
}

/// News from the world.
impl Server {
    /// Accepts a connection. When the server is full, the client is told so and hung up on.
    pub fn connect(&mut self, now: Instant) -> ClientId {
        self.clock.advance(now);
        self.last_client += 1;
        let id = ClientId(self.last_client);
        let mut client = Client::new(self.config.password.is_none());
        if self.clients.len() >= self.config.clients_max {
            ReplyError::new("ERR max number of clients reached").write(&mut client.output);
            client.closing = true;
        }
        self.clients.insert(id, client);
        self.wants_sending(id);
        id
    }

    /// Forgets a client whose connection has ended. What it read stays in the tracking table, as in Redis.
    pub fn disconnect(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// Takes bytes that `client` sent, in pieces of any size, and runs the commands that they complete.
    pub fn handle_bytes(&mut self, now: Instant, client: ClientId, bytes: &[u8]) {
        self.clock.advance(now);
        if let Some(state) = self.clients.get_mut(&client) {
            state.reader.feed(bytes);
        }
        while let Some(state) = self.clients.get_mut(&client).filter(|state| !state.closing) {
            match state.reader.next() {
                Ok(Some(args)) => self.execute(client, &args),
                Ok(None) => break,
                Err(error) => {
                    ReplyError::new(format!("ERR {error}")).write(&mut state.output);
                    state.closing = true;
                }
            }
        }
        self.wants_sending(client);
    }

    /// Sets the clock, and leaves what is due by it to [`handle_timeout`](Self::handle_timeout).
    pub fn advance_clock(&mut self, now: Instant) {
        self.clock.advance(now);
    }

    /// Does what is due by the clock: deletes expired keys and shortens an overfull tracking table.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock.advance(now);
        let Some(tick_ms) = self.clock.take_tick() else {
            return;
        };
        while let Some(place) = self.expired_key(tick_ms) {
            self.delete_expired(&place);
        }
        self.limit_tracking();
    }
}

/// Wishes.
impl Server {
    /// The next thing that the server wants done. Call it until there is none, after every input.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some(client) = self.outbox.pop_front() {
            let Some(state) = self.clients.get_mut(&client) else {
                continue;
            };
            if !state.output.is_empty() {
                let bytes = std::mem::take(&mut state.output);
                state.queued = false;
                if state.closing {
                    self.wants_sending(client);
                }
                return Some(Event::Transmit { client, bytes });
            }
            state.queued = false;
            if state.closing {
                self.clients.remove(&client);
                return Some(Event::HangUp { client });
            }
        }
        None
    }

    /// When the server wants to be told of the time, with [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.tracking_is_over_limit() {
            return Some(self.clock.tick_past(self.clock.now_ms()));
        }
        let expires_at = self.keyspace.first_to_expire().filter(|_| self.expires_actively());
        expires_at.map(|(at, _)| self.clock.tick_past(at))
    }
}

/// Questions.
impl Server {
    /// The string under `key` of `database`, unless it is missing, expired or not a string.
    ///
    /// # Panics
    ///
    /// When `database` is not below 16.
    pub fn value(&self, database: usize, key: &[u8]) -> Option<Bytes> {
        let gone = self.keyspace.is_expired(database, key, self.clock.now_ms());
        match &self.keyspace.get(database, key).filter(|_| !gone)?.value {
            Value::String(bytes) => Some(bytes.clone()),
            Value::Hash(_) => None,
        }
    }

    /// When `key` of `database` expires; `None` when it is missing or lives forever.
    ///
    /// # Panics
    ///
    /// When `database` is not below 16.
    pub fn expires_at(&self, database: usize, key: &[u8]) -> Option<Instant> {
        let entry = self.keyspace.get(database, key)?;
        entry.expires_at.map(|at| self.clock.instant(at))
    }

    /// How much time `key` of `database` has left; `None` when it is missing or lives forever.
    ///
    /// # Panics
    ///
    /// When `database` is not below 16.
    pub fn ttl(&self, database: usize, key: &[u8]) -> Option<Duration> {
        let at = self.keyspace.get(database, key)?.expires_at?;
        let left = at.saturating_sub(self.clock.now_ms());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    /// Everyone who is connected, the longest connected first.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> + '_ {
        let connected = self.clients.iter().filter(|(_, client)| !client.closing);
        connected.map(|(id, _)| *id)
    }

    /// Says whether the server still listens to `client`; it may have bytes left to send to it if not.
    pub fn is_connected(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|state| !state.closing)
    }

    /// How `client` wants its reads tracked; `None` when it does not.
    pub fn tracking(&self, client: ClientId) -> Option<Tracking> {
        self.clients.get(&client)?.tracking
    }

    /// Says whether `client` would be told of the next change of `key`.
    pub fn is_tracked(&self, client: ClientId, key: &[u8]) -> bool {
        self.tracking(client).is_some() && self.tracking.has(key, client)
    }

    /// How many keys the tracking table remembers.
    pub fn tracked_keys(&self) -> usize {
        self.tracking.len()
    }

    /// How often a command was called, by its full name in lower case: `get`, `client|tracking`.
    pub fn count(&self, command: &str) -> CommandCount {
        self.record.counts.get(command).copied().unwrap_or_default()
    }

    /// The latest commands in the order in which they came, at most as many as the configuration says.
    pub fn log(&self) -> impl ExactSizeIterator<Item = &LoggedCommand> + '_ {
        self.record.log.iter()
    }

    /// What the server knows of its cluster; `None` for a server on its own.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The SHA-1 of every script that the server has in its cache.
    pub fn script_hashes(&self) -> impl Iterator<Item = &str> + '_ {
        self.scripts.hashes()
    }
}

impl Server {
    /// Puts a client in the outbox if it has output or must be hung up on.
    fn wants_sending(&mut self, client: ClientId) {
        let Some(state) = self.clients.get_mut(&client) else {
            return;
        };
        if !state.queued && (state.closing || !state.output.is_empty()) {
            state.queued = true;
            self.outbox.push_back(client);
        }
    }

    /// Ends a client's connection at once; what was not sent is lost.
    fn kill(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.output.clear();
            state.closing = true;
            self.wants_sending(client);
        }
    }

    fn is_replica(&self) -> bool {
        self.faults.read_only || self.cluster.as_ref().is_some_and(Cluster::is_replica)
    }

    fn expires_actively(&self) -> bool {
        // A replica waits for its master to delete what has expired.
        self.config.active_expiry && !self.is_replica()
    }

    fn expired_key(&self, now_ms: i64) -> Option<(usize, Bytes)> {
        let (at, place) = self.keyspace.first_to_expire()?;
        (self.expires_actively() && now_ms > at).then(|| place.clone())
    }

    fn delete_expired(&mut self, (database, key): &(usize, Bytes)) {
        self.keyspace.remove(*database, key);
        self.record.expired_keys += 1;
        self.invalidate(key);
    }
}
