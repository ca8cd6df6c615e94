//! `change`: a change of the data elsewhere, behind locks instead of the old values.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use redcache_core::{ErrorKind, Source};
use redcache_tests::RedisServer;

use super::cache::Cache;
use super::scene::{
    Boom, LONG_LOCK, TTL, cache_error, connected, found, gate, load_error, must_not_load, seen,
    wait_until,
};
use super::server::Server;

on_every_adapter![
    a_change_returns_the_result_of_its_commit_and_removes_its_keys,
    nobody_reads_a_key_while_its_change_commits,
    a_commit_that_fails_removes_its_keys,
    a_commit_that_panics_leaves_locks_that_expire,
    a_change_without_keys_is_an_error,
    changes_of_one_key_take_turns,
];

with_a_server_of_its_own![
    a_commit_does_not_run_if_one_of_its_keys_cannot_be_locked,
    a_commit_without_redis_afterwards_has_its_result,
];

fn a_change_returns_the_result_of_its_commit_and_removes_its_keys<C: Cache>() {
    let server = Server::start();
    let cache: C = connected(server.url());
    cache.insert("a", "old", TTL).unwrap();
    cache.insert("b", "old", TTL).unwrap();
    assert_eq!(cache.change(&["a", "b", "missing", "a"], || Ok::<_, Boom>(7)).unwrap(), 7);
    for key in ["a", "b", "missing"] {
        assert_eq!(cache.get(key).unwrap().value, None, "{key}");
    }
    assert_eq!(seen(cache.get_with("a", TTL, || found("new"))), "new from loaded");
}

fn nobody_reads_a_key_while_its_change_commits<C: Cache>() {
    let server = Server::start();
    let url = format!("{}{LONG_LOCK}", server.url());
    let (cache, other): (C, C) = (connected(&url), connected(&url));
    cache.insert("k", "old", TTL).unwrap();
    assert_eq!(other.get("k").unwrap().value.as_deref(), Some(&b"old"[..]));
    let (gate, door) = gate();
    thread::scope(|scope| {
        let (cache, other) = (&cache, &other);
        let commit = move || {
            door.pass();
            Ok::<_, Boom>(())
        };
        let change = scope.spawn(move || cache.change(&["k"], commit));
        gate.reached();
        wait_until("the old value is gone", || other.get("k").unwrap().value.is_none());
        let read = scope.spawn(move || other.get_with("k", TTL, || found("new")));
        wait_until("the reader waits for the lock", || other.stats().lock_waits > 0);
        assert_eq!((other.stats().loads, cache.get("k").unwrap().value), (0, None));
        gate.open();
        change.join().unwrap().unwrap();
        assert_eq!(read.join().unwrap().unwrap().source, Source::Loaded);
    });
    assert_eq!(cache.stats().loads, 0, "a commit is no load");
}

fn a_commit_that_fails_removes_its_keys<C: Cache>() {
    let server = Server::start();
    let cache: C = connected(format!("{}{LONG_LOCK}", server.url()));
    cache.insert("k", "old", TTL).unwrap();
    let failed = cache.change(&["k"], || Err::<(), _>(Boom("the row is locked")));
    assert_eq!(*load_error(failed), Boom("the row is locked"));
    // The commit may have changed the row nevertheless.
    assert_eq!(seen(cache.get_with("k", TTL, || found("new"))), "new from loaded");
}

fn a_commit_that_panics_leaves_locks_that_expire<C: Cache>() {
    let server = Server::start();
    let cache: C = connected(format!("{}?lock_ttl=300ms", server.url()));
    cache.insert("k", "old", TTL).unwrap();
    let change = AssertUnwindSafe(|| cache.change(&["k"], || -> Result<(), Boom> { panic!() }));
    assert!(catch_unwind(change).is_err());
    assert_eq!(seen(cache.get_with("k", TTL, || found("new"))), "new from loaded");
}

fn a_change_without_keys_is_an_error<C: Cache>() {
    let server = Server::start();
    let cache: C = connected(server.url());
    let error = cache_error(cache.change(&[], || -> Result<(), Boom> { panic!("it ran") }));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn changes_of_one_key_take_turns<C: Cache>() {
    let server = Server::start();
    let cache: C = connected(server.url());
    let rows = std::sync::Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let commit = || {
                    let mut row = rows.try_lock().expect("no other commit runs");
                    *row += 1;
                    Ok::<_, Boom>(())
                };
                cache.change(&["k"], commit).unwrap();
            });
        }
    });
    assert_eq!(*rows.lock().unwrap(), 4);
}

fn a_commit_does_not_run_if_one_of_its_keys_cannot_be_locked<C: Cache>() {
    let server = RedisServer::start();
    let cache: C = connected(server.url());
    cache.insert("k", "old", TTL).unwrap();
    server.connect().integer(&["LPUSH", "list", "a"]);
    let error = cache_error(cache.change(&["k", "list"], || must_not_load().map(drop)));
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(error.to_string().contains("list"), "{error}");
    wait_until("the old value is back", || {
        cache.get("k").unwrap().value.as_deref() == Some(b"old")
    });
}

fn a_commit_without_redis_afterwards_has_its_result<C: Cache>() {
    let mut server = RedisServer::start();
    let cache: C = connected(format!("{}?reconnect_delay_max=20ms", server.url()));
    cache.insert("k", "old", TTL).unwrap();
    let changed = cache.change(&["k"], || {
        server.stop();
        Ok::<_, Boom>("committed")
    });
    assert_eq!(changed.unwrap(), "committed");
    server.restart();
    wait_until("the removal is repeated", || cache.stats().removals_repeated == 1);
    let without = cache.change(&["k"], || Ok::<_, Boom>(()));
    assert!(without.is_ok(), "{without:?}");
    server.stop();
    wait_until("the loss is known", || !cache.is_tracked());
    let error = cache_error(cache.change(&["k"], || must_not_load().map(drop)));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
