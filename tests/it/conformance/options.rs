//! Calls with options: past the near cache, with a forced load, with a timeout.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use redcache_core::{CallOptions, ErrorKind};

use super::cache::Cache;
use super::port::Port;
use super::scene::{
    AT_ONCE, Boom, Door, LONG_LOCK, TTL, all_found, all_seen, cache_error, connected, found, gate,
    load_error, must_not_load, seen, timed, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_call_past_the_near_cache_reads_from_redis,
    a_reload_replaces_what_redis_and_the_near_cache_have,
    a_failed_reload_leaves_the_value_and_its_ttl,
    reloads_of_one_moment_share_a_load_that_began_after_all_of_them,
    a_reload_does_not_take_the_value_of_a_load_that_began_before_it,
    a_batch_reloads_all_its_keys_at_once,
    a_call_during_a_reload_returns_the_new_value,
    a_timeout_ends_a_wait_for_another_process,
    a_timeout_ends_a_wait_for_redis_and_names_itself,
    a_follower_past_its_timeout_leaves_the_load_to_the_others,
    a_loader_past_its_timeout_hands_its_lock_over,
    a_write_past_its_timeout_restores_the_old_value,
    a_timeout_that_is_kept_leaves_no_trace,
    an_answer_has_the_age_of_its_value,
];

const TIMEOUT: Duration = Duration::from_millis(50);

fn limited<C: Cache>(cache: &C) -> C {
    cache.with_options(CallOptions::new().timeout(TIMEOUT))
}

fn reloading<C: Cache>(cache: &C) -> C {
    cache.with_options(CallOptions::new().reload())
}

fn a_call_past_the_near_cache_reads_from_redis<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let past_near = cache.with_options(CallOptions::new().skip_near());
    cache.get_with("k", TTL, || found("v")).unwrap();
    assert_eq!(seen(cache.get("k")), "v from near");
    assert_eq!(seen(past_near.get("k")), "v from redis");
    assert_eq!(seen(past_near.get_with("k", TTL, must_not_load)), "v from redis");
    assert_eq!(all_seen(past_near.get_many(&["k"])), ["v from redis"]);
    let answers = past_near.get_many_with(&["k"], TTL, |keys| all_found(keys, "no"));
    assert_eq!(all_seen(answers), ["v from redis"]);
    assert_eq!(seen(cache.get("k")), "v from near");
    assert_eq!(cache.stats().near_hits, 2);
}

fn a_reload_replaces_what_redis_and_the_near_cache_have<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let other = connected::<C>(server.url());
    assert_eq!(seen(reloading(&cache).get_with("k", TTL, || found("old"))), "old from loaded");
    assert_eq!(seen(other.get("k")), "old from redis");
    assert_eq!(seen(reloading(&cache).get_with("k", TTL, || found("new"))), "new from loaded");
    assert_eq!(seen(cache.get("k")), "new from near");
    wait_until("the other knows", || seen(other.get("k")).starts_with("new"));
    assert_eq!(seen(reloading(&cache).get("k")), "new from redis");
    assert_eq!(cache.stats().loads, 2);
    wait_until_idle(&cache);
}

fn a_failed_reload_leaves_the_value_and_its_ttl<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "\u{1}old", "PX", "50000"]);
    let failed = reloading(&cache).get_with("k", TTL, || Err(Boom("no such table")));
    assert_eq!(*load_error(failed), Boom("no such table"));
    wait_until_idle(&cache);
    assert_eq!(raw.call(&["GET", "k"]), b"$4\r\n\x01old\r\n");
    let left = raw.integer(&["PTTL", "k"]);
    assert!((1..=50_000).contains(&left), "{left}");
    assert_eq!(seen(cache.get("k")), "\\x01old from redis");
}

