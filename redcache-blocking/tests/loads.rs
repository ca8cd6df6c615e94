//! Loaders on the threads of their callers: one at a time, handed over, abandoned.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use redcache_blocking::{Cache, Config, ErrorKind, Key, Source, connect};
use redcache_sim::listen::EmbeddedServer;

const TTL: Duration = Duration::from_secs(60);
/// The time limit of each step. It is far above the usual duration, and below the 10 s for which an
/// unreleased lock would last.
const SOON: Duration = Duration::from_secs(8);

fn start() -> (EmbeddedServer, Cache) {
    let server = EmbeddedServer::start().unwrap();
    let cache = connect(server.url()).unwrap();
    (server, cache)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let given_up_at = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < given_up_at, "not in time: {what}");
        thread::yield_now();
    }
}

#[test]
fn sixty_four_threads_that_ask_for_one_cold_key_share_one_load() {
    let (_server, cache) = start();
    let loads = AtomicUsize::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        wait_until("all have asked", || cache.stats().calls == 64);
        Ok::<_, String>("Ada")
    };
    let sources: Vec<_> = thread::scope(|scope| {
        let ask = || cache.get_with("user:1", TTL, load).unwrap();
        let callers: Vec<_> = (0..64).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(sources.iter().all(|answer| answer.value.as_deref() == Some(b"Ada")));
    let joined = sources.iter().filter(|answer| answer.source == Source::Joined).count();
    assert_eq!((loads.into_inner(), joined), (1, 63));
}

#[test]
fn a_panic_in_a_loader_goes_through_its_call_and_leaves_the_load_to_the_next_in_line() {
    let (_server, cache) = start();
    let began = Instant::now();
    thread::scope(|scope| {
        let (leads, led) = mpsc::channel();
        let cache = &cache;
        let leader = scope.spawn(move || {
            let panics = || -> Result<&str, String> {
                leads.send(()).unwrap();
                wait_until("somebody has joined", || cache.stats().calls == 2);
                resume_unwind(Box::new("the database driver has a bug"));
            };
            cache.get_with("user:1", TTL, panics)
        });
        led.recv().unwrap();
        let answer = cache.get_with("user:1", TTL, || Ok::<_, String>("Ada")).unwrap();
        assert_eq!(answer.source, Source::Loaded);
        let panic = leader.join().unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the database driver has a bug"));
    });
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(cache.stats().calls, 0);
}

#[test]
fn a_panic_in_a_batch_loader_gives_every_lock_back() {
    let (server, cache) = start();
    let panics = |_| -> Result<Vec<(Key, &str)>, String> { resume_unwind(Box::new(())) };
    let call = || cache.get_many_with(["a", "b"], TTL, panics);
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    // Another process would wait for a lock that was left behind.
    let other = connect(server.url()).unwrap();
    let began = Instant::now();
    let answers = other.get_many_with(["a", "b"], TTL, |keys| {
        Ok::<_, String>(keys.into_iter().map(|key| (key, "v")).collect::<Vec<_>>())
    });
    assert!(answers.unwrap().iter().all(|answer| answer.as_ref().unwrap().value.is_some()));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_failed_load_is_everybodys_error_and_keeps_its_type() {
    let (_server, cache) = start();
    #[derive(Debug, PartialEq)]
    struct NoTable;
    impl std::fmt::Display for NoTable {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no such table")
        }
    }
    impl std::error::Error for NoTable {}
    let fails = || {
        wait_until("both have asked", || cache.stats().calls == 2);
        Err::<&str, _>(NoTable)
    };
    thread::scope(|scope| {
        let ask = || cache.get_with("user:1", TTL, fails).unwrap_err();
        for caller in [scope.spawn(ask), scope.spawn(ask)] {
            assert_eq!(**caller.join().unwrap().loader_error().unwrap(), NoTable);
        }
    });
    assert_eq!(cache.stats().loads, 1);
}

#[test]
fn closing_during_a_load_waits_for_no_loader_and_releases_its_lock() {
    let (server, cache) = start();
    let (leads, led) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let caller = cache.clone();
    let caller = thread::spawn(move || {
        let slow = || {
            leads.send(()).unwrap();
            released.recv().map(|()| "Ada")
        };
        caller.get_with("user:1", TTL, slow)
    });
    led.recv().unwrap();
    let began = Instant::now();
    cache.close();
    cache.close();
    let other = connect(server.url()).unwrap();
    let answer = other.get_with("user:1", TTL, || Ok::<_, String>("Grace")).unwrap();
    assert_eq!(answer.source, Source::Loaded);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    release.send(()).unwrap();
    let closed = caller.join().unwrap().unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
    assert_eq!(other.get("user:1").unwrap().value.unwrap(), "Grace");
}

#[test]
fn a_caller_of_a_loader_beyond_its_time_loads_before_that_loader_ends() {
    let server = EmbeddedServer::start().unwrap();
    let config = Config::builder().server("127.0.0.1", server.address().port());
    let cache = connect(config.load_timeout(Duration::from_millis(50))).unwrap();
    let (leads, led) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let waiting = &cache;
    thread::scope(|scope| {
        let leader = scope.spawn(move || {
            let slow = || {
                leads.send(()).unwrap();
                released.recv().map(|()| "Ada")
            };
            waiting.get_with("user:1", TTL, slow).unwrap_err()
        });
        led.recv().unwrap();
        let next = cache.get_with("user:1", TTL, || Ok::<_, String>("Grace")).unwrap();
        assert_eq!((next.source, next.value.unwrap()), (Source::Loaded, "Grace".into()));
        release.send(()).unwrap();
        assert_eq!(leader.join().unwrap().kind(), ErrorKind::LoadTimeout);
    });
}
