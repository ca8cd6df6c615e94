//! The source of truth, and the check of the answers of caches.
//!
//! A row has a version, which only grows, and a value that follows from key and version. A write
//! commits a version and then writes to the cache. Once the cache has acknowledged the write, older
//! versions are *superseded*: at once for the cache that wrote, and after a limit for all others.
//!
//! A write without acknowledgement may still reach the server, so its row is not written again
//! until that is impossible.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_driver::{Answer, Source};
use redcache_tests::{HOLD_MAX, Rng};

use crate::limits::{COMMAND_TIMEOUT, LOAD_TIMEOUT};
use crate::tally::Tally;

/// Rows of the database.
pub(crate) const ROWS: usize = 200;

/// Acknowledged writes that a row remembers.
const WRITES_MAX: usize = 64;

/// The time after which a command of a failed call has reached the server or never will.
const UNKNOWN_MAX: Duration =
    HOLD_MAX.saturating_add(COMMAND_TIMEOUT).saturating_add(COMMAND_TIMEOUT);

/// Return every key.
pub(crate) fn keys() -> impl Iterator<Item = String> {
    (0..ROWS).map(key)
}

/// Return the key of a row.
pub(crate) fn key(row: usize) -> String {
    format!("row:{row}")
}

/// Return the row of a key.
pub(crate) fn row(key: &[u8]) -> Option<usize> {
    std::str::from_utf8(key).ok()?.strip_prefix("row:")?.parse().ok()
}

/// Return the value of a version, which names its row and version. Its length varies from short to
/// very long.
pub(crate) fn value(row: usize, version: u64) -> Bytes {
    let mut rng = Rng::new(row as u64).fork(version);
    let length = match rng.below(100) {
        0 => rng.below(300_000),
        1..=4 => rng.below(20_000),
        _ => rng.below(200),
    };
    let mut text = format!("{row}:{version}:").into_bytes();
    while (text.len() as u64) < length {
        text.extend_from_slice(format!("{:016x}", rng.draw()).as_bytes());
    }
    text.into()
}

/// Return the row and version that a value names.
fn named(value: &[u8]) -> Option<(usize, u64)> {
    let mut parts = value.split(|byte| *byte == b':');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse::<u64>().ok();
    Some((number()? as usize, number()?))
}

pub(crate) struct Database {
    rows: Vec<Row>,
    bound: Duration,
    pub(crate) tally: Arc<Tally>,
    /// Whether the bytes of the proxies are still to be written to files.
    wants_dump: AtomicBool,
}

#[derive(Default)]
struct Row {
    version: AtomicU64,
    is_written: AtomicBool,
    history: Mutex<History>,
}

#[derive(Default)]
struct History {
    writes: VecDeque<Acknowledged>,
    quiet_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    version: u64,
    at: Instant,
    cache: usize,
}

impl Database {
    pub(crate) fn new(bound: Duration, tally: Arc<Tally>) -> Self {
        let rows = (0..ROWS).map(|_| Row::default()).collect();
        Self { rows, bound, tally, wants_dump: AtomicBool::new(false) }
    }

    /// Read a row, as a loader does.
    pub(crate) fn load(&self, row: usize) -> Bytes {
        value(row, self.rows[row].version.load(Ordering::SeqCst))
    }

    /// Begin to write a row, unless another write of it has not ended.
    pub(crate) fn write(&self, row: usize, cache: usize) -> Option<Write<'_>> {
        let place = &self.rows[row];
        if place.history().quiet_until.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let is_free = !place.is_written.swap(true, Ordering::SeqCst);
        is_free.then_some(Write { place, row, cache, is_acknowledged: false })
    }

    /// Take the request to write the bytes of the proxies to files, if there is one.
    pub(crate) fn take_dump(&self) -> bool {
        self.wants_dump.swap(false, Ordering::SeqCst)
    }

    /// Check an answer to a call that began at `began`.
    pub(crate) fn judge(&self, call: &Call, row: usize, answer: &Answer) {
        self.tally.count("sources", format!("{} {}", call.adapter, answer.source.as_str()));
        if let Some(value) = &answer.value {
            let origin = Origin { source: answer.source, age: answer.age, ttl: answer.ttl };
            self.judge_value(call, row, value, &origin);
        }
    }

    fn judge_value(&self, call: &Call, row: usize, answered: &[u8], origin: &Origin) {
        let wrong = |why| self.wrong(call, row, answered, origin, why);
        let Some((named_row, version)) = named(answered) else {
            return wrong("no value of the database");
        };
        if named_row != row {
            return wrong("the value of another key");
        }
        if *answered != value(row, version) {
            return wrong("a damaged value");
        }
        if version > self.rows[row].version.load(Ordering::SeqCst) {
            return wrong("a version that was never committed");
        }
        let history = self.rows[row].history();
        let newer = || history.writes.iter().filter(|write| write.version > version);
        if let Some(own) = newer().find(|write| write.cache == call.cache && write.at < call.began)
        {
            let text = format!("{call:?} `{}` {version} {own:?} {origin:?}", key(row));
            self.tally.violation("own write not read", text);
        } else if let Some(first) = newer().next() {
            let age = call.began.saturating_duration_since(first.at);
            self.tally.note_staleness(age);
            // A call that joins a load has a value from the start of that load.
            let is_joined = origin.source == Source::Joined;
            let bound = self.bound + if is_joined { LOAD_TIMEOUT } else { Duration::ZERO };
            if age > self.bound && is_joined {
                self.tally.count("sources", format!("{} joined beyond the bound", call.adapter));
            }
            if age > bound {
                let text = format!("{call:?} `{}` {version} {age:?} {origin:?}", key(row));
                self.tally.violation("stale", text);
                self.wants_dump.store(true, Ordering::SeqCst);
            }
        }
    }

    fn wrong(&self, call: &Call, row: usize, value: &[u8], origin: &Origin, why: &str) {
        let (key, length) = (key(row), value.len());
        let start = value[..length.min(60)].escape_ascii();
        let text = format!("{why}: {call:?} `{key}` {length} bytes `{start}` {origin:?}");
        self.tally.violation("wrong value", text);
        self.wants_dump.store(true, Ordering::SeqCst);
    }
}

