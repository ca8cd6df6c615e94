//! The sixteen databases: keys, values and when they expire. Only storage; who must hear of a change is not its affair.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// How many databases a server has.
pub(super) const DATABASES: usize = 16;

/// What an empty server is taken to need, and what a key costs beside its bytes.
const EMPTY_BYTES: u64 = 1024 * 1024;
const BYTES_PER_KEY: u64 = 64;

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    String(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: Value,
    /// In milliseconds on the server's clock.
    pub(super) expires_at: Option<i64>,
}

/// Where a key lives: the number of its database, and its name.
pub(super) type Place = (usize, Bytes);

/// All keys of a server.
#[derive(Debug, Default)]
pub(super) struct Keyspace {
    databases: [BTreeMap<Bytes, Entry>; DATABASES],
    /// Every key that expires, the first to expire first.
    expiring: BTreeSet<(i64, Place)>,
    bytes: u64,
}

impl Keyspace {
    pub(super) fn get(&self, database: usize, key: &[u8]) -> Option<&Entry> {
        self.databases[database].get(key)
    }

    pub(super) fn insert(&mut self, database: usize, key: &Bytes, entry: Entry) {
        self.remove(database, key);
        self.bytes += size(key, &entry.value);
        if let Some(at) = entry.expires_at {
            self.expiring.insert((at, (database, key.clone())));
        }
        self.databases[database].insert(key.clone(), entry);
    }

    pub(super) fn remove(&mut self, database: usize, key: &Bytes) -> Option<Entry> {
        let entry = self.databases[database].remove(key)?;
        self.bytes -= size(key, &entry.value);
        if let Some(at) = entry.expires_at {
            self.expiring.remove(&(at, (database, key.clone())));
        }
        Some(entry)
    }

    pub(super) fn set_expiry(&mut self, database: usize, key: &Bytes, expires_at: Option<i64>) {
        if let Some(mut entry) = self.remove(database, key) {
            entry.expires_at = expires_at;
            self.insert(database, key, entry);
        }
    }

    /// Says whether the key's time is over. A key still exists in the very millisecond that it expires at.
    pub(super) fn is_expired(&self, database: usize, key: &[u8], now_ms: i64) -> bool {
        let expires_at = self.get(database, key).and_then(|entry| entry.expires_at);
        expires_at.is_some_and(|at| now_ms > at)
    }

    /// The key that expires first, and when.
    pub(super) fn first_to_expire(&self) -> Option<(i64, &Place)> {
        self.expiring.first().map(|(at, place)| (*at, place))
    }

    pub(super) fn clear(&mut self, database: usize) {
        let gone = std::mem::take(&mut self.databases[database]);
        self.bytes -= gone.iter().map(|(key, entry)| size(key, &entry.value)).sum::<u64>();
        self.expiring.retain(|(_, (other, _))| *other != database);
    }

    pub(super) fn keys(&self, database: usize) -> impl Iterator<Item = &Bytes> {
        self.databases[database].keys()
    }

    pub(super) fn len(&self, database: usize) -> usize {
        self.databases[database].len()
    }

    /// The memory that the server would report; a rough figure that grows with what is stored.
    pub(super) fn used_bytes(&self) -> u64 {
        EMPTY_BYTES + self.bytes
    }

    /// The `nth` key of the whole server, counted around in a circle; only of keys that expire if `expiring`.
    pub(super) fn nth(&self, nth: u64, expiring: bool) -> Option<Place> {
        let all = if expiring {
            self.expiring.len()
        } else {
            self.databases.iter().map(BTreeMap::len).sum()
        };
        let nth = usize::try_from(nth % u64::try_from(all).ok().filter(|&all| all > 0)?).ok()?;
        if expiring {
            return self.expiring.iter().nth(nth).map(|(_, place)| place.clone());
        }
        let mut places = (0..).zip(&self.databases).flat_map(|(database, keys): (usize, _)| {
            keys.keys().map(move |key| (database, key.clone()))
        });
        places.nth(nth)
    }
}

fn size(key: &Bytes, value: &Value) -> u64 {
    let bytes = match value {
        Value::String(bytes) => bytes.len(),
        Value::Hash(fields) => fields.iter().map(|(name, bytes)| name.len() + bytes.len()).sum(),
    };
    BYTES_PER_KEY + u64::try_from(key.len() + bytes).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &'static str, expires_at: Option<i64>) -> Entry {
        Entry { value: Value::String(value.into()), expires_at }
    }

    #[test]
    fn what_is_counted_returns_to_nothing_when_all_keys_are_gone() {
        let mut keys = Keyspace::default();
        let empty = keys.used_bytes();
        keys.insert(0, &"a".into(), text("1", Some(5)));
        keys.insert(0, &"a".into(), text("22", Some(7)));
        keys.insert(3, &"b".into(), text("3", Some(6)));
        assert_eq!(keys.first_to_expire(), Some((6, &(3, "b".into()))));
        keys.set_expiry(3, &"b".into(), None);
        assert_eq!(keys.first_to_expire(), Some((7, &(0, "a".into()))));
        assert_eq!(keys.nth(3, false), Some((3, "b".into())));
        keys.clear(3);
        keys.remove(0, &"a".into());
        assert_eq!((keys.first_to_expire(), keys.nth(0, false)), (None, None));
        assert_eq!(keys.used_bytes(), empty);
    }

    #[test]
    fn a_key_lives_through_the_millisecond_that_it_expires_at() {
        let mut keys = Keyspace::default();
        keys.insert(0, &"a".into(), text("1", Some(5)));
        assert!(!keys.is_expired(0, b"a", 5));
        assert!(keys.is_expired(0, b"a", 6));
    }
}
