//! Defects of redcache for Go v0.2 that no other scenario would find; `tests/it/defects.rs` lists
//! all.

use std::thread;

use redcache_core::Key;
use redcache_tests::{Proxy, RedisServer};

use super::cache::Cache;
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, all_found, all_seen, cache_error, connected, found, gate, seen,
    timed, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_failed_read_leaves_no_caller_waiting,
    an_empty_value_of_an_unrequested_key_is_not_overwritten,
    a_hundred_callers_of_one_process_read_and_lock_once,
    a_key_that_becomes_free_is_loaded_while_another_is_still_waited_for,
    a_read_without_a_loader_does_not_wait_for_a_write,
    a_lock_that_redis_does_not_expire_by_itself_is_waited_for_no_longer_than_it_lives,
    hits_leave_nothing_behind,
    a_loader_that_asks_for_its_own_key_ends_in_an_error,
    a_key_that_a_batch_names_twice_is_locked_once,
];

with_a_server_of_its_own![without_redis_one_caller_loads_for_all,];

/// Return the names of the commands that passed, in order.
fn names(proxy: &Proxy) -> Vec<String> {
    let commands = proxy.commands();
    commands.iter().map(|words| words[0].escape_ascii().to_string()).collect()
}

fn a_failed_read_leaves_no_caller_waiting<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    assert_eq!(raw.integer(&["HSET", "hash", "field", "value"]), 1);
    let failing = |_| Err(Boom("no such table"));
    let answers = cache.get_many_with(&["hash", "k"], TTL, failing).unwrap();
    assert!(answers.into_iter().all(|answer| answer.is_err()));
    cache_error(cache.get_with("hash", TTL, || found("v")));
    assert_eq!(raw.integer(&["DEL", "hash"]), 1);
    let (answers, elapsed) =
        timed(|| ["hash", "k"].map(|key| seen(cache.get_with(key, TTL, || found("v")))));
    assert_eq!(answers, ["v from loaded"; 2]);
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

fn an_empty_value_of_an_unrequested_key_is_not_overwritten<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    raw.ok(&["SET", "empty", ""]);
    let cache = connected::<C>(server.url());
    let load = |_: Vec<Key>| {
        let rows = [("a", "1"), ("empty", "2"), ("absent", "3")];
        Ok::<_, Boom>(rows.map(|(key, row)| (key.into(), row.into())).to_vec())
    };
    let answers = cache.get_many_with(&["a"], TTL, load);
    assert_eq!(all_seen(answers), ["1 from loaded"]);
    assert!(cache.insert_many_with(&["a"], TTL, load).unwrap().remove(0).unwrap());
    assert_eq!((raw.get("empty").unwrap(), raw.get("absent")), (Vec::new(), None));
    let stats = cache.stats();
    assert_eq!((stats.extra_keys, stats.locks_lost), (4, 0));
}

fn without_redis_one_caller_loads_for_all<C: Cache>() {
    const CALLERS: u64 = 20;
    let mut server = RedisServer::start();
    let options = "?on_redis_down=load_direct&command_timeout=300ms&breaker_failures=1";
    let cache = connected::<C>(server.url() + options);
    server.stop();
    let load = || {
        wait_until("all have called", || cache.stats().calls == CALLERS);
        found("v")
    };
    let (answers, elapsed) = timed(|| {
        thread::scope(|scope| {
            let call = |_| scope.spawn(|| seen(cache.get_with("k", TTL, load)));
            let calls: Vec<_> = (0..CALLERS).map(call).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        })
    });
    assert!(answers.iter().all(|answer| answer.starts_with("v from")), "{answers:?}");
    assert_eq!(cache.stats().loads, 1, "{answers:?}");
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

fn a_hundred_callers_of_one_process_read_and_lock_once<C: Cache>() {
    const CALLERS: u64 = 100;
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    wait_until_idle(&cache);
    proxy.clear();
    let load = || {
        wait_until("all have called", || cache.stats().calls == CALLERS);
        found("v")
    };
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| assert!(seen(cache.get_with("k", TTL, load)).starts_with("v from")));
        }
    });
    let publish: &[_] =
        if server.is_valkey() { &["MULTI", "SET", "EXISTS", "EXEC"] } else { &["EVAL"] };
    assert_eq!(names(&proxy), [&["GET", "PTTL", "SET"], publish].concat());
}

