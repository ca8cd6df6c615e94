//! Reads and writes while a group fails over, and their results.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use redcache_core::Error;
use redcache_tests::{Raw, RedisSentinel};

use crate::conformance::cache::Cache;
use crate::conformance::scene::{TTL, wait_until};

const READERS: usize = 100;
const WRITERS: usize = 10;
const KEYS: usize = 20;
/// The pause of a caller between two calls, so that the near cache does not use up the processor.
const PACE: Duration = Duration::from_millis(5);
/// The number of calls of each caller after the failover that must succeed.
const CALLS_AFTER: u64 = 20;

/// With this variable, the time after the switch is limited too. That time depends on the machine.
const STRICT_VARIABLE: &str = "REDCACHE_STRICT";
const STALE_MAX: Duration = Duration::from_secs(1);
const OUTAGE_MAX: Duration = Duration::from_secs(2);

/// Callers that read and write until they receive the signal to stop.
pub(super) struct Load<C> {
    cache: C,
    is_over: AtomicBool,
    /// Set once every key has its new value.
    is_changed: AtomicBool,
    readers: Vec<Reader>,
    writers: Vec<Writer>,
    errors: Mutex<Vec<(Instant, Error)>>,
}

/// The answers of one caller.
#[derive(Default)]
struct Reader {
    calls: AtomicU64,
    /// The number of answers with the new value.
    new: AtomicU64,
    /// The start of the last call that was answered with the old value after the change.
    stale: Mutex<Option<Instant>>,
    first_new: Mutex<Option<Instant>>,
    /// Whether the old value was returned after the new one.
    is_set_back: AtomicBool,
}

/// The writes of one caller.
#[derive(Default)]
struct Writer {
    /// The numbers of the latest attempt and of the latest acknowledged write.
    attempted: AtomicUsize,
    acknowledged: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

fn key(number: usize) -> String {
    format!("k{}", number % KEYS)
}

fn written_key(writer: usize) -> String {
    format!("w{writer}")
}

impl<C: Cache> Load<C> {
    /// Write the old value of every key, and read it into the near cache.
    pub(super) fn new(cache: C) -> Self {
        for number in 0..KEYS {
            cache.insert(key(number), "old", TTL).unwrap();
            cache.get(key(number)).unwrap();
        }
        Self {
            cache,
            is_over: AtomicBool::new(false),
            is_changed: AtomicBool::new(false),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            writers: (0..WRITERS).map(|_| Writer::default()).collect(),
            errors: Mutex::default(),
        }
    }

