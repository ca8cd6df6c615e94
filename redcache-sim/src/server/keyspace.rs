//! The sixteen databases: keys, values and expiry times.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// The number of databases.
pub(super) const DATABASES: usize = 16;

/// The memory of an empty server, and the overhead of a key.
const EMPTY_BYTES: u64 = 1024 * 1024;
const BYTES_PER_KEY: u64 = 64;

/// The value of a key.
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

/// The database and the name of a key.
pub(super) type Place = (usize, Bytes);

/// All keys of a server.
#[derive(Debug, Default)]
pub(super) struct Keyspace {
    databases: [BTreeMap<Bytes, Entry>; DATABASES],
    /// Keys with a TTL in the order of their expiry.
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

    /// Return whether the key has expired. A key still exists in the millisecond of its expiry.
    pub(super) fn is_expired(&self, database: usize, key: &[u8], now_ms: i64) -> bool {
        let expires_at = self.get(database, key).and_then(|entry| entry.expires_at);
        expires_at.is_some_and(|at| now_ms > at)
    }

    /// Return the key that expires first, and when.
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

    /// Return the memory that the server reports; a rough figure.
    pub(super) fn used_bytes(&self) -> u64 {
        EMPTY_BYTES + self.bytes
    }

    /// Return the `nth` key of the server, modulo their number; only keys with a TTL if `expiring`.
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
    fn counts_return_to_zero_once_all_keys_are_removed() {
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
    fn a_key_exists_in_the_millisecond_of_its_expiry() {
        let mut keys = Keyspace::default();
        keys.insert(0, &"a".into(), text("1", Some(5)));
        assert!(!keys.is_expired(0, b"a", 5));
        assert!(keys.is_expired(0, b"a", 6));
    }
}
