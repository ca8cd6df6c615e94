//! The queries of tests.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::{ClientId, Tracking};
use super::cluster::Cluster;
use super::instance::Server;
use super::keyspace::Value;
use super::record::{CommandCount, LoggedCommand};

/// Queries.
impl Server {
    /// Return the string under `key`, unless it is missing, expired or of another type.
    ///
    /// # Panics
    ///
    /// Panics if `database` is 16 or more.
    pub fn value(&self, database: usize, key: &[u8]) -> Option<Bytes> {
        let gone = self.keyspace.is_expired(database, key, self.clock.now_ms());
        match &self.keyspace.get(database, key).filter(|_| !gone)?.value {
            Value::String(bytes) => Some(bytes.clone()),
            Value::Hash(_) => None,
        }
    }

    /// Return the instant at which `key` expires; `None` if it is missing or has no TTL.
    ///
    /// # Panics
    ///
    /// Panics if `database` is 16 or more.
    pub fn expires_at(&self, database: usize, key: &[u8]) -> Option<Instant> {
        let entry = self.keyspace.get(database, key)?;
        entry.expires_at.map(|at| self.clock.instant(at))
    }

    /// Return the remaining TTL of `key`; `None` if it is missing or has no TTL.
    ///
    /// # Panics
    ///
    /// Panics if `database` is 16 or more.
    pub fn ttl(&self, database: usize, key: &[u8]) -> Option<Duration> {
        let at = self.keyspace.get(database, key)?.expires_at?;
        let left = at.saturating_sub(self.clock.now_ms());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    /// Return the connected clients, the longest connected first.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> + '_ {
        let connected = self.clients.iter().filter(|(_, client)| !client.closing);
        connected.map(|(id, _)| *id)
    }

    /// Return whether the server still reads from `client`; it may have bytes left to send if not.
    pub fn is_connected(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|state| !state.closing)
    }

    /// Return the tracking options of `client`; `None` without tracking.
    pub fn tracking(&self, client: ClientId) -> Option<Tracking> {
        self.clients.get(&client)?.tracking
    }

    /// Return whether `client` gets an invalidation when `key` changes.
    pub fn is_tracked(&self, client: ClientId, key: &[u8]) -> bool {
        self.tracking(client).is_some() && self.tracking.has(key, client)
    }

    /// Return the commands that `client` has sent since `MULTI`; `None` outside a transaction.
    pub fn transaction(&self, client: ClientId) -> Option<&[Vec<Bytes>]> {
        self.clients.get(&client)?.transaction.as_ref().map(|it| &it.commands[..])
    }

    /// Return whether the server compares and writes without a script.
    pub fn has_native_commands(&self) -> bool {
        self.config.knows_set_ifeq()
    }

    /// Return the number of keys in the tracking table.
    pub fn tracked_keys(&self) -> usize {
        self.tracking.len()
    }

    /// Return how often a command was called, by its full name in lower case: `get`,
    /// `client|tracking`.
    pub fn count(&self, command: &str) -> CommandCount {
        self.record.counts.get(command).copied().unwrap_or_default()
    }

    /// Return the latest commands in order, at most as many as the configuration allows.
    pub fn log(&self) -> impl ExactSizeIterator<Item = &LoggedCommand> + '_ {
        self.record.log.iter()
    }

    /// Return the view of the cluster; `None` for a single server.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Return the SHA-1 of each script in the cache.
    pub fn script_hashes(&self) -> impl Iterator<Item = &str> + '_ {
        self.scripts.hashes()
    }
}
