//! Building blocks of scenarios: callers, gates for loaders, and limited waits for events.

use std::fmt::Debug;
use std::panic;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use redcache_core::observer::{
    ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, LockExtendedEvent, NotStoredEvent,
    Observer, UntrackedEvent,
};
use redcache_core::{
    Answer, BatchResult, ConfigBuilder, Error, ErrorKind, Key, LoadError, Loaded, SharedError,
};

pub(crate) use super::boom::Boom;
use super::cache::Cache;

/// The TTL of a value where it does not matter.
pub(crate) const TTL: Duration = Duration::from_secs(60);

/// Settings with a lock that outlives [`AT_ONCE`], so that a wait for its end fails a scenario.
pub(crate) const LONG_LOCK: &str = "?lock_ttl=60s";

/// The limit for an event that needs no waiting: a third of the minute that the waiting would take,
/// and more than a starved machine needs.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(20);

/// The limit for an event that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The limit for a scenario, with the time that others use the same cluster.
const SCENARIO_MAX: Duration = Duration::from_secs(240);

/// Run a scenario on its own thread, so that one that hangs fails by its name.
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

/// Connect a cache, with a long `command_timeout` unless the URL has one.
#[track_caller]
pub(crate) fn connected<C: Cache>(url: impl AsRef<str>) -> C {
    let mut url = url.as_ref().to_owned();
    if !url.contains("command_timeout=") {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("command_timeout=10s");
    }
    C::connect(url).unwrap()
}

/// Connect a cache with an observer.
#[track_caller]
pub(crate) fn observed<C: Cache>(url: impl AsRef<str>, observer: impl Observer + 'static) -> C {
    let builder: ConfigBuilder = url.as_ref().parse().unwrap();
    C::connect(builder.command_timeout(Duration::from_secs(10)).observer(observer)).unwrap()
}

/// Return a value, as a loader.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn found(value: impl AsRef<[u8]>) -> Result<Loaded, Boom> {
    Ok(Loaded::value(value.as_ref().to_vec()))
}

/// Return the same value for every key, as a batch loader.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn all_found(keys: Vec<Key>, value: &'static str) -> Result<Vec<(Key, Loaded)>, Boom> {
    Ok(keys.into_iter().map(|key| (key, value.into())).collect())
}

/// Return the name of each key as its value, as a batch loader.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
pub(crate) fn names_found(keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> {
    Ok(keys.into_iter().map(|key| (key.clone(), key.to_string().into())).collect())
}

/// Panic: a loader that must not run.
pub(crate) fn must_not_load() -> Result<Loaded, Boom> {
    panic!("the loader ran");
}

/// Return an answer as text, such as `v from near`.
#[track_caller]
pub(crate) fn seen<E: Debug>(answer: Result<Answer, E>) -> String {
    let answer = answer.unwrap();
    let value = answer
        .value
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), |v| v.escape_ascii().to_string());
    format!("{value} from {}", answer.source.as_str())
}

/// Return the answers of a batch as text.
#[track_caller]
pub(crate) fn all_seen<E: Debug>(answers: BatchResult<Answer, E>) -> Vec<String> {
    answers.unwrap().into_iter().map(seen).collect()
}

/// Return the error of the cache.
#[track_caller]
pub(crate) fn cache_error<T: Debug, E: Into<Error>>(result: Result<T, E>) -> Error {
    let error = result.map_err(Into::into).unwrap_err();
    assert_ne!(error.kind(), ErrorKind::LoadFailed, "{error}");
    error
}

/// Return the error of the loader.
#[track_caller]
pub(crate) fn load_error<T: Debug, E>(result: Result<T, LoadError<E>>) -> SharedError<E> {
    match result {
        Err(LoadError::Loader(error)) => error,
        other => panic!("not an error of the loader: {other:?}"),
    }
}

/// Wait until `is_so`, polled with a pause that only saves processor time.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up_at = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < given_up_at, "not within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Wait until the cache has no call, flight, command or timer left.
#[track_caller]
pub(crate) fn wait_until_idle<C: Cache>(cache: &C) {
    wait_until("nothing is under way any more", || {
        let stats = cache.stats();
        [stats.calls, stats.flights, stats.commands, stats.timers] == [0; 4]
    });
}

/// Wait until a call waits for the lock of another client, with no command in flight.
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

/// Return a door for a loader and the gate that holds it closed.
pub(crate) fn gate() -> (Gate, Door) {
    let (arrives, arrived) = mpsc::channel();
    let (opens, opened) = mpsc::channel();
    (Gate { arrived, _opens: opens }, Door { arrives, opened })
}

/// Holds the loader that passes its [`Door`]; dropping it opens the door.
#[derive(Debug)]
pub(crate) struct Gate {
    arrived: Receiver<()>,
    _opens: Sender<()>,
}

impl Gate {
    /// Wait until a loader is at the door.
    #[track_caller]
    pub(crate) fn reached(&self) {
        self.arrived.recv_timeout(PATIENCE).expect("nobody came to the door");
    }

    /// Return whether a loader has come to the door since the last call.
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
    /// Wait at the door until it is opened.
    pub(crate) fn pass(&self) {
        // The test may no longer wait.
        let _ = self.arrives.send(());
        let end = self.opened.recv_timeout(2 * PATIENCE);
        assert_eq!(end, Err(RecvTimeoutError::Disconnected), "the gate was never opened");
    }

    /// Wait at the door until it is opened, then return `outcome`.
    pub(crate) fn then<T>(&self, outcome: T) -> T {
        self.pass();
        outcome
    }
}

/// The events of a cache that concern its operator.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Notice>>>);

/// The kind of an event and its text.
type Notice = (Kind, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connected,
    Untracked,
    Disconnected,
    ConnectFailed,
    NotStored,
    LockExtended,
}

impl Notices {
    /// Wait until `count` notices are of a kind. The observer may see them after the caller.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize, kind: Kind) {
        wait_until("the event", || self.count(kind) == count);
    }

    /// Return the number of notices of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.0.lock().unwrap().iter().filter(|notice| notice.0 == kind).count()
    }

    /// Return all notices as an operator reads them.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|(kind, text)| format!("{kind:?}: {text}\n")).collect()
    }

    fn push(&self, kind: Kind, text: String) {
        self.0.lock().unwrap().push((kind, text));
    }
}

impl Observer for Notices {
    fn on_connected(&self, event: &ConnectedEvent) {
        self.push(Kind::Connected, format!("{} {event:?}", event.address));
    }

    fn on_untracked(&self, event: &UntrackedEvent) {
        self.push(Kind::Untracked, format!("{} {} {event:?}", event.address, event.reason));
    }

    fn on_disconnected(&self, event: &DisconnectedEvent) {
        self.push(Kind::Disconnected, format!("{} {} {event:?}", event.address, event.reason));
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        self.push(Kind::ConnectFailed, format!("{} {event:?}", event.reason));
    }

    fn on_not_stored(&self, event: &NotStoredEvent) {
        self.push(Kind::NotStored, format!("{} {} {event:?}", event.key, event.reason));
    }

    fn on_lock_extended(&self, event: &LockExtendedEvent) {
        self.push(Kind::LockExtended, format!("{event:?}"));
    }
}