fn reloads_of_one_moment_share_a_load_that_began_after_all_of_them<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let mut raw = server.connect();
    // Another client holds the lock, so that all callers have arrived before a load begins.
    raw.ok(&["SET", "k", "__redcache:lock:theirs:1", "PX", "60000"]);
    let loads = AtomicU32::new(0);
    let load = || found(format!("v{}", loads.fetch_add(1, Ordering::Relaxed)));
    let answers = thread::scope(|scope| {
        let call = || scope.spawn(|| seen(reloading(&cache).get_with("k", TTL, load)));
        let calls: Vec<_> = (0..20).map(|_| call()).collect();
        wait_until("all wait", || cache.stats().calls == 20 && cache.stats().lock_waits > 0);
        raw.integer(&["DEL", "k"]);
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answers.iter().filter(|answer| *answer == "v0 from loaded").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v0 from joined").count(), 19);
}

fn a_reload_does_not_take_the_value_of_a_load_that_began_before_it<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        let earlier =
            scope.spawn(move || seen(cache.get_with("k", TTL, || door.then(found("old")))));
        gate.reached();
        assert_eq!(seen(reloading(cache).get_with("k", TTL, || found("new"))), "new from loaded");
        gate.open();
        // The loaded value answers its own call, and is not stored.
        assert_eq!(earlier.join().unwrap(), "old from loaded");
    });
    assert!(seen(cache.get("k")).starts_with("new from"));
    wait_until_idle(&cache);
}

fn a_batch_reloads_all_its_keys_at_once<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    cache.insert("a", "old", TTL).unwrap();
    let loads = AtomicU32::new(0);
    let answers = reloading(&cache).get_many_with(&["a", "b"], TTL, |keys| {
        loads.fetch_add(1, Ordering::Relaxed);
        all_found(keys, "new")
    });
    assert_eq!(all_seen(answers), ["new from loaded", "new from loaded"]);
    assert_eq!(all_seen(cache.get_many(&["a", "b"])), ["new from near", "new from near"]);
    assert_eq!(loads.into_inner(), 1);
}

fn a_call_during_a_reload_returns_the_new_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let other = connected::<C>(server.url() + LONG_LOCK);
    cache.insert("k", "old", TTL).unwrap();
    let (gate, door) = gate();
    thread::scope(|scope| {
        let (cache, other) = (&cache, &other);
        scope.spawn(move || {
            let load = || door.then(found("new"));
            assert_eq!(seen(reloading(cache).get_with("k", TTL, load)), "new from loaded");
        });
        gate.reached();
        let joins = scope.spawn(|| seen(cache.get_with("k", TTL, must_not_load)));
        let waits = scope.spawn(|| seen(other.get_with("k", TTL, must_not_load)));
        wait_until("both wait", || cache.stats().calls == 2 && other.stats().lock_waits == 1);
        gate.open();
        assert_eq!(joins.join().unwrap(), "new from joined");
        assert_eq!(waits.join().unwrap(), "new from redis");
    });
}

fn a_timeout_ends_a_wait_for_another_process<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    server.connect().ok(&["SET", "k", "__redcache:lock:theirs:1", "PX", "60000"]);
    let limited = limited(&cache);
    let (errors, took) = timed(|| {
        let batch = limited.get_many_with(&["k"], TTL, |keys| all_found(keys, "v"));
        [
            cache_error(limited.get_with("k", TTL, must_not_load)),
            cache_error(batch.unwrap().remove(0)),
            cache_error(limited.insert_with("k", TTL, must_not_load)),
        ]
    });
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert!(error.is_retryable(), "{error}");
    }
    assert!(took >= 3 * TIMEOUT && took < AT_ONCE, "{took:?}");
    wait_until_idle(&cache);
}

fn a_timeout_ends_a_wait_for_redis_and_names_itself<C: Cache>() {
    let port = Port::that_is_silent();
    let cache = limited(&C::open(port.url()));
    let (errors, took) = timed(|| {
        [
            cache_error(cache.get("k")),
            cache_error(cache.get_many(&["k"]).unwrap().remove(0)),
            cache_error(cache.insert("k", "v", TTL)),
            cache_error(cache.remove("k")),
            cache_error(cache.remove_many(&["k"]).unwrap().remove(0)),
        ]
    });
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.to_string(), "the call did not finish within its timeout: it is 50ms");
    }
    assert!(took < AT_ONCE, "{took:?}");
}

