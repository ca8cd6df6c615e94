//! The inputs of a server, and the events they cause.

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
    /// Return an empty server.
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

/// Inputs.
impl Server {
    /// Accept a connection. A full server sends an error and closes it.
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

    /// Remove a client whose connection has ended. Its keys stay in the tracking table, as in
    /// Redis.
    pub fn disconnect(&mut self, client: ClientId) {
        self.clients.remove(&client);
    }

    /// Pass bytes from `client`, in pieces of any size, and run the commands they complete.
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

    /// Set the clock without the work that is due; see [`handle_timeout`](Self::handle_timeout).
    pub fn advance_clock(&mut self, now: Instant) {
        self.clock.advance(now);
    }

    /// Do the work that is due: delete expired keys and shrink an overfull tracking table.
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

/// Events.
impl Server {
    /// Return the next event. Call it after every input until it returns `None`.
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

    /// Return the instant at which to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.tracking_is_over_limit() {
            return Some(self.clock.tick_past(self.clock.now_ms()));
        }
        let expires_at = self.keyspace.first_to_expire().filter(|_| self.expires_actively());
        expires_at.map(|(at, _)| self.clock.tick_past(at))
    }
}
