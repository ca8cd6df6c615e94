//! One Redis shared with processes that run redcache for Go v0.2: each waits for the other's loads,
//! sees the other's changes and leaves the other's locks alone. The vectors come from Go's own
//! tests.

mod client;

use std::thread;
use std::time::{Duration, Instant};

use redcache_core::{ErrorKind, Loaded};
use redcache_tests::{Raw, RedisServer};

use self::client::{Go, Held, WriteLock, read_held};
use super::cache::Cache;
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, all_found, all_seen, cache_error, connected, found, gate,
    must_not_load, seen, wait_until, wait_until_blocked,
};

with_a_server_of_its_own![
    the_vectors_of_go_are_read_and_written,
    any_bytes_cross_in_both_directions,
    a_load_of_ours_carries_the_time_that_it_took,
    we_wait_for_the_load_of_go_and_take_its_value,
    we_load_at_once_when_the_load_of_go_has_failed,
    go_waits_for_our_load_and_takes_its_value,
    go_loads_at_once_when_our_load_has_failed,
    go_waits_on_when_our_lock_is_renewed,
    a_batch_of_ours_takes_the_values_that_go_loads,
    a_delete_by_go_voids_our_load,
    a_delete_of_ours_voids_the_load_of_go,
    a_forced_value_of_go_outlives_our_load,
    an_insert_of_ours_outlives_the_load_of_go,
    we_wait_for_a_write_of_go,
    a_write_that_go_cancels_restores_the_old_value_for_us,
    go_waits_for_a_write_of_ours,
    a_write_that_we_cancel_restores_the_old_value_for_go,
    writes_of_both_take_turns,
    a_touch_by_go_reaches_our_near_cache,
    neither_side_touches_or_refreshes_a_lock_of_the_other,
    a_refresh_by_go_reaches_our_near_cache,
];

/// Return the content of a key as Go reads it, without tracking.
fn held(raw: &mut Raw, key: &str) -> Held {
    raw.get(key).map_or(Held::Nothing, |bytes| read_held(&bytes))
}

fn payload(held: Held) -> String {
    match held {
        Held::Value { payload, .. } => payload.escape_ascii().to_string(),
        other => panic!("not a value: {other:?}"),
    }
}

fn the_vectors_of_go_are_read_and_written<C: Cache>() {
    let server = RedisServer::start();
    let (mut raw, mut go) = (server.connect(), Go::connect(&server));
    let cache = connected::<C>(server.url());
    let vectors: [(&[u8], &[u8], i64); 12] = [
        (b"__redcache:v1:100000000:hello", b"hello", 100_000_000),
        (b"__redcache:v1:0:", b"", 0),
        (b"__redcache:v1:5000000:__redcache:v1:99:body", b"__redcache:v1:99:body", 5_000_000),
        (b"__redcache:v1:+7:x", b"x", 7),
        (b"__redcache:v1:9223372036854775807:x", b"x", i64::MAX),
        (b"__redcache:v1:notanumber:body", b"__redcache:v1:notanumber:body", 0),
        (b"__redcache:v1:-5:body", b"__redcache:v1:-5:body", 0),
        (b"__redcache:v1:nocolons", b"__redcache:v1:nocolons", 0),
        (b"__redcache:v1:9223372036854775808:x", b"__redcache:v1:9223372036854775808:x", 0),
        (b"__redcache:v1::x", b"__redcache:v1::x", 0),
        (b"plain", b"plain", 0),
        (b"", b"", 0),
    ];
    for (number, (stored, payload, delta_ns)) in vectors.into_iter().enumerate() {
        let key = number.to_string();
        raw.ok(&[b"SET".as_slice(), key.as_bytes(), stored]);
        let read = cache.get(&key).unwrap().value;
        assert_eq!(read.as_deref(), Some(payload), "{}", stored.escape_ascii());
        let answer = cache.get_with(&key, TTL, must_not_load).unwrap();
        assert_eq!(answer.value.as_deref(), Some(payload), "{}", stored.escape_ascii());
        assert_eq!(go.read(&key), Held::Value { payload: payload.to_vec(), delta_ns });
    }
    for payload in [&b"hello"[..], b"", b"__redcache:v1:99:body"] {
        cache.insert("k", payload, TTL).unwrap();
        let stored = raw.get("k").unwrap();
        assert!(stored.starts_with(b"__redcache:v1:"), "{}", stored.escape_ascii());
        assert!(stored.ends_with(&[b":", payload].concat()), "{}", stored.escape_ascii());
        let Held::Value { payload: read, delta_ns } = go.read("k") else { panic!("no value") };
        assert_eq!(read, payload);
        // The stamp of the write replaces the digits below a millisecond.
        assert!((0..1_000_000).contains(&delta_ns), "{delta_ns}");
    }
}

