//! The tracking table: the readers of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::client::ClientId;

/// The largest number of keys that a choice walks past, so that a full table does not stall the
/// server.
const WALK_MAX: usize = 4096;

/// The readers of each key. As in Redis, the same name counts as one key in all databases.
#[derive(Debug, Default)]
pub(super) struct TrackingTable {
    pub(super) readers: BTreeMap<Bytes, BTreeSet<ClientId>>,
    pub(super) rounds_over_limit: u64,
    /// The last key that was chosen from a large table.
    chosen: Bytes,
}

impl TrackingTable {
    pub(super) fn has(&self, key: &[u8], client: ClientId) -> bool {
        self.readers.get(key).is_some_and(|readers| readers.contains(&client))
    }

    pub(super) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Choose a key by the random number `nth`: its place, modulo the number of keys. In a large
    /// table, the place counts from the key that was chosen before.
    pub(super) fn choose(&mut self, nth: u64) -> Option<Bytes> {
        let len = u64::try_from(self.readers.len().min(WALK_MAX)).ok().filter(|&len| len > 0)?;
        let nth = usize::try_from(nth % len).ok()?;
        if self.readers.len() <= WALK_MAX {
            return self.readers.keys().nth(nth).cloned();
        }
        let after = (Bound::Excluded(&self.chosen), Bound::Unbounded);
        let rest = self.readers.range::<Bytes, _>(after).map(|(key, _)| key);
        let chosen = rest.chain(self.readers.keys()).nth(nth)?.clone();
        self.chosen = chosen.clone();
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choices_from_a_large_table_are_spread_over_all_keys() {
        let mut table = TrackingTable::default();
        let len = 10 * WALK_MAX;
        let keys = (0..len).map(|number| Bytes::from(format!("{number:08}")));
        table.readers.extend(keys.map(|key| (key, BTreeSet::new())));
        let mut tenths = [0; 10];
        for number in 0..100_u64 {
            let key = table.choose(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
            let place: usize = std::str::from_utf8(&key).unwrap().parse().unwrap();
            tenths[place / WALK_MAX] += 1;
        }
        assert!(tenths.iter().all(|chosen| *chosen > 0), "{tenths:?}");
    }
}