/// The source, age and TTL that an answer reports.
#[derive(Debug)]
struct Origin {
    source: Source,
    #[expect(dead_code, reason = "it is part of the text of a violation")]
    age: Option<Duration>,
    #[expect(dead_code, reason = "it is part of the text of a violation")]
    ttl: Option<Duration>,
}

/// The call of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) adapter: &'static str,
    pub(crate) cache: usize,
    pub(crate) began: Instant,
}

impl Row {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write of a row. Dropping it without acknowledgement leaves its outcome unknown.
pub(crate) struct Write<'a> {
    place: &'a Row,
    row: usize,
    cache: usize,
    is_acknowledged: bool,
}

impl Write<'_> {
    /// Commit the next version, and return its value.
    pub(crate) fn commit(&self) -> Bytes {
        let version = self.place.version.fetch_add(1, Ordering::SeqCst) + 1;
        value(self.row, version)
    }

    /// Record that the cache has acknowledged the write.
    pub(crate) fn acknowledge(mut self) {
        self.is_acknowledged = true;
        let version = self.place.version.load(Ordering::SeqCst);
        let write = Acknowledged { version, at: Instant::now(), cache: self.cache };
        let writes = &mut self.place.history().writes;
        writes.push_back(write);
        if writes.len() > WRITES_MAX {
            writes.pop_front();
        }
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if !self.is_acknowledged {
            self.place.history().quiet_until = Some(Instant::now() + UNKNOWN_MAX);
        }
        self.place.is_written.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database::new(Duration::ZERO, Arc::default())
    }

    fn judge(database: &Database, cache: usize, row: usize, value: Bytes) -> u64 {
        let call = Call { name: "get", adapter: "tokio", cache, began: Instant::now() };
        let before = database.tally.violations();
        let origin = Origin { source: Source::Redis, age: None, ttl: None };
        database.judge_value(&call, row, &value, &origin);
        database.tally.violations() - before
    }

    #[test]
    fn wrong_values_are_told_from_right_ones() {
        let database = database();
        assert_eq!(judge(&database, 0, 1, value(1, 0)), 0);
        assert_eq!(judge(&database, 0, 1, value(2, 0)), 1);
        assert_eq!(judge(&database, 0, 1, value(1, 1)), 1, "it was never committed");
        assert_eq!(judge(&database, 0, 1, "1:0:x".into()), 1, "it is damaged");
        assert_eq!(judge(&database, 0, 1, "OK".into()), 1);
    }

    #[test]
    fn a_version_is_stale_once_a_newer_one_is_acknowledged() {
        let database = database();
        let write = database.write(1, 0).unwrap();
        assert_eq!(write.commit(), value(1, 1));
        assert!(database.write(1, 0).is_none());
        assert_eq!(judge(&database, 0, 1, value(1, 0)), 0, "it is not acknowledged");
        write.acknowledge();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(judge(&database, 0, 1, value(1, 0)), 1);
        assert_eq!(judge(&database, 1, 1, value(1, 0)), 1);
        assert_eq!(judge(&database, 1, 1, value(1, 1)), 0);
    }

    #[test]
    fn a_row_rests_after_a_write_without_acknowledgement() {
        let database = database();
        drop(database.write(1, 0).unwrap());
        assert!(database.write(1, 0).is_none());
        assert!(database.write(2, 0).is_some());
    }
}