fn a_key_that_becomes_free_is_loaded_while_another_is_still_waited_for<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    for key in ["early", "late"] {
        raw.ok(&["SET", key, "__redcache:lock:somebody:1", "PX", "60000"]);
    }
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut asked = Vec::new();
    let answers = thread::scope(|scope| {
        let call = scope.spawn(|| {
            let load = |keys: Vec<Key>| {
                asked.push(keys.clone());
                // The other key is freed while this one is loaded, not before.
                server.connect().call(&["DEL", "late"]);
                all_found(keys, "v")
            };
            all_seen(cache.get_many_with(&["late", "early"], TTL, load))
        });
        wait_until("it waits for both", || {
            let stats = cache.stats();
            stats.lock_waits == 2 && stats.commands == 0
        });
        assert_eq!(raw.integer(&["DEL", "early"]), 1);
        call.join().unwrap()
    });
    assert_eq!(answers, ["v from loaded"; 2]);
    assert_eq!(asked, [["early"].map(Key::from), ["late"].map(Key::from)]);
}

fn a_read_without_a_loader_does_not_wait_for_a_write<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    server.connect().ok(&["SET", "k", "old"]);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let write = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("new"))));
        gate.reached();
        // A key that is being written counts as absent; only a call with a loader waits.
        for reader in [&cache, &other] {
            assert_eq!(seen(reader.get("k")), "nothing from redis");
        }
        gate.open();
        assert!(write.join().unwrap().unwrap());
    });
    wait_until("the new value", || seen(other.get("k")).starts_with("new"));
}

fn a_lock_that_redis_does_not_expire_by_itself_is_waited_for_no_longer_than_it_lives<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    // No client receives a push when the lock expires.
    raw.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let cache = connected::<C>(server.url() + LONG_LOCK);
    raw.ok(&["SET", "k", "__redcache:lock:somebody:1", "PX", "300"]);
    let (answer, elapsed) = timed(|| seen(cache.get_with("k", TTL, || found("v"))));
    assert_eq!(answer, "v from loaded");
    assert!(elapsed < AT_ONCE / 2, "{elapsed:?}");
    assert_eq!(cache.stats().lock_waits, 1);
}

fn hits_leave_nothing_behind<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let keys: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    let entries = keys.iter().map(|key| (key, "v".into())).collect();
    assert!(cache.insert_many(entries, TTL).unwrap().iter().all(Result::is_ok));
    wait_until_idle(&cache);
    for source in ["redis", "near"] {
        for key in &keys {
            let answer = seen(cache.get_with(key, TTL, || Err(Boom("the loader ran"))));
            assert_eq!(answer, format!("v from {source}"));
            let stats = cache.stats();
            assert_eq!([stats.calls, stats.flights, stats.timers], [0; 3]);
        }
    }
}

fn a_loader_that_asks_for_its_own_key_ends_in_an_error<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK + "&load_timeout=300ms");
    let (answer, elapsed) = timed(|| {
        cache.get_with("k", TTL, || {
            // The call runs on its own thread; nested calls share nothing else.
            let inner = || cache.get_with("k", TTL, || found("inner"));
            match thread::scope(|scope| scope.spawn(inner).join().unwrap()) {
                Ok(_) => found("outer"),
                Err(_) => Err(Boom("the key is being loaded")),
            }
        })
    });
    assert!(answer.is_err(), "{answer:?}");
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    // The nested call loads once the outer call has timed out.
    let is_unlocked = |stored: Option<Vec<u8>>| stored.is_none_or(|it| it.ends_with(b"inner"));
    wait_until("the lock is given back", || is_unlocked(server.connect().get("k")));
    let later = seen(cache.get_with("k", TTL, || found("v")));
    assert!(later.starts_with("inner from ") || later == "v from loaded", "{later}");
}

fn a_key_that_a_batch_names_twice_is_locked_once<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK);
    wait_until_idle(&cache);
    proxy.clear();
    let mut asked = Vec::new();
    let answers = cache.get_many_with(&["k", "k", "k"], TTL, |keys| {
        asked.push(keys.clone());
        all_found(keys, "v")
    });
    assert!(all_seen(answers).iter().all(|answer| answer.starts_with("v from")));
    assert_eq!(asked, [["k"].map(Key::from)]);
    // Without a script, the publication is a `SET` as well.
    let expected = if server.is_valkey() { 2 } else { 1 };
    assert_eq!(names(&proxy).iter().filter(|name| *name == "SET").count(), expected);
    assert!(server.connect().get("k").unwrap().ends_with(b":v"), "no lock is left");
}
