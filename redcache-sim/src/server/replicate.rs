//! Copies of keys between servers: slot migration and replication.

use bytes::Bytes;
use redcache_core::protocol::Slot;

use super::instance::Server;
use super::keyspace::Entry;

/// The content of a key in transit from one server to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCopy(Entry);

impl Server {
    /// Return the content of `key` in database 0, including an expired key that is still stored.
    pub fn copy_of(&self, key: &[u8]) -> Option<KeyCopy> {
        self.keyspace.get(0, key).cloned().map(KeyCopy)
    }

    /// Return a copy of each key in database 0, in no order.
    pub fn copies(&self) -> Vec<(Bytes, KeyCopy)> {
        let copy = |key: &Bytes| Some((key.clone(), self.copy_of(key)?));
        self.keyspace.keys(0).filter_map(copy).collect()
    }

    /// Store a copy under `key` in database 0 and invalidate it if it changed. The clocks of both
    /// servers must agree.
    pub fn put_copy(&mut self, key: &[u8], copy: Option<KeyCopy>) {
        if self.copy_of(key) == copy {
            return;
        }
        let key = Bytes::copy_from_slice(key);
        match copy {
            Some(KeyCopy(entry)) => self.keyspace.insert(0, &key, entry),
            None => _ = self.keyspace.remove(0, &key),
        }
        self.invalidate(&key);
    }

    /// Delete and invalidate each key of a slot that this node has lost.
    pub fn drop_slot(&mut self, slot: Slot) {
        for key in self.keys_in(slot) {
            self.put_copy(&key, None);
        }
    }

    /// Delete everything and invalidate all keys, as a replica does before a full synchronization.
    pub fn drop_all(&mut self) {
        self.keyspace.clear(0);
        self.invalidate_all();
    }

    /// Return the keys of a slot, including expired ones.
    pub(super) fn keys_in(&self, slot: Slot) -> Vec<Bytes> {
        self.keyspace.keys(0).filter(|key| Slot::of(key) == slot).cloned().collect()
    }
}
