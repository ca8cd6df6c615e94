//! Inputs of a server, and what it asks for in return.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::client::{Client, ClientId};
use super::clock::Clock;
use super::config::Config;
use super::event::Event;
use super::faults::Faults;
use super::instance::Server;
use super::keyspace::Keyspace;
use super::record::Record;
use super::reply::ReplyError;
use super::rng::Rng;
use super::script_cache::ScriptCache;
use super::script_effects;
use super::tracking_table::TrackingTable;

impl Server {
    /// Starts an empty server.
    pub fn new(now: Instant, config: Config) -> Self {
        Self {
            clock: Clock::new(now),
            rng: Rng::new(config.seed),
            config,
            clients: BTreeMap::new(),
            last_client: 0,
            keyspace: Keyspace::default(),
            tracking: TrackingTable::default(),
            scripts: ScriptCache::new(script_effects::all()),
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
