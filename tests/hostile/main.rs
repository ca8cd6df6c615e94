//! A server that answers any command wrongly delays no call beyond its limit, and causes no panic,
//! no connection storm and no leak of threads or memory.
//!
//! The test counts threads and memory of the whole process, so it is a separate program.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod replies;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use redcache_driver::{Config, Key, Loaded};

use self::replies::{REPLIES, Reply};
use self::server::HostileServer;

const SETTINGS: &str = "command_timeout=150ms&connect_timeout=150ms&load_timeout=200ms&\
    lock_ttl=150ms&reconnect_delay_max=400ms&heartbeat_interval=200ms&value_max=1MiB";

const TTL: Duration = Duration::from_secs(60);

/// The time of a case.
const CASE_TIME: Duration = Duration::from_millis(500);

/// The number of first dials, which are not limited.
const DIALS_FIRST: usize = 10;
/// The shortest mean time between two later dials.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// No call takes longer, on a machine that runs many cases at a time.
const CALL_MAX: Duration = Duration::from_secs(10);

/// Cases that run at a time.
const CASES: usize = 16;

/// The memory of [`CASES`] caches, servers and buffers.
const KIB_MAX: u64 = 400 * 1024;

/// Threads of [`CASES`] caches with a server and a model each, and of their callers.
const THREADS_MAX: u64 = 900;

/// Threads that a runtime may keep.
const THREADS_SPARE: u64 = 8;

/// The time in which all threads end, on a machine that has others to run.
const THREADS_END: Duration = Duration::from_secs(60);

static TOKIO: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
});