fn any_bytes_cross_in_both_directions<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let every_byte: Vec<u8> = (0..=255).collect();
    for payload in [&b""[..], b"\r\n\0:", &every_byte] {
        go.force_set("theirs", payload);
        let sees = || cache.get("theirs").unwrap().value.as_deref() == Some(payload);
        wait_until("what Go has written", sees);
        cache.remove("ours").unwrap();
        cache.get_with("ours", TTL, || found(payload)).unwrap();
        assert_eq!(go.get("ours", || panic!("Go loads")), payload);
    }
}

fn a_load_of_ours_carries_the_time_that_it_took<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let busy = Duration::from_millis(6);
    // The stamp of a write replaces the digits below a millisecond.
    let stamp = Duration::from_millis(1);
    let spin = || {
        let end = Instant::now() + busy;
        while Instant::now() < end {
            thread::yield_now();
        }
    };
    let began = Instant::now();
    cache.get_with("k", TTL, || (spin(), found("v")).1).unwrap();
    let took = began.elapsed();
    let Held::Value { delta_ns, .. } = go.read("k") else { panic!("no value") };
    let delta = Duration::from_nanos(delta_ns.try_into().unwrap());
    assert!(delta >= busy && delta <= took + stamp, "{delta:?} of {took:?}");

    let began = Instant::now();
    let load = |keys| (spin(), all_found(keys, "v")).1;
    cache.get_many_with(&["a", "b"], TTL, load).unwrap();
    let took = began.elapsed();
    for key in ["a", "b"] {
        let Held::Value { delta_ns, .. } = go.read(key) else { panic!("no value") };
        let delta = Duration::from_nanos(delta_ns.try_into().unwrap());
        assert!(delta >= busy / 2 && delta <= took / 2 + stamp, "{delta:?} of {took:?}");
    }
}

fn we_wait_for_the_load_of_go_and_take_its_value<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let lock = go.lock("k", 60_000).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| seen(cache.get_with("k", TTL, must_not_load)));
        wait_until_blocked(&cache);
        assert_eq!(go.renew("k", &lock, 60_000), 1);
        wait_until("we have looked again", || cache.stats().invalidations > 0);
        assert_eq!(go.publish("k", &lock, b"theirs", 7_000), 1);
        assert_eq!(call.join().unwrap(), "theirs from redis");
    });
    assert_eq!(seen(cache.get("k")), "theirs from near");
}

fn we_load_at_once_when_the_load_of_go_has_failed<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + LONG_LOCK));
    let lock = go.lock("k", 60_000).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| seen(cache.get_with("k", TTL, || found("ours"))));
        wait_until_blocked(&cache);
        let began = Instant::now();
        assert_eq!(go.release("k", &lock), 1);
        assert_eq!(call.join().unwrap(), "ours from loaded");
        assert!(began.elapsed() < AT_ONCE);
    });
    assert_eq!(go.release("k", &lock), 0);
    assert_eq!(payload(go.read("k")), "ours");
}

/// Hold our load with its lock until Go waits for it, end it with `loaded`, and return Go's value.
fn while_go_waits<C: Cache>(
    server: &RedisServer,
    cache: &C,
    loaded: Result<Loaded, Boom>,
) -> Vec<u8> {
    let (gate, door) = gate();
    thread::scope(|scope| {
        let ours = scope.spawn(|| cache.get_with("k", TTL, move || door.then(loaded)));
        gate.reached();
        let mut go = Go::connect(server);
        // As in Go's `Get`: read, fail to lock, and wait for a push.
        let Held::Lock(our_lock) = go.read("k") else { panic!("no lock") };
        assert_eq!(go.lock("k", 60_000), None);
        assert_eq!(go.read("k"), Held::Lock(our_lock));
        let theirs = scope.spawn(move || {
            go.wait("k");
            go.get("k", || b"theirs".to_vec())
        });
        gate.open();
        let _ = ours.join().unwrap();
        theirs.join().unwrap()
    })
}

fn go_waits_for_our_load_and_takes_its_value<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    assert_eq!(while_go_waits(&server, &cache, found("ours")), b"ours");
    assert_eq!(payload(held(&mut server.connect(), "k")), "ours");
}

fn go_loads_at_once_when_our_load_has_failed<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    assert_eq!(while_go_waits(&server, &cache, Err(Boom("no table"))), b"theirs");
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "theirs from redis");
}

