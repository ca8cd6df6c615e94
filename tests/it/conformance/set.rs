//! `insert_with` and `insert_many_with`: the value that is stored or restored, and the waits.

use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::Duration;

use redcache_core::{ErrorKind, Key, Loaded};
use redcache_tests::{Direction, Proxy, Raw};

use super::cache::Cache;
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, cache_error, connected, found, gate, load_error, must_not_load,
    seen, timed, wait_until, wait_until_blocked, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_write_is_stored_in_the_place_of_what_was_there,
    a_write_of_not_found_is_stored_as_such,
    a_write_that_is_not_to_be_stored_leaves_the_old_value,
    a_failed_write_restores_the_old_value_and_its_ttl,
    a_failed_write_leaves_a_persistent_value_persistent,
    a_failed_write_of_an_absent_key_leaves_it_absent,
    a_write_whose_loader_panics_restores_the_old_value,
    an_invalid_value_is_an_error_and_the_old_one_is_restored,
    a_write_beyond_its_time_is_an_error_and_the_old_value_is_restored,
    a_closed_cache_restores_the_old_value,
    a_key_that_was_removed_or_overwritten_meanwhile_is_not_written,
    a_key_of_another_type_fails_by_its_name_and_alone,
    a_write_waits_for_a_reader_that_loads,
    a_write_waits_for_a_reader_of_its_own_process,
    a_write_waits_for_the_write_of_another_process,
    a_write_fails_when_a_lock_outlives_its_timeouts,
    writes_of_one_key_take_turns_without_asking_redis_in_between,
    a_reader_waits_for_a_write_and_sees_its_value,
    a_slow_write_renews_its_lock,
    a_batch_writes_every_key_once,
    a_batch_that_is_blocked_holds_nothing_meanwhile,
    overlapping_batches_all_complete,
    a_failed_batch_restores_every_value,
    a_write_costs_two_round_trips,
    a_write_lock_whose_grant_was_lost_is_found_again,
    a_publish_whose_reply_was_lost_is_not_reported_as_lost,
];

const LOCK: &str = "__redcache:lock:";
const THEIRS: &str = "__redcache:lock:somebody:1";
/// Bytes that are no text and have no envelope.
const BYTES: &[u8] = b"\0\r\n\xff__redcache:v1:";

#[track_caller]
fn wait_until_locked(raw: &mut Raw, key: &str) {
    let is_lock = |value: Option<Vec<u8>>| value.is_some_and(|it| it.starts_with(LOCK.as_bytes()));
    wait_until("the key is locked", || is_lock(raw.get(key)));
}

fn boom() -> Result<Loaded, Boom> {
    Err(Boom("no such table"))
}

fn a_write_is_stored_in_the_place_of_what_was_there<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    for old in [None, Some(BYTES)] {
        let mut raw = server.connect();
        raw.call(&["DEL", "k"]);
        if let Some(old) = old {
            raw.ok(&[&b"SET"[..], b"k", old]);
            other.get("k").unwrap();
        }
        assert!(cache.insert_with("k", TTL, || found("new")).unwrap());
        let ttl = raw.integer(&["PTTL", "k"]);
        assert!((30_000..=60_000).contains(&ttl), "{ttl}");
        let stored = raw.get("k").unwrap();
        assert!(stored.starts_with(b"__redcache:v1:") && stored.ends_with(b":new"));
        assert_eq!(seen(cache.get("k")), "new from near");
        wait_until("the other process hears of it", || {
            other.get("k").unwrap().value.as_deref() == Some(b"new")
        });
    }
    wait_until_idle(&cache);
}

fn a_write_of_not_found_is_stored_as_such<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    server.connect().ok(&["SET", "k", "old"]);
    assert!(cache.insert_with("k", TTL, || Ok::<_, Boom>(Loaded::not_found())).unwrap());
    assert_eq!(seen(other.get_with("k", TTL, must_not_load)), "nothing from redis");
}

