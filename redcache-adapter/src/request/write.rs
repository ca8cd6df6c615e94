//! Requests that write.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_core::engine::{CallError, Engine, OpId, Outcome};
use redcache_core::{Error, Key};

use super::Request;
use crate::deferred::owned;

/// `insert`: write one value.
#[derive(Debug)]
pub struct Insert {
    key: Key,
    value: Bytes,
    ttl: Duration,
}

impl Insert {
    /// Create the request.
    pub fn new(key: &[u8], value: impl Into<Bytes>, ttl: Duration) -> Self {
        Self { key: Key::copy_from(key), value: owned(value.into()), ttl }
    }
}

impl Request for Insert {
    type Output = ();
    type Error = Error;
    const NAME: &'static str = "insert";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.insert(now, mem::take(&mut self.key), mem::take(&mut self.value), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<(), Error>> {
        written(outcome).map(|result| result.map(drop))
    }
}

/// `insert_many`: write several values.
#[derive(Debug)]
pub struct InsertMany {
    entries: Vec<(Key, Bytes)>,
    ttl: Duration,
}

impl InsertMany {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>, V: Into<Bytes>>(
        entries: impl IntoIterator<Item = (K, V)>,
        ttl: Duration,
    ) -> Self {
        let entry = |(key, value): (K, V)| (Key::copy_from(key.as_ref()), owned(value.into()));
        Self { entries: entries.into_iter().map(entry).collect(), ttl }
    }
}

impl Request for InsertMany {
    type Output = Vec<Result<(), Error>>;
    type Error = Error;
    const NAME: &'static str = "insert_many";

    fn keys(&self) -> usize {
        self.entries.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.insert_many(now, mem::take(&mut self.entries), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        let results = written_many(outcome)?;
        Some(Ok(results.into_iter().map(|result| result.map(drop)).collect()))
    }
}

/// `remove`: delete one key.
#[derive(Debug)]
pub struct Remove {
    key: Key,
}

impl Remove {
    /// Create the request.
    pub fn new(key: &[u8]) -> Self {
        Self { key: Key::copy_from(key) }
    }
}

impl Request for Remove {
    type Output = bool;
    type Error = Error;
    const NAME: &'static str = "remove";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.remove(now, mem::take(&mut self.key))
    }

    fn convert(outcome: Outcome) -> Option<Result<bool, Error>> {
        written(outcome)
    }
}

/// `remove_many`: delete several keys.
#[derive(Debug)]
pub struct RemoveMany {
    keys: Vec<Key>,
}

impl RemoveMany {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: copy_keys(keys) }
    }
}

impl Request for RemoveMany {
    type Output = Vec<Result<bool, Error>>;
    type Error = Error;
    const NAME: &'static str = "remove_many";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.remove_many(now, mem::take(&mut self.keys))
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        written_many(outcome).map(Ok)
    }
}

/// Keep the removal of several keys, and repeat it once Redis replies.
#[derive(Debug)]
pub struct KeepRemovals {
    keys: Vec<Key>,
}

impl KeepRemovals {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: copy_keys(keys) }
    }
}

impl Request for KeepRemovals {
    type Output = ();
    type Error = Error;
    const NAME: &'static str = "keep_removals";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.keep_removals(now, mem::take(&mut self.keys))
    }

    fn convert(outcome: Outcome) -> Option<Result<(), Error>> {
        written_many(outcome).map(|_| Ok(()))
    }
}

/// `touch`: set the TTL of one key.
#[derive(Debug)]
pub struct Touch {
    key: Key,
    ttl: Duration,
}

impl Touch {
    /// Create the request.
    pub fn new(key: &[u8], ttl: Duration) -> Self {
        Self { key: Key::copy_from(key), ttl }
    }
}

impl Request for Touch {
    type Output = bool;
    type Error = Error;
    const NAME: &'static str = "touch";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.touch(now, mem::take(&mut self.key), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<bool, Error>> {
        written(outcome)
    }
}

/// `touch_many`: set the TTL of several keys.
#[derive(Debug)]
pub struct TouchMany {
    keys: Vec<Key>,
    ttl: Duration,
}

impl TouchMany {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>, ttl: Duration) -> Self {
        Self { keys: copy_keys(keys), ttl }
    }
}

impl Request for TouchMany {
    type Output = Vec<Result<bool, Error>>;
    type Error = Error;
    const NAME: &'static str = "touch_many";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.touch_many(now, mem::take(&mut self.keys), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, Error>> {
        written_many(outcome).map(Ok)
    }
}

/// `insert_with`: lock one key, load its new value, and write it.
#[derive(Debug)]
pub struct InsertWith {
    key: Key,
    ttl: Duration,
}

impl InsertWith {
    /// Create the request.
    pub fn new(key: &[u8], ttl: Duration) -> Self {
        Self { key: Key::copy_from(key), ttl }
    }
}

impl Request for InsertWith {
    type Output = bool;
    type Error = CallError;
    const NAME: &'static str = "insert_with";

    fn keys(&self) -> usize {
        1
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.insert_with(now, mem::take(&mut self.key), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<bool, CallError>> {
        match outcome {
            Outcome::Stored(result) => Some(result),
            _ => None,
        }
    }
}

/// `insert_many_with`: lock several keys, load their new values, and write them.
#[derive(Debug)]
pub struct InsertManyWith {
    keys: Vec<Key>,
    ttl: Duration,
}

impl InsertManyWith {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>, ttl: Duration) -> Self {
        Self { keys: copy_keys(keys), ttl }
    }
}

impl Request for InsertManyWith {
    type Output = Vec<Result<bool, CallError>>;
    type Error = CallError;
    const NAME: &'static str = "insert_many_with";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.insert_many_with(now, mem::take(&mut self.keys), self.ttl)
    }

    fn convert(outcome: Outcome) -> Option<Result<Self::Output, CallError>> {
        match outcome {
            Outcome::StoredMany(results) => Some(Ok(results)),
            _ => None,
        }
    }
}

/// `change`: lock several keys, commit a change elsewhere, and remove the keys.
#[derive(Debug)]
pub struct Change {
    keys: Vec<Key>,
}

impl Change {
    /// Create the request.
    pub fn new<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: copy_keys(keys) }
    }
}

impl Request for Change {
    type Output = ();
    type Error = CallError;
    const NAME: &'static str = "change";

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn start(&mut self, engine: &mut Engine, now: Instant) -> Result<OpId, Error> {
        engine.change(now, mem::take(&mut self.keys))
    }

    fn convert(outcome: Outcome) -> Option<Result<(), CallError>> {
        match outcome {
            Outcome::StoredMany(results) => {
                Some(results.into_iter().try_for_each(|result| result.map(drop)))
            }
            _ => None,
        }
    }
}

fn written(outcome: Outcome) -> Option<Result<bool, Error>> {
    match outcome {
        Outcome::Written(result) => Some(result),
        _ => None,
    }
}

fn written_many(outcome: Outcome) -> Option<Vec<Result<bool, Error>>> {
    match outcome {
        Outcome::WrittenMany(results) => Some(results),
        _ => None,
    }
}

fn copy_keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Vec<Key> {
    keys.into_iter().map(|key| Key::copy_from(key.as_ref())).collect()
}
