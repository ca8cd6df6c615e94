//! Keys that leave one server for another: with a slot that moves, and from a primary to its replicas.

use bytes::Bytes;
use redcache_core::Slot;

use super::instance::Server;
use super::keyspace::Entry;

/// What a key holds, as it travels from one server to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCopy(Entry);

impl Server {
    /// Copies what `key` of database 0 holds, also when its time is over and nobody has noticed.
    pub fn copy_of(&self, key: &[u8]) -> Option<KeyCopy> {
        self.keyspace.get(0, key).cloned().map(KeyCopy)
    }

    /// Has `key` of database 0 hold what it holds elsewhere, and tells its readers if that is a change. The clocks of
    /// both servers must show the same.
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

    /// Deletes every key of a slot that is no longer this node's, and tells their readers.
    pub fn drop_slot(&mut self, slot: Slot) {
        for key in self.keys_in(slot) {
            self.put_copy(&key, None);
        }
    }

    /// Deletes everything and tells every client so, as a replica does before it is given all keys of its primary.
    pub fn drop_all(&mut self) {
        self.keyspace.clear(0);
        self.invalidate_all();
    }

    /// The keys of a slot, those included whose time is over.
    pub(super) fn keys_in(&self, slot: Slot) -> Vec<Bytes> {
        self.keyspace.keys(0).filter(|key| Slot::of(key) == slot).cloned().collect()
    }
}