fn a_write_that_is_not_to_be_stored_leaves_the_old_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "old"]);
    let stored = cache.insert_with("k", TTL, || Ok::<_, Boom>(Loaded::value("v").do_not_store()));
    assert!(!stored.unwrap());
    wait_until("the old value is back", || raw.get("k").is_some_and(|value| value == b"old"));
    assert_eq!(seen(cache.get("k")), "old from redis");
}

fn a_failed_write_restores_the_old_value_and_its_ttl<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&[&b"SET"[..], b"k", BYTES, b"PX", b"40000"]);
    let error = load_error(cache.insert_with("k", TTL, || {
        wait_until_locked(&mut server.connect(), "k");
        boom()
    }));
    assert_eq!(*error, Boom("no such table"));
    wait_until("the old value is back", || raw.get("k").is_some_and(|value| value == BYTES));
    let ttl = raw.integer(&["PTTL", "k"]);
    assert!((20_000..=40_000).contains(&ttl), "{ttl}");
    wait_until_idle(&cache);
    assert_eq!(cache.get("k").unwrap().value.as_deref(), Some(BYTES));
}

fn a_failed_write_leaves_a_persistent_value_persistent<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&[&b"SET"[..], b"k", BYTES]);
    load_error(cache.insert_with("k", TTL, boom));
    wait_until("the old value is back", || raw.get("k").is_some_and(|value| value == BYTES));
    assert_eq!(raw.integer(&["PTTL", "k"]), -1);
}

fn a_failed_write_of_an_absent_key_leaves_it_absent<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    load_error(cache.insert_with("k", TTL, boom));
    wait_until("the lock is back", || server.connect().get("k").is_none());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_write_whose_loader_panics_restores_the_old_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.set_each(&[b"k".as_slice(), BYTES, b"l", b"old"]);
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        cache.insert_with("k", TTL, || -> Result<_, Boom> { panic!("a bug in a loader") })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"a bug in a loader"));
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let loader = |_| -> Result<_, Boom> { panic!("a bug in a loader") };
        cache.insert_many_with(&["l", "m"], TTL, loader)
    }));
    panicked.unwrap_err();
    wait_until("the old values are back", || {
        let values = [raw.get("k"), raw.get("l"), raw.get("m")];
        values == [Some(BYTES.to_vec()), Some(b"old".to_vec()), None]
    });
    wait_until_idle(&cache);
}

fn an_invalid_value_is_an_error_and_the_old_one_is_restored<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&value_max=10");
    let mut raw = server.connect();
    let hasty = Loaded::value("v").with_ttl(Duration::ZERO);
    for unstorable in [Loaded::value("longer than ten"), hasty] {
        raw.ok(&["SET", "k", "old"]);
        let error = cache_error(cache.insert_with("k", TTL, || Ok::<_, Boom>(unstorable)));
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some(&"k".into())));
        wait_until("the old value is back", || raw.get("k").is_some_and(|value| value == b"old"));
    }
    let error = cache_error(cache.insert_with("k", Duration::ZERO, must_not_load));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn a_write_beyond_its_time_is_an_error_and_the_old_value_is_restored<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&load_timeout=200ms");
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "old"]);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let write = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        wait_until("the old value is back", || raw.get("k").is_some_and(|value| value == b"old"));
        gate.open();
        let error = cache_error(write.join().unwrap());
        assert_eq!((error.kind(), error.key()), (ErrorKind::LoadTimeout, Some(&"k".into())));
    });
    assert_eq!(raw.get("k").unwrap(), b"old");
}

fn a_closed_cache_restores_the_old_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.ok(&[&b"SET"[..], b"k", BYTES]);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let write = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        let next = scope.spawn(|| cache.insert_with("k", TTL, must_not_load));
        wait_until("it has lined up", || cache.stats().calls == 2);
        cache.close();
        assert_eq!(raw.get("k").unwrap(), BYTES);
        assert_eq!(cache_error(next.join().unwrap()).kind(), ErrorKind::Closed);
        gate.open();
        assert_eq!(cache_error(write.join().unwrap()).kind(), ErrorKind::Closed);
    });
    assert_eq!(raw.get("k").unwrap(), BYTES);
}