fn go_waits_on_when_our_lock_is_renewed<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + "?lock_ttl=3s"));
    let (gate, door) = gate();
    thread::scope(|scope| {
        let ours = scope.spawn(|| seen(cache.get_with("k", TTL, move || door.then(found("v")))));
        gate.reached();
        let Held::Lock(lock) = go.read("k") else { panic!("no lock") };
        // Two renewals take longer than the TTL of the lock.
        for _ in 0..2 {
            go.wait("k");
            assert_eq!(go.read("k"), Held::Lock(lock.clone()), "renewed, not replaced");
            assert_eq!(go.lock("k", 60_000), None);
        }
        go.read("k");
        gate.open();
        assert_eq!(ours.join().unwrap(), "v from loaded");
        assert_eq!(go.get("k", || panic!("Go loads")), b"v");
    });
    assert_eq!(cache.stats().locks_lost, 0);
}

fn a_batch_of_ours_takes_the_values_that_go_loads<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + LONG_LOCK));
    go.force_set("a", b"theirs");
    let lock = go.lock("b", 60_000).unwrap();
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            let answers =
                cache.get_many_with(&["a", "b", "c"], TTL, |keys| all_found(keys, "ours"));
            all_seen(answers)
        });
        wait_until("c is loaded", || {
            server.connect().get("c").is_some_and(|c| c.ends_with(b"ours"))
        });
        assert_eq!(go.publish("b", &lock, b"late", 0), 1);
        let expected = ["theirs from redis", "late from redis", "ours from loaded"];
        assert_eq!(call.join().unwrap(), expected);
    });
}

/// Hold our load with its lock during `act`; return our answer.
fn during_our_load<C: Cache>(cache: &C, act: impl FnOnce()) -> String {
    let (gate, door) = gate();
    thread::scope(|scope| {
        let ours = scope.spawn(|| seen(cache.get_with("k", TTL, move || door.then(found("old")))));
        gate.reached();
        act();
        gate.open();
        ours.join().unwrap()
    })
}

fn a_delete_by_go_voids_our_load<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let answer = during_our_load(&cache, || assert_eq!(go.del("k"), 1));
    assert_eq!(answer, "old from loaded");
    assert_eq!(go.read("k"), Held::Nothing);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(cache.stats().locks_lost, 1);
}

fn a_delete_of_ours_voids_the_load_of_go<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let lock = go.lock("k", 60_000).unwrap();
    assert!(cache.remove("k").unwrap());
    assert_eq!(go.publish("k", &lock, b"old", 0), 0);
    assert_eq!(go.read("k"), Held::Nothing);
}

fn a_forced_value_of_go_outlives_our_load<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let answer = during_our_load(&cache, || go.force_set("k", b"new"));
    assert_eq!(answer, "old from loaded");
    assert_eq!(payload(go.read("k")), "new");
    assert_eq!(seen(cache.get("k")), "new from redis");
}

fn an_insert_of_ours_outlives_the_load_of_go<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let lock = go.lock("k", 60_000).unwrap();
    cache.insert("k", "new", TTL).unwrap();
    assert_eq!(go.publish("k", &lock, b"old", 0), 0);
    assert_eq!(payload(go.read("k")), "new");
}

fn we_wait_for_a_write_of_go<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + LONG_LOCK));
    cache.get_with("k", TTL, || found("old")).unwrap();
    assert_eq!(seen(cache.get("k")), "old from near");
    let (lock, taken) = go.write_lock("k", 60_000);
    let WriteLock::Taken { old: Some(old), pttl } = taken else { panic!("{taken:?}") };
    assert_eq!(payload(read_held(&old)), "old");
    assert!((30_000..=60_000).contains(&pttl), "{pttl}");
    wait_until("the old value is not near", || seen(cache.get("k")) == "nothing from redis");
    thread::scope(|scope| {
        let call = scope.spawn(|| seen(cache.get_with("k", TTL, must_not_load)));
        wait_until_blocked(&cache);
        assert_eq!(go.publish("k", &lock, b"new", 0), 1);
        assert_eq!(call.join().unwrap(), "new from redis");
    });
}

fn a_write_that_go_cancels_restores_the_old_value_for_us<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + LONG_LOCK));
    cache.insert("k", "old", TTL).unwrap();
    let (lock, taken) = go.write_lock("k", 60_000);
    let WriteLock::Taken { old: Some(old), pttl } = taken else { panic!("{taken:?}") };
    thread::scope(|scope| {
        let call = scope.spawn(|| seen(cache.get_with("k", TTL, must_not_load)));
        wait_until_blocked(&cache);
        assert_eq!(go.roll_back("k", &lock, Some(&old), pttl), 1);
        assert_eq!(call.join().unwrap(), "old from redis");
    });
    assert_eq!(go.roll_back("k", &lock, Some(&old), pttl), 0, "the lock is gone");
}