/// The calls of one cache, by name.
type Calls = Vec<(&'static str, Box<dyn Fn() + Send>)>;

/// A cache of one face: its calls, and how to close it.
struct Subject {
    calls: Calls,
    close: Box<dyn FnOnce() + Send>,
}

#[derive(Debug, Clone, Copy)]
enum Face {
    Tokio,
    Blocking,
}

#[expect(clippy::unnecessary_wraps, reason = "it is a loader")]
fn loaded() -> Result<Loaded, String> {
    Ok(Loaded::value("v"))
}

#[expect(clippy::unnecessary_wraps, reason = "it is a loader")]
fn all_loaded(keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, String> {
    Ok(keys.into_iter().map(|key| (key, Loaded::value("v"))).collect())
}

impl Face {
    fn open(self, server: &HostileServer) -> Subject {
        let url = format!("redis://{}?{SETTINGS}", server.address());
        let config = Config::from_url(&url).unwrap();
        match self {
            Self::Tokio => tokio_subject(config),
            Self::Blocking => blocking_subject(config),
        }
    }
}

fn tokio_subject(config: Config) -> Subject {
    let _entered = TOKIO.enter();
    let cache = redcache_tokio::connect_lazy(config).unwrap();
    macro_rules! call {
        ($name:ident $(, $argument:expr)*) => {{
            let cache = cache.clone();
            // Any result that arrives in time is allowed.
            let call = move || drop(TOKIO.block_on(cache.$name($($argument),*)));
            (stringify!($name), Box::new(call) as Box<dyn Fn() + Send>)
        }};
    }
    let calls = vec![
        call!(get, "a"),
        call!(get_many, ["a", "b", "c"]),
        call!(get_with, "d", TTL, || async { loaded() }),
        call!(get_many_with, ["d", "e", "f"], TTL, |keys| async { all_loaded(keys) }),
        call!(insert_with, "g", TTL, || async { loaded() }),
        call!(insert_many_with, ["g", "h"], TTL, |keys| async { all_loaded(keys) }),
        call!(insert, "i", "v", TTL),
        call!(remove, "a"),
        call!(touch, "a", TTL),
    ];
    Subject { calls, close: Box::new(move || TOKIO.block_on(cache.close())) }
}

fn blocking_subject(config: Config) -> Subject {
    let cache = redcache_blocking::connect_lazy(config).unwrap();
    macro_rules! call {
        ($name:ident $(, $argument:expr)*) => {{
            let cache = cache.clone();
            // Any result that arrives in time is allowed.
            let call = move || drop(cache.$name($($argument),*));
            (stringify!($name), Box::new(call) as Box<dyn Fn() + Send>)
        }};
    }
    let calls = vec![
        call!(get, "a"),
        call!(get_many, ["a", "b", "c"]),
        call!(get_with, "d", TTL, loaded),
        call!(get_many_with, ["d", "e", "f"], TTL, all_loaded),
        call!(insert_with, "g", TTL, loaded),
        call!(insert_many_with, ["g", "h"], TTL, all_loaded),
        call!(insert, "i", "v", TTL),
        call!(remove, "a"),
        call!(touch, "a", TTL),
    ];
    Subject { calls, close: Box::new(move || cache.close()) }
}

/// Make all calls for a while, and return the faults.
fn check(face: Face, wrong: Option<(&str, Reply)>) -> Vec<String> {
    let server = HostileServer::start(wrong.map(|(command, reply)| (command.to_owned(), reply)));
    faults(face, &server)
}

fn faults(face: Face, server: &HostileServer) -> Vec<String> {
    let began = Instant::now();
    let subject = face.open(server);
    let (ends, ended) = mpsc::channel();
    let mut waiting: BTreeSet<_> = subject.calls.iter().map(|(name, _)| *name).collect();
    for (name, call) in subject.calls {
        let ends = ends.clone();
        // A call that never ends is abandoned.
        let run = move || {
            while began.elapsed() < CASE_TIME {
                call();
            }
            // A case that was abandoned does not listen.
            let _ = ends.send(name);
        };
        thread::Builder::new().name(format!("call {name}")).spawn(run).unwrap();
    }
    let given_up_at = began + CASE_TIME + CALL_MAX;
    while !waiting.is_empty() {
        let left = given_up_at.saturating_duration_since(Instant::now());
        let Ok(name) = ended.recv_timeout(left) else { break };
        waiting.remove(name);
    }
    let (closes, closed) = mpsc::channel();
    let close = move || {
        (subject.close)();
        let _ = closes.send(());
    };
    thread::Builder::new().name("close".to_owned()).spawn(close).unwrap();
    let mut faults: Vec<_> = waiting.iter().map(|name| format!("`{name}` hangs")).collect();
    if closed.recv_timeout(CALL_MAX).is_err() {
        faults.push("`close` hangs".to_owned());
    }
    let (dials, elapsed) = (server.dials(), began.elapsed());
    let dials_max = DIALS_FIRST + (elapsed.as_millis() / PAUSE_MIN.as_millis()) as usize;
    if dials > dials_max {
        faults.push(format!("{dials} dials in {elapsed:?}"));
    }
    faults
}

#[test]
fn no_wrong_reply_to_any_command_causes_a_hang_a_panic_a_storm_or_a_leak() {
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let start = threads();
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.lock().unwrap().push(panic.to_string());
        report(panic);
    }));
    let commands = commands();
    let cases = [Face::Tokio, Face::Blocking].into_iter().flat_map(|face| {
        let pairs = commands.iter().flat_map(|command| REPLIES.iter().map(move |it| (command, it)));
        pairs.map(move |(command, (name, reply))| (face, command, *name, *reply))
    });
    let cases: Vec<_> = cases.collect();
    assert!(cases.len() > 1000, "{commands:?}");
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                peak = (peak.0.max(threads()), peak.1.max(memory_kib()));
                thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        let worker = || {
            while let Some((face, command, name, reply)) =
                cases.get(next.fetch_add(1, Ordering::Relaxed))
            {
                for fault in check(*face, Some((command, *reply))) {
                    let fault = format!("{face:?}, {name} to `{command}`: {fault}");
                    faults.lock().unwrap().push(fault);
                }
            }
        };
        let workers: Vec<_> = (0..CASES).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        let (threads, kib) = watch.join().unwrap();
        assert!(threads < THREADS_MAX, "{threads} threads");
        assert!(kib < KIB_MAX, "{kib} KiB");
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert_eq!(PANICS.lock().unwrap().as_slice(), [""; 0]);
    let given_up_at = Instant::now() + THREADS_END;
    while threads() > start + THREADS_SPARE {
        let is_late = Instant::now() > given_up_at;
        assert!(!is_late, "{start} threads have become {}: {:?}", threads(), thread_names());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Return the commands that the calls of both faces send.
fn commands() -> BTreeSet<String> {
    let server = HostileServer::start(None);
    for face in [Face::Tokio, Face::Blocking] {
        assert_eq!(faults(face, &server), [""; 0]);
    }
    server.commands()
}

/// Return a number of `/proc/self/status`.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn threads() -> u64 {
    status("Threads:")
}

/// Return the names of the threads, with their numbers.
fn thread_names() -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread that has just ended has no name.
        if let Ok(name) = fs::read_to_string(task.unwrap().path().join("comm")) {
            *names.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    names
}

fn memory_kib() -> u64 {
    status("VmRSS:")
}
