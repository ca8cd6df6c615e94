//! Which client has read which key, and who is told when a key changes.
//!
//! A key's readers are told once and then forgotten: whoever wants to hear of the next change must read again.
//! A client that asked for `NOLOOP` is forgotten without a word when the change happens while the server works on
//! a command of its own. That covers more than its own writes: keys that expire, are evicted or fall out of a full
//! table in the course of its command are not reported to it either.

use bytes::Bytes;

use super::client::ClientId;
use super::instance::{Running, Server};
use super::tracking_table::TrackingTable;

/// How many keys a full table gives up in one go, times one more for each time in a row that this was too few.
const FORGET_MAX: u64 = 100;

impl Server {
    /// Remembers that `client` read `keys`, if it wants this read tracked.
    pub(super) fn remember_read(&mut self, client: ClientId, keys: &[Bytes]) {
        let tracking = self.clients.get(&client).and_then(|it| it.tracking);
        if tracking.is_none_or(|it| it.optin && !it.caching) {
            return;
        }
        for key in keys {
            self.tracking.readers.entry(key.clone()).or_default().insert(client);
        }
    }

    /// Tells the readers of `key` that it changed, and forgets them.
    pub(super) fn invalidate(&mut self, key: &Bytes) {
        for reader in self.tracking.readers.remove(key).unwrap_or_default() {
            // A client that went away, or stopped tracking, stays in the table until its keys change.
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

    /// Tells every client that tracks anything that all keys changed; `NOLOOP` makes no difference here.
    pub(super) fn invalidate_all(&mut self) {
        self.tracking.readers.clear();
        let tracking = self.clients.iter().filter(|(_, client)| client.tracking.is_some());
        for reader in tracking.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.running.is_some_and(|running| running.client == reader) {
                self.pending.push(None);
            } else {
                self.push(reader, None);
            }
        }
    }

    /// Sends what the running command did to keys of its own client; it comes after the command's reply.
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

    /// Gives up keys by chance until the table is within its limit, or the effort of this round is spent.
    pub(super) fn limit_tracking(&mut self) {
        for _ in 0..FORGET_MAX * (self.tracking.rounds_over_limit + 1) {
            if !self.tracking_is_over_limit() {
                self.tracking.rounds_over_limit = 0;
                return;
            }
            let nth = self.rng.next();
            if let Some(key) = self.tracking.nth(nth) {
                self.invalidate(&key);
            }
        }
        self.tracking.rounds_over_limit += 1;
    }

    pub(super) fn forget_all_reads(&mut self) {
        self.tracking = TrackingTable::default();
    }
}
