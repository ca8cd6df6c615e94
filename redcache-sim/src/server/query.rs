//! What a test can ask of a server.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{ClientId, Tracking};
use super::cluster::Cluster;
use super::instance::Server;
use super::keyspace::Value;
use super::record::{CommandCount, LoggedCommand};

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