fn a_key_that_was_removed_or_overwritten_meanwhile_is_not_written<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    let interventions: [&[&str]; 3] = [&["DEL", "k"], &["SET", "k", "new"], &["SET", "k", THEIRS]];
    for (number, intervention) in interventions.into_iter().enumerate() {
        raw.ok(&["SET", "k", "old"]);
        let write = cache.insert_with("k", TTL, || (raw.call(intervention), found("late")).1);
        let error = cache_error(write);
        assert_eq!((error.kind(), error.key()), (ErrorKind::LockLost, Some(&"k".into())));
        let value = intervention.get(2).map(|value| value.as_bytes().to_vec());
        assert_eq!(raw.get("k"), value);
        assert_eq!(cache.stats().locks_lost, number as u64 + 1);
    }
}

fn a_key_of_another_type_fails_by_its_name_and_alone<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    server.connect().integer(&["HSET", "h", "f", "v"]);
    let error = cache_error(cache.insert_with("h", TTL, must_not_load));
    assert_eq!((error.kind(), error.key()), (ErrorKind::Server, Some(&"h".into())));
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    let mut results = cache.insert_many_with(&["a", "h"], TTL, all).unwrap();
    assert_eq!(cache_error(results.pop().unwrap()).key(), Some(&"h".into()));
    assert!(results.pop().unwrap().unwrap());
    assert!(server.connect().get("a").unwrap().ends_with(b":a"));
}

/// Return the name of each key as its value, as a batch loader.
#[expect(clippy::unnecessary_wraps, reason = "it is what a loader gives")]
fn all(keys: Vec<Key>) -> Result<Vec<(Key, Loaded)>, Boom> {
    Ok(keys.into_iter().map(|key| (key.clone(), Loaded::value(key.to_string()))).collect())
}

fn a_write_waits_for_a_reader_that_loads<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    write_waits(&server, &cache, &other, 0);
}

fn a_write_waits_for_a_reader_of_its_own_process<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    write_waits(&server, &cache, &cache, 1);
}

/// Check that a write waits for the load of `reader`, and no longer. Until then the cache of the
/// write has run `loads` loads.
fn write_waits<C: Cache>(server: &Server, writer: &C, reader: &C, loads: u64) {
    let (gate, door) = gate();
    thread::scope(|scope| {
        let read = scope.spawn(|| reader.get_with("k", TTL, move || door.then(found("r"))));
        gate.reached();
        let write = scope.spawn(|| writer.insert_with("k", TTL, || found("w")));
        wait_until_blocked(writer);
        assert_eq!(writer.stats().loads, loads);
        gate.open();
        let (stored, elapsed) = timed(|| write.join().unwrap());
        assert!(stored.unwrap());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        assert_eq!(seen(read.join().unwrap()), "r from loaded");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":w"));
    wait_until_idle(writer);
}

fn a_write_waits_for_the_write_of_another_process<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    server.connect().ok(&["SET", "k", "old"]);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let first = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(boom())));
        gate.reached();
        let second = scope.spawn(|| other.insert_with("k", TTL, || found("second")));
        wait_until_blocked(&other);
        assert_eq!(other.stats().loads, 0);
        gate.open();
        let (stored, elapsed) = timed(|| second.join().unwrap());
        assert!(stored.unwrap());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        load_error(first.join().unwrap());
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":second"));
}

fn a_write_fails_when_a_lock_outlives_its_timeouts<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?lock_ttl=200ms&load_timeout=300ms");
    let mut raw = server.connect();
    raw.set_each(&["k", THEIRS, "l", "old"]);
    let (write, elapsed) = timed(|| cache.insert_with("k", TTL, must_not_load));
    let error = cache_error(write);
    assert_eq!((error.kind(), error.key()), (ErrorKind::LockTimeout, Some(&"k".into())));
    assert!(elapsed > Duration::from_millis(490) && elapsed < AT_ONCE, "{elapsed:?}");
    let loader = |_| panic!("the loader ran");
    for result in cache.insert_many_with::<_, Boom>(&["l", "k"], TTL, loader).unwrap() {
        assert_eq!(cache_error(result).kind(), ErrorKind::LockTimeout);
    }
    assert_eq!(raw.get("k").unwrap(), THEIRS.as_bytes());
    wait_until("the other key is as it was", || raw.get("l").is_some_and(|it| it == b"old"));
    wait_until_idle(&cache);
}