fn a_follower_past_its_timeout_leaves_the_load_to_the_others<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        let leader = scope.spawn(move || seen(cache.get_with("k", TTL, || door.then(found("v")))));
        gate.reached();
        let error = cache_error(limited(cache).get_with("k", TTL, must_not_load));
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        gate.open();
        assert_eq!(leader.join().unwrap(), "v from loaded");
    });
    assert_eq!(cache.stats().loads, 1);
    assert_eq!(seen(cache.get("k")), "v from near");
}

/// Run `call` with a timeout that suffices to begin its load. The timeout doubles until the load
/// begins.
///
/// `during` runs while the loader is blocked.
#[track_caller]
fn past_the_timeout<C: Cache, T: Send>(
    cache: &C,
    call: impl Fn(&C, Door) -> T + Sync,
    mut during: impl FnMut(),
) -> T {
    let mut timeout = TIMEOUT;
    loop {
        let limited = cache.with_options(CallOptions::new().timeout(timeout));
        let (gate, door) = gate();
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| call(&limited, door));
            let mut is_loading = false;
            wait_until("a load or the timeout", || {
                is_loading = gate.is_reached();
                is_loading || call.is_finished()
            });
            if !is_loading {
                return None;
            }
            during();
            gate.open();
            Some(call.join().unwrap())
        });
        match result {
            Some(result) => return result,
            None => timeout *= 2,
        }
        wait_until_idle(cache);
    }
}

fn a_loader_past_its_timeout_hands_its_lock_over<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let first = |cache: &C, door: Door| {
        cache_error(cache.get_with("k", TTL, || door.then(found("late")))).kind()
    };
    let kind = past_the_timeout(&cache, first, || {
        let (answer, elapsed) = timed(|| seen(cache.get_with("k", TTL, || found("v"))));
        assert_eq!(answer, "v from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    });
    assert_eq!(kind, ErrorKind::DeadlineExceeded);
    assert_eq!(seen(cache.get("k")), "v from near");
}

fn a_write_past_its_timeout_restores_the_old_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    cache.insert("k", "old", TTL).unwrap();
    let write = |cache: &C, door: Door| {
        cache_error(cache.insert_with("k", TTL, || door.then(found("new")))).kind()
    };
    let kind = past_the_timeout(&cache, write, || {
        wait_until("the old value", || seen(cache.get("k")).starts_with("old from"));
    });
    assert_eq!(kind, ErrorKind::DeadlineExceeded);
    wait_until_idle(&cache);
    assert!(seen(cache.get("k")).starts_with("old from"));
}

fn a_timeout_that_is_kept_leaves_no_trace<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let cache = cache.with_options(CallOptions::new().timeout(Duration::from_secs(600)));
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert!(cache.insert_with("k", TTL, || found("w")).unwrap());
    assert_eq!(seen(cache.get("k")), "w from near");
    assert!(cache.remove("k").unwrap());
    assert_eq!(all_seen(cache.get_many(&["k"])), ["nothing from redis"]);
    wait_until_idle(&cache);
}

fn an_answer_has_the_age_of_its_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    assert_eq!(cache.get_with("k", TTL, || found("v")).unwrap().age, Some(Duration::ZERO));
    wait_until("it is older", || cache.get("k").unwrap().age > Some(Duration::from_millis(2)));
    let answer = cache.get("k").unwrap();
    assert!(answer.age.unwrap() + answer.ttl.unwrap() <= TTL, "{answer:?}");
    server.connect().ok(&["SET", "foreign", "v"]);
    assert_eq!(cache.get("foreign").unwrap().age, None);
    assert!(cache.get("foreign").unwrap().age.is_some());
}