    /// Run all callers while `act` runs, then end them.
    pub(super) fn run(&self, act: impl FnOnce()) {
        /// Ends the callers, also if the test panics.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        thread::scope(|scope| {
            let _stop = Stop(&self.is_over);
            for number in 0..READERS {
                scope.spawn(move || self.read(number));
            }
            for number in 0..WRITERS {
                scope.spawn(move || self.write(number));
            }
            wait_until("every caller is under way", || {
                let has_read = |it: &Reader| it.calls.load(Ordering::SeqCst) > 0;
                let has_written = |it: &Writer| it.acknowledged.load(Ordering::SeqCst) > 0;
                self.readers.iter().all(has_read) && self.writers.iter().all(has_written)
            });
            act();
        });
    }

    fn read(&self, number: usize) {
        let reader = &self.readers[number];
        while !self.is_over.load(Ordering::SeqCst) {
            let is_changed = self.is_changed.load(Ordering::SeqCst);
            let begun = Instant::now();
            match self.cache.get(key(number)) {
                Err(error) => self.errors.lock().unwrap().push((begun, error)),
                Ok(answer) if answer.value.as_deref() == Some(b"new") => {
                    reader.first_new.lock().unwrap().get_or_insert_with(Instant::now);
                    reader.new.fetch_add(1, Ordering::SeqCst);
                }
                Ok(answer) => {
                    // The old value itself may be lost in the failover.
                    assert!(answer.value.is_none_or(|value| value == "old"));
                    if reader.new.load(Ordering::SeqCst) > 0 {
                        reader.is_set_back.store(true, Ordering::SeqCst);
                    } else if is_changed {
                        *reader.stale.lock().unwrap() = Some(begun);
                    }
                }
            }
            reader.calls.fetch_add(1, Ordering::SeqCst);
            thread::sleep(PACE);
        }
    }

    fn write(&self, number: usize) {
        let writer = &self.writers[number];
        while !self.is_over.load(Ordering::SeqCst) {
            let attempt = writer.attempted.fetch_add(1, Ordering::SeqCst) + 1;
            let begun = Instant::now();
            match self.cache.insert(written_key(number), attempt.to_string(), TTL) {
                Err(error) => self.errors.lock().unwrap().push((begun, error)),
                Ok(()) => {
                    writer.acknowledged.store(attempt, Ordering::SeqCst);
                    *writer.last.lock().unwrap() = Some(Instant::now());
                }
            }
            thread::sleep(PACE);
        }
    }

    /// Change every key at the new primary, wait until every caller uses it, and check their
    /// answers. The sentinels named the primary at `switched_at`.
    pub(super) fn check_failover(&self, group: &Group<'_>, switched_at: Instant) {
        let mut primary = group.connect();
        (0..KEYS).for_each(|number| primary.ok(&["SET", &key(number), "new"]));
        self.is_changed.store(true, Ordering::SeqCst);
        let calls = |reader: &Reader| reader.new.load(Ordering::SeqCst);
        let is_changed = || self.readers.iter().all(|reader| calls(reader) > 0);
        group.wait_until("every reader sees the change", is_changed);
        let resumed_at: Vec<_> =
            self.writers.iter().filter_map(|writer| self.wait_for_write(group, writer)).collect();
        let first_new = self.readers.iter().filter_map(|it| *it.first_new.lock().unwrap());
        let outage =
            first_new.chain(resumed_at).max().map_or(Duration::ZERO, |at| at - switched_at);
        let stale = self.readers.iter().filter_map(|it| *it.stale.lock().unwrap()).max();
        let stale = stale.map_or(Duration::ZERO, |at| at.saturating_duration_since(switched_at));
        let settled_at = Instant::now();
        let before: Vec<u64> = self.readers.iter().map(calls).collect();
        group.wait_until("every reader goes on", || {
            let mut pairs = self.readers.iter().zip(&before);
            pairs.all(|(reader, before)| calls(reader) > before + CALLS_AFTER)
        });
        self.check_writes(group);
        let errors = self.errors.lock().unwrap();
        eprintln!(
            "calls went on after {outage:?}, old copies for {stale:?}, {} errors",
            errors.len()
        );
        for (begun, error) in &*errors {
            assert!(error.is_retryable(), "{error}");
            group.holds(*begun < settled_at, || format!("an error lasts: {error}"));
        }
        for reader in &self.readers {
            group.holds(!reader.is_set_back.load(Ordering::SeqCst), || {
                "an old copy came back".to_owned()
            });
        }
        if env::var_os(STRICT_VARIABLE).is_some() {
            assert!(stale <= STALE_MAX, "old copies were served for {stale:?}");
            assert!(outage <= OUTAGE_MAX, "calls went on after {outage:?}");
        }
    }

    /// Wait for a write that begins by now or later. Return the instant at which it has ended.
    fn wait_for_write(&self, group: &Group<'_>, writer: &Writer) -> Option<Instant> {
        let attempt = writer.attempted.load(Ordering::SeqCst);
        let is_written = || writer.acknowledged.load(Ordering::SeqCst) > attempt;
        group.wait_until("a write succeeds", is_written);
        *writer.last.lock().unwrap()
    }

    /// Check that acknowledged writes are at the primary.
    pub(super) fn check_writes(&self, group: &Group<'_>) {
        let mut primary = group.connect();
        for (number, writer) in self.writers.iter().enumerate() {
            self.wait_for_write(group, writer);
            let acknowledged = writer.acknowledged.load(Ordering::SeqCst);
            let raw = primary.get(&written_key(number)).unwrap_or_default();
            let text = String::from_utf8(raw).unwrap();
            let stored = text.rsplit(':').next().and_then(|number| number.parse::<usize>().ok());
            group.holds(stored.is_some_and(|stored| stored >= acknowledged), || {
                format!("write {acknowledged} went elsewhere: {stored:?}")
            });
        }
    }
}

/// A group after a failover. A starved machine may fail over once more and lose writes; nothing is
/// checked then.
pub(super) struct Group<'a> {
    group: &'a RedisSentinel,
    primary: usize,
}

impl<'a> Group<'a> {
    pub(super) fn new(group: &'a RedisSentinel) -> Self {
        Self { group, primary: group.primary() }
    }

    fn connect(&self) -> Raw {
        self.group.server(self.primary).connect()
    }

    fn is_settled(&self) -> bool {
        self.group.primary() == self.primary
    }

    fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        /// The interval at which the sentinels are queried meanwhile.
        const INTERVAL: Duration = Duration::from_millis(200);
        let mut asked_at = Instant::now();
        wait_until(what, || {
            if asked_at.elapsed() > INTERVAL {
                asked_at = Instant::now();
                return is_so() || !self.is_settled();
            }
            is_so()
        });
    }

    #[track_caller]
    fn holds(&self, condition: bool, text: impl FnOnce() -> String) {
        assert!(condition || !self.is_settled(), "{}", text());
    }
}
