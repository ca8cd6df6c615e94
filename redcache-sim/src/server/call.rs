//! One running command: its arguments, its client, and the keys as the client sees them.

use bytes::Bytes;

use super::client::{Client, ClientId};
use super::instance::Server;
use super::keyspace::{Entry, Value};
use super::reply::{Protocol, ReplyError};
use super::request::integer;

#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) server: &'a mut Server,
    pub(super) client: ClientId,
    /// The name and the arguments, as many as the arity demands.
    pub(super) args: &'a [Bytes],
}

impl Call<'_> {
    pub(super) fn now_ms(&self) -> i64 {
        self.server.clock.now_ms()
    }

    /// Return the client's state; `None` if the client has disconnected.
    pub(super) fn state(&mut self) -> Option<&mut Client> {
        self.server.clients.get_mut(&self.client)
    }

    pub(super) fn database(&self) -> usize {
        self.server.clients.get(&self.client).map_or(0, |client| client.database)
    }

    pub(super) fn protocol(&self) -> Protocol {
        let client = self.server.clients.get(&self.client);
        client.map_or(Protocol::Resp2, |client| client.protocol)
    }

    /// Return argument `at` as a number.
    pub(super) fn integer(&self, at: usize) -> Result<i64, ReplyError> {
        integer(&self.args[at]).ok_or_else(|| ReplyError::NOT_AN_INTEGER.into())
    }

    /// Return whether argument `at` is this word, ignoring case.
    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        self.args[at].eq_ignore_ascii_case(word.as_bytes())
    }

    /// Return argument `at` as text, replacing invalid UTF-8.
    pub(super) fn text(&self, at: usize) -> String {
        String::from_utf8_lossy(&self.args[at]).into_owned()
    }

    /// Return a key's entry. An expired key is deleted, except on a replica.
    pub(super) fn lookup(&mut self, key: &Bytes) -> Option<&Entry> {
        let database = self.database();
        if self.server.keyspace.is_expired(database, key, self.now_ms()) {
            if !self.server.is_replica() {
                self.server.delete_expired(&(database, key.clone()));
            }
            return None;
        }
        self.server.keyspace.get(database, key)
    }

    /// Return a key that must be a string or missing.
    pub(super) fn string(&mut self, key: &Bytes) -> Result<Option<Bytes>, ReplyError> {
        match self.lookup(key).map(|entry| &entry.value) {
            Some(Value::String(bytes)) => Ok(Some(bytes.clone())),
            Some(Value::Hash(_)) => Err(ReplyError::WRONG_TYPE.into()),
            None => Ok(None),
        }
    }

    pub(super) fn store(&mut self, key: &Bytes, value: Value, expires_at: Option<i64>) {
        let database = self.database();
        self.server.keyspace.insert(database, key, Entry { value, expires_at });
        self.server.invalidate(key);
    }

    pub(super) fn set_expiry(&mut self, key: &Bytes, expires_at: Option<i64>) {
        let database = self.database();
        self.server.keyspace.set_expiry(database, key, expires_at);
        self.server.invalidate(key);
    }

    /// Delete a key and return whether it existed.
    pub(super) fn delete(&mut self, key: &Bytes) -> bool {
        let existed = self.lookup(key).is_some();
        if existed {
            let database = self.database();
            self.server.keyspace.remove(database, key);
            self.server.invalidate(key);
        }
        existed
    }
}
