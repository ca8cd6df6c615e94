//! Client tracking: reads are recorded, changes are pushed.
//!
//! A key's readers are notified once and then removed; a client must read the key again to be
//! notified again. With `NOLOOP` a client is removed without a push if the change happens during
//! one of its own commands. That includes keys that expire, are evicted or are dropped from a full
//! table during the command.

use bytes::Bytes;

use super::client::ClientId;
use super::instance::{Running, Server};
use super::tracking_table::TrackingTable;

/// The largest number of keys dropped from a full table in one round, multiplied by the number of
/// consecutive rounds that were not enough.
const FORGET_MAX: u64 = 100;

impl Server {
    /// Record that `client` read `keys`, if its options say so.
    pub(super) fn remember_read(&mut self, client: ClientId, keys: &[Bytes]) {
        let tracking = self.clients.get(&client).and_then(|it| it.tracking);
        if tracking.is_none_or(|it| it.optin && !it.caching || it.optout && it.caching) {
            return;
        }
        for key in keys {
            self.tracking.readers.entry(key.clone()).or_default().insert(client);
        }
    }

    /// Push an invalidation to the readers of `key` and remove them.
    pub(super) fn invalidate(&mut self, key: &Bytes) {
        for reader in self.tracking.readers.remove(key).unwrap_or_default() {
            // A disconnected client, or one that stopped tracking, stays in the table until its
            // keys change.
            let Some(tracking) = self.clients.get(&reader).and_then(|it| it.tracking) else {
                continue;
            };
            match self.running {
                Some(running) if running.client == reader && tracking.noloop => {}
                Some(Running { client, executing: true }) if client == reader => {
                    self.pending.push(Some(key.clone()));
                }
                Some(_) | None => self.push(reader, Some(key)),
            }
        }
    }

    /// Push an invalidation of everything to each tracking client, regardless of `NOLOOP`.
    pub(super) fn invalidate_all(&mut self) {
        self.tracking.readers.clear();
        let tracking = self.clients.iter().filter(|(_, client)| client.tracking.is_some());
        for reader in tracking.map(|(id, _)| *id).collect::<Vec<_>>() {
            let is_own = self.running.is_some_and(|running| running.client == reader);
            if is_own && !self.config.pushes_own_flush_first() {
                self.pending.push(None);
            } else {
                self.push(reader, None);
            }
        }
    }

    /// Send the invalidations of the running command to its own client, after the reply.
    pub(super) fn push_pending(&mut self, client: ClientId) {
        for key in std::mem::take(&mut self.pending) {
            self.push(client, key.as_ref());
        }
    }

    fn push(&mut self, reader: ClientId, key: Option<&Bytes>) {
        if let Some(client) = self.clients.get_mut(&reader) {
            client.push_invalidation(key.map(AsRef::as_ref));
            self.wants_sending(reader);
        }
    }

    pub(super) fn tracking_is_over_limit(&self) -> bool {
        let limit = self.config.tracking_keys_max;
        limit > 0 && self.tracking.len() > limit
    }

    /// Drop random keys until the table is within its limit or the round is used up.
    pub(super) fn limit_tracking(&mut self) {
        for _ in 0..FORGET_MAX * (self.tracking.rounds_over_limit + 1) {
            if !self.tracking_is_over_limit() {
                self.tracking.rounds_over_limit = 0;
                return;
            }
            let nth = self.rng.next();
            if let Some(key) = self.tracking.choose(nth) {
                self.invalidate(&key);
            }
        }
        self.tracking.rounds_over_limit += 1;
    }

    pub(super) fn forget_all_reads(&mut self) {
        self.tracking = TrackingTable::default();
    }
}