/// Hold our write with its lock until Go waits for it; return our result and Go's value.
fn while_go_waits_for_our_write<C: Cache>(
    server: &RedisServer,
    cache: &C,
    loaded: Result<Loaded, Boom>,
) -> (bool, Vec<u8>) {
    let (gate, door) = gate();
    let mut go = Go::connect(server);
    thread::scope(|scope| {
        let ours = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(loaded)));
        gate.reached();
        let Held::Lock(lock) = go.read("k") else { panic!("no lock") };
        assert_eq!(go.lock("k", 60_000), None);
        assert_eq!(go.write_lock("k", 60_000).1, WriteLock::HeldBy(lock.clone()));
        assert_eq!(go.read("k"), Held::Lock(lock));
        let theirs = scope.spawn(move || {
            go.wait("k");
            go.get("k", || panic!("Go loads"))
        });
        gate.open();
        (ours.join().unwrap().is_ok(), theirs.join().unwrap())
    })
}

fn go_waits_for_a_write_of_ours<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    Go::connect(&server).force_set("k", b"old");
    let (stored, read) = while_go_waits_for_our_write(&server, &cache, found("new"));
    assert_eq!((stored, read), (true, b"new".to_vec()));
}

fn a_write_that_we_cancel_restores_the_old_value_for_go<C: Cache>() {
    let server = RedisServer::start();
    let (cache, mut raw) = (connected::<C>(server.url() + LONG_LOCK), server.connect());
    raw.ok(&["SET", "k", "__redcache:v1:5:old", "PX", "40000"]);
    let (stored, read) = while_go_waits_for_our_write(&server, &cache, Err(Boom("no table")));
    assert_eq!((stored, read), (false, b"old".to_vec()));
    assert_eq!(raw.get("k").unwrap(), b"__redcache:v1:5:old");
    let left = raw.integer(&["PTTL", "k"]);
    assert!((20_000..=40_000).contains(&left), "{left}");
}

fn writes_of_both_take_turns<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url() + LONG_LOCK));
    let (lock, taken) = go.write_lock("k", 60_000);
    assert_eq!(taken, WriteLock::Taken { old: None, pttl: 0 });
    thread::scope(|scope| {
        let ours = scope.spawn(|| cache.insert_with("k", TTL, || found("ours")));
        wait_until_blocked(&cache);
        assert_eq!(go.publish("k", &lock, b"theirs", 0), 1);
        assert!(ours.join().unwrap().unwrap());
    });
    assert_eq!(payload(go.read("k")), "ours");
    // A key that Go deletes during our write stays deleted.
    let (gate, door) = gate();
    thread::scope(|scope| {
        let ours = scope.spawn(|| cache.insert_with("k", TTL, move || door.then(found("late"))));
        gate.reached();
        assert_eq!(go.del("k"), 1);
        gate.open();
        assert_eq!(cache_error(ours.join().unwrap()).kind(), ErrorKind::LockLost);
    });
    assert_eq!(go.read("k"), Held::Nothing);
}

fn a_touch_by_go_reaches_our_near_cache<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    cache.get_with("k", TTL, || found("v")).unwrap();
    assert_eq!(go.touch("k", 3_600_000), 1);
    let longer = || cache.get("k").unwrap().ttl.is_some_and(|ttl| ttl > 2 * TTL);
    wait_until("the value lives longer here too", longer);
    go.force_set("theirs", b"v");
    assert!(cache.touch("theirs", Duration::from_secs(3600)).unwrap());
    assert!(server.connect().integer(&["PTTL", "theirs"]) > 60_000);
}

fn neither_side_touches_or_refreshes_a_lock_of_the_other<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    let lock = go.lock("theirs", 5_000).unwrap();
    assert!(!cache.touch("theirs", TTL).unwrap());
    assert!(server.connect().integer(&["PTTL", "theirs"]) <= 5_000);
    assert_eq!(go.release("theirs", &lock), 1);
    let answer = during_our_load(&cache, || {
        assert_eq!(go.touch("k", 3_600_000), 0);
        assert_eq!(go.publish_refresh("k", b"refreshed"), 0);
        assert_eq!(go.publish_refresh("absent", b"refreshed"), 0);
    });
    assert_eq!(answer, "old from loaded");
    assert_eq!(payload(go.read("k")), "old");
    assert_eq!(go.read("absent"), Held::Nothing);
}

fn a_refresh_by_go_reaches_our_near_cache<C: Cache>() {
    let server = RedisServer::start();
    let (mut go, cache) = (Go::connect(&server), connected::<C>(server.url()));
    cache.get_with("user:{t}:1", TTL, || found("old")).unwrap();
    assert!(go.refresh_lock("user:{t}:1"));
    assert!(server.connect().get("__redcache:refresh:{user:{t}:1}").is_some());
    assert_eq!(go.publish_refresh("user:{t}:1", b"new"), 1);
    assert_eq!(go.release_refresh("user:{t}:1"), 1);
    let refreshed = || seen(cache.get("user:{t}:1")).starts_with("new");
    wait_until("the refreshed value is seen here", refreshed);
}
