//! The tracking table: the readers of each key.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::client::ClientId;

/// The readers of each key. As in Redis, the same name counts as one key in all databases.
#[derive(Debug, Default)]
pub(super) struct TrackingTable {
    pub(super) readers: BTreeMap<Bytes, BTreeSet<ClientId>>,
    pub(super) rounds_over_limit: u64,
}

impl TrackingTable {
    pub(super) fn has(&self, key: &[u8], client: ClientId) -> bool {
        self.readers.get(key).is_some_and(|readers| readers.contains(&client))
    }

    pub(super) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Return the key at place `nth`, modulo their number.
    pub(super) fn nth(&self, nth: u64) -> Option<Bytes> {
        let len = u64::try_from(self.readers.len()).ok().filter(|&len| len > 0)?;
        self.readers.keys().nth(usize::try_from(nth % len).ok()?).cloned()
    }
}