fn writes_of_one_key_take_turns_without_asking_redis_in_between<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    let order = std::sync::Mutex::new(Vec::new());
    let (gate, door) = gate();
    wait_until_idle(&cache);
    proxy.clear();
    thread::scope(|scope| {
        let first = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("0"))));
        gate.reached();
        for number in 1..5 {
            let (cache, order) = (&cache, &order);
            scope.spawn(move || {
                let write = cache.insert_with("k", TTL, || {
                    order.lock().unwrap().push(number);
                    found(number.to_string())
                });
                assert!(write.unwrap());
            });
            wait_until("it has lined up", || cache.stats().calls == number + 1);
        }
        assert_eq!(proxy.commands().len(), 1);
        gate.open();
        assert!(first.join().unwrap().unwrap());
    });
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    let publish = if server.is_valkey() { 4 } else { 1 };
    assert_eq!(proxy.commands().len(), 5 * (1 + publish));
    assert!(server.connect().get("k").unwrap().ends_with(b":4"));
}

fn a_reader_waits_for_a_write_and_sees_its_value<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    server.connect().ok(&["SET", "k", "old"]);
    assert_eq!(seen(cache.get("k")), "old from redis");
    let (gate, door) = gate();
    thread::scope(|scope| {
        let write = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("new"))));
        gate.reached();
        let readers = [&cache, &other].map(|cache| {
            let reader = scope.spawn(|| timed(|| cache.get_with("k", TTL, must_not_load)));
            wait_until_blocked(cache);
            reader
        });
        gate.open();
        assert!(write.join().unwrap().unwrap());
        for reader in readers {
            let (answer, elapsed) = reader.join().unwrap();
            assert_eq!(answer.unwrap().value.as_deref(), Some(&b"new"[..]));
            assert!(elapsed < AT_ONCE, "{elapsed:?}");
        }
    });
}

fn a_slow_write_renews_its_lock<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?lock_ttl=500ms");
    let is_lock = |words: &[Vec<u8>]| words[0].starts_with(b"EVAL") || words[0] == b"SET";
    let locks = || proxy.commands().iter().filter(|words| is_lock(words)).count();
    let write = cache.insert_with("k", TTL, || {
        // Locking takes one command at most; each further one renews the lock.
        wait_until("a renewal", || locks() >= 2);
        found("v")
    });
    // On a stalled machine, the lock may have expired before its renewal.
    assert!(write.is_ok() || cache.stats().locks_lost == 1, "{write:?}");
}

fn a_batch_writes_every_key_once<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.set_each(&["b", "old", "c", "kept"]);
    let mut asked = Vec::new();
    let results = cache.insert_many_with(&["b", "a", "c", "b"], TTL, |keys| {
        asked.push(keys);
        let rows = [("a", "1"), ("b", "2"), ("extra", "3")];
        Ok::<_, Boom>(rows.map(|(key, row)| (key.into(), row.into())).to_vec())
    });
    let results: Vec<_> = results.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [true, true, false, true]);
    assert_eq!(asked, [["b", "a", "c"].map(Key::from)]);
    assert!(raw.get("a").unwrap().ends_with(b":1") && raw.get("b").unwrap().ends_with(b":2"));
    wait_until("the key that was left out is as it was", || raw.get("c").unwrap() == b"kept");
    assert_eq!((cache.stats().extra_keys, raw.integer(&["EXISTS", "extra"])), (1, 0));
    assert_eq!(cache.insert_many_with::<&str, Boom>(&[], TTL, all).unwrap().len(), 0);
}

