//! What scenarios are made of: callers, gates for their loaders, and bounded waits for what must happen.

use std::fmt::Debug;
use std::panic;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use redcache_core::{
    Answer, BatchResult, Error, ErrorKind, Key, LoadError, Loaded, Notice, SharedError,
};

pub(crate) use super::boom::Boom;
use super::cache::Cache;

/// How long a value lives where that does not matter.
pub(crate) const TTL: Duration = Duration::from_secs(60);

/// The lock of a scenario in which waiting for its end must not go unnoticed.
pub(crate) const LONG_LOCK: &str = "?lock_ttl=60s";

/// The limit for what happens without waiting: a third of the minute that the waiting would take,
/// and more than a starved machine needs.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(20);

/// The limit for an event that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A scenario that has not ended by then never will, even if it had to wait for others that have the same cluster.
const SCENARIO_MAX: Duration = Duration::from_secs(240);

/// Runs a scenario on a thread of its own, so that one that hangs fails by its name.
pub(crate) fn run(name: &str, scenario: impl FnOnce() + Send + 'static) {
    let (sender, ended) = mpsc::channel::<()>();
    let body = thread::spawn(move || {
        let _ended_when_dropped = sender;
        scenario();
    });
    if ended.recv_timeout(SCENARIO_MAX) == Err(RecvTimeoutError::Timeout) {
        panic!("{name} hangs: it did not end within {SCENARIO_MAX:?}");
    }
    if let Err(cause) = body.join() {
        panic::resume_unwind(cause);
    }
}

/// Opens a cache that is connected. That the machine is busy with other tests is no reason for commands to fail, unless
/// the scenario is about their time.
#[track_caller]
pub(crate) fn connected<C: Cache>(url: impl AsRef<str>) -> C {
    let mut url = url.as_ref().to_owned();
    if !url.contains("command_timeout=") {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("command_timeout=10s");
    }
    C::connect(&url).unwrap()
}

/// What a loader gives that finds a value.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn found(value: impl AsRef<[u8]>) -> Result<Loaded, Boom> {
    Ok(Loaded::value(value.as_ref().to_vec()))
}

/// What a batch loader gives that finds the same value under every key.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn all_found(keys: Vec<Key>, value: &'static str) -> Result<Vec<(Key, Loaded)>, Boom> {
    Ok(keys.into_iter().map(|key| (key, value.into())).collect())
}

/// What a batch loader gives that finds its own name under every key.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn names_found(keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> {
    Ok(keys.into_iter().map(|key| (key.clone(), key.to_string().into())).collect())
}

/// A loader that must not run.
pub(crate) fn must_not_load() -> Result<Loaded, Boom> {
    panic!("the loader ran");
}

/// An answer in words, `v from near`, to be compared.
#[track_caller]
pub(crate) fn seen<E: Debug>(answer: Result<Answer, E>) -> String {
    let answer = answer.unwrap();
    let value = answer
        .value
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |v| v.escape_ascii().to_string());
    format!("{value} from {}", answer.source.as_str())
}

/// The answers of a batch in words.
#[track_caller]
pub(crate) fn all_seen<E: Debug>(answers: BatchResult<Answer, E>) -> Vec<String> {
    answers.unwrap().into_iter().map(seen).collect()
}

/// The error of a call that the cache must have failed.
#[track_caller]
pub(crate) fn cache_error<T: Debug, E: Into<Error>>(result: Result<T, E>) -> Error {
    let error = result.map_err(Into::into).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::LoadFailed, "{error}");
    error
}

/// The error of a call whose loader must have failed.
#[track_caller]
pub(crate) fn load_error<T: Debug, E>(result: Result<T, LoadError<E>>) -> SharedError<E> {
    match result {
        Err(LoadError::Loader(error)) => error,
        other => panic!("not an error of the loader: {other:?}"),
    }
}

/// Looks again and again until `is_so`. The pause between two looks only saves the machine's breath.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up_at = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < given_up_at, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until nothing of any call is left in the cache.
#[track_caller]
pub(crate) fn wait_until_idle<C: Cache>(cache: &C) {
    wait_until("nothing is under way any more", || {
        let stats = cache.stats();
        [stats.calls, stats.flights, stats.commands, stats.timers] == [0; 4]
    });
}

/// Wait until a call waits for the lock of another client, with no command on its way.
#[track_caller]
pub(crate) fn wait_until_blocked<C: Cache>(cache: &C) {
    wait_until("a call waits for a lock", || {
        let stats = cache.stats();
        stats.lock_waits > 0 && stats.commands == 0
    });
}

/// Return the result of `act` and the time it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = act();
    (result, start.elapsed())
}

/// Makes a door for a loader and the gate that holds it.
pub(crate) fn gate() -> (Gate, Door) {
    let (arrives, arrived) = mpsc::channel();
    let (opens, opened) = mpsc::channel();
    (Gate { arrived, _opens: opens }, Door { arrives, opened })
}

/// Holds whoever passes its [`Door`]; dropping it lets them through.
#[derive(Debug)]
pub(crate) struct Gate {
    arrived: Receiver<()>,
    _opens: Sender<()>,
}

impl Gate {
    /// Waits until somebody stands at the door.
    #[track_caller]
    pub(crate) fn reached(&self) {
        self.arrived.recv_timeout(PATIENCE).expect("nobody came to the door");
    }

    /// Return whether somebody has come to the door since the last call.
    pub(crate) fn is_reached(&self) -> bool {
        self.arrived.try_recv().is_ok()
    }

    pub(crate) fn open(self) {}
}

#[derive(Debug)]
pub(crate) struct Door {
    arrives: Sender<()>,
    opened: Receiver<()>,
}

impl Door {
    /// Stands at the door until it is opened.
    pub(crate) fn pass(&self) {
        // Nobody may be waiting for us any more.
        let _ = self.arrives.send(());
        let end = self.opened.recv_timeout(2 * PATIENCE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the gate was never opened");
    }

    /// Stand at the door until it is opened, then return `outcome`.
    pub(crate) fn then<T>(&self, outcome: T) -> T {
        self.pass();
        outcome
    }
}

/// Every notice of a cache so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    pub(crate) fn of<C: Cache>(cache: &C) -> Self {
        let notices = Self::default();
        let list = notices.clone();
        cache.on_notice(move |notice| list.0.lock().unwrap().push(notice.clone()));
        notices
    }

    /// Waits until so many notices are `wanted`; an adapter may tell of them a little later.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, wanted: impl Fn(&Notice) -> bool) {
        wait_until("the notice", || self.count(&wanted) == count);
    }

    /// How many notices are `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(&Notice) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|notice| wanted(notice)).count()
    }

    /// All of them as an operator would read them.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|notice| format!("{notice}\n{notice:?}\n")).collect()
    }
}