fn a_batch_that_is_blocked_holds_nothing_meanwhile<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.set_each(&["a", "old", "m", THEIRS, "z", "old"]);
    thread::scope(|scope| {
        let write = scope.spawn(|| cache.insert_many_with(&["z", "m", "a", "n"], TTL, all));
        wait_until_blocked(&cache);
        let values = ["a", "z"].map(|key| raw.get(key).unwrap());
        assert_eq!((values, raw.get("n")), ([b"old".to_vec(), b"old".to_vec()], None));
        raw.integer(&["DEL", "m"]);
        let (results, elapsed) = timed(|| write.join().unwrap().unwrap());
        assert!(results.into_iter().all(|result| result.unwrap()));
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(raw.get("m").unwrap().ends_with(b":m"));
    wait_until_idle(&cache);
}

fn overlapping_batches_all_complete<C: Cache>() {
    let server = Server::start();
    let caches: [C; 3] = [(); 3].map(|()| connected(server.url() + LONG_LOCK));
    let batches = [["a", "b", "c"], ["c", "b", "a"], ["b", "d", "a"], ["d", "c", "e"]];
    thread::scope(|scope| {
        for (cache, batch) in caches.iter().zip(batches).chain(caches.iter().zip(batches).rev()) {
            scope.spawn(move || {
                for _ in 0..10 {
                    let (results, elapsed) = timed(|| cache.insert_many_with(&batch, TTL, all));
                    assert!(results.unwrap().into_iter().all(|result| result.unwrap()));
                    assert!(elapsed < 4 * AT_ONCE, "{elapsed:?}");
                }
            });
        }
    });
    for key in ["a", "b", "c", "d"] {
        assert!(server.connect().get(key).unwrap().ends_with(format!(":{key}").as_bytes()));
    }
    caches.iter().for_each(wait_until_idle);
}

fn a_failed_batch_restores_every_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    raw.set_each(&["a", "1", "b", "2"]);
    let failing = |_| Err(Boom("no such table"));
    for result in cache.insert_many_with(&["a", "b", "c"], TTL, failing).unwrap() {
        assert_eq!(*load_error(result), Boom("no such table"));
    }
    wait_until("the old values are back", || {
        ["a", "b", "c"].map(|key| raw.get(key)) == [Some(b"1".to_vec()), Some(b"2".to_vec()), None]
    });
}

fn a_write_costs_two_round_trips<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    proxy.clear();
    assert!(cache.insert_with("k", TTL, || found("v")).unwrap());
    // A transaction is `MULTI`, a `SET` of each key, `EXISTS` and `EXEC`.
    let is_valkey = server.is_valkey();
    let publish = if is_valkey { 4 } else { 1 };
    assert_eq!((proxy.commands().len(), proxy.round_trips()), (1 + publish, 2));
    let keys: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let results = cache.insert_many_with(&keys, TTL, all).unwrap();
    assert!(results.into_iter().all(|result| result.unwrap()));
    // Publishes of 32 keys share a script or a transaction.
    let publishes = if is_valkey { 100 + 4 * 3 } else { 4 };
    let commands = 1 + publish + 100 + publishes;
    assert_eq!((proxy.commands().len(), proxy.round_trips()), (commands, 4));
}

fn a_write_lock_whose_grant_was_lost_is_found_again<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    wait_until_idle(&cache);
    proxy.hold(Direction::ToClient);
    thread::scope(|scope| {
        let write = scope.spawn(|| timed(|| cache.insert_with("k", TTL, || found("v"))));
        wait_until_locked(&mut server.connect(), "k");
        proxy.cut();
        proxy.release(Direction::ToClient);
        let (stored, elapsed) = write.join().unwrap();
        assert!(stored.unwrap());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
}

fn a_publish_whose_reply_was_lost_is_not_reported_as_lost<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    thread::scope(|scope| {
        let write = scope.spawn(|| {
            cache.insert_with("k", TTL, || (proxy.hold(Direction::ToClient), found("v")).1)
        });
        let is_published = |value: Vec<u8>| value.ends_with(b":v");
        wait_until("it is published", || server.connect().get("k").is_some_and(is_published));
        proxy.cut();
        proxy.release(Direction::ToClient);
        // The value was stored, which looks like a lock that another client has taken.
        assert_eq!(cache_error(write.join().unwrap()).kind(), ErrorKind::OutcomeUnknown);
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
}
