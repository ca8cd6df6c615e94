//! Stale entries instead of errors and waits: they are returned within their limit, and never after
//! a change.

use std::thread;
use std::time::Duration;

use redcache_core::ErrorKind;
use redcache_tests::Proxy;

use super::cache::Cache;
use super::scene::{
    AT_ONCE, Boom, TTL, all_found, all_seen, cache_error, connected, found, gate, load_error,
    must_not_load, seen, timed, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_stale_copy_answers_a_failed_load,
    stale_copies_answer_while_redis_is_unreachable,
    a_reconnect_ends_the_stale_copies_from_before,
    a_removal_ends_a_stale_copy,
    an_own_write_ends_a_stale_copy,
    a_flush_ends_all_stale_copies,
    a_stale_copy_answers_a_call_that_would_wait_for_a_load,
    a_stale_copy_answers_a_call_that_would_wait_for_another_process,
    a_stale_copy_never_hides_a_newer_value,
    a_failed_reload_is_not_answered_by_a_stale_copy,
    no_stale_copy_is_returned_by_default,
];

const IF_ERROR: &str = "?stale_if_error=1h";
const WHILE_LOADING: &str = "?stale_while_revalidate=1h";
const SHORT: Duration = Duration::from_millis(30);

fn fails<T>() -> Result<T, Boom> {
    Err(Boom("no such table"))
}

/// Cache a value and wait until its TTL ends.
fn expire<C: Cache>(cache: &C, key: &str) {
    cache.get_with(key, SHORT, || found("old")).unwrap();
    wait_until("it is outdated", || seen(cache.get(key)) == "nothing from redis");
}

/// Cache a value, wait until its TTL ends, and make sure that a stale entry is kept.
///
/// Redis counts whole milliseconds, so it may expire the key before our entry ends. The expiry then
/// counts as a change, which removes the entry.
fn outdate<C: Cache>(cache: &C, key: &str) {
    let copies = cache.stats().near_entries;
    for _ in 0..10 {
        expire(cache, key);
        if cache.stats().near_entries > copies {
            return;
        }
    }
    panic!("no copy of `{key}` has survived its ttl");
}

fn a_stale_copy_answers_a_failed_load<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + IF_ERROR);
    outdate(&cache, "k");
    for _ in 0..3 {
        assert_eq!(seen(cache.get_with("k", TTL, fails)), "old from stale");
        wait_until_idle(&cache);
    }
    let answer = cache.get_with("k", TTL, fails).unwrap();
    assert!(answer.age.is_some() && answer.ttl.is_none(), "{answer:?}");
    let mut answers = cache.get_many_with(&["k", "none"], TTL, |_| fails()).unwrap();
    assert_eq!(*load_error(answers.remove(1)), Boom("no such table"));
    assert_eq!(seen(answers.remove(0)), "old from stale");
    assert_eq!(cache.stats().stale, 5);
    assert_eq!(seen(cache.get_with("k", TTL, || found("new"))), "new from loaded");
    assert_eq!(seen(cache.get("k")), "new from near");
}

fn stale_copies_answer_while_redis_is_unreachable<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?stale_if_error=1h&command_timeout=100ms");
    cache.get_with("k", TTL, || found("v")).unwrap();
    proxy.refuse(true);
    proxy.cut();
    wait_until("the loss is known", || seen(cache.get("k")) == "v from stale");
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "v from stale");
    assert_eq!(all_seen(cache.get_many(&["k", "k"])), ["v from stale", "v from stale"]);
    assert_eq!(cache_error(cache.get("none")).kind(), ErrorKind::Unavailable);
    assert_eq!(cache_error(cache.insert("k", "new", TTL)).kind(), ErrorKind::Unavailable);
    // The write may have been executed.
    assert_eq!(cache_error(cache.get("k")).kind(), ErrorKind::Unavailable);
}

fn a_reconnect_ends_the_stale_copies_from_before<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?stale_if_error=1h&command_timeout=100ms");
    cache.get_with("k", TTL, || found("old")).unwrap();
    proxy.refuse(true);
    proxy.cut();
    wait_until("the loss is known", || seen(cache.get("k")) == "old from stale");
    server.connect().integer(&["DEL", "k"]);
    proxy.refuse(false);
    wait_until("it is back", || cache.is_tracked());
    assert_eq!(*load_error(cache.get_with("k", TTL, fails)), Boom("no such table"));
}

fn a_removal_ends_a_stale_copy<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + IF_ERROR);
    cache.get_with("k", TTL, || found("old")).unwrap();
    server.connect().integer(&["DEL", "k"]);
    wait_until("the change is known", || cache.stats().invalidations == 1);
    assert_eq!(*load_error(cache.get_with("k", TTL, fails)), Boom("no such table"));
}

fn an_own_write_ends_a_stale_copy<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + IF_ERROR);
    outdate(&cache, "k");
    assert!(!cache.remove("k").unwrap());
    assert_eq!(*load_error(cache.get_with("k", TTL, fails)), Boom("no such table"));
}

fn a_flush_ends_all_stale_copies<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + IF_ERROR);
    outdate(&cache, "outdated");
    cache.get_with("good", TTL, || found("old")).unwrap();
    server.connect().ok(&["FLUSHALL"]);
    wait_until("the flush is known", || cache.stats().flushes == 1);
    for key in ["outdated", "good"] {
        assert_eq!(*load_error(cache.get_with(key, TTL, fails)), Boom("no such table"));
    }
}

fn a_stale_copy_answers_a_call_that_would_wait_for_a_load<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + WHILE_LOADING);
    outdate(&cache, "k");
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        let leader =
            scope.spawn(move || seen(cache.get_with("k", TTL, || door.then(found("new")))));
        gate.reached();
        for _ in 0..2 {
            let (answer, took) = timed(|| seen(cache.get_with("k", TTL, must_not_load)));
            assert_eq!(answer, "old from stale");
            assert!(took < AT_ONCE, "{took:?}");
        }
        let batch = cache.get_many_with(&["k", "k"], TTL, |keys| all_found(keys, "no"));
        assert_eq!(all_seen(batch), ["old from stale", "old from stale"]);
        gate.open();
        assert_eq!(leader.join().unwrap(), "new from loaded");
    });
    assert_eq!(seen(cache.get("k")), "new from near");
    wait_until_idle(&cache);
}

fn a_stale_copy_answers_a_call_that_would_wait_for_another_process<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + WHILE_LOADING);
    outdate(&cache, "k");
    server.connect().ok(&["SET", "k", "__redcache:lock:theirs:1", "PX", "60000"]);
    for _ in 0..3 {
        let (answer, took) = timed(|| seen(cache.get_with("k", TTL, must_not_load)));
        assert_eq!(answer, "old from stale");
        assert!(took < AT_ONCE, "{took:?}");
    }
    wait_until_idle(&cache);
}

fn a_stale_copy_never_hides_a_newer_value<C: Cache>() {
    let server = Server::start();
    let both = "?stale_if_error=1h&stale_while_revalidate=1h";
    let cache = connected::<C>(server.url() + both);
    outdate(&cache, "k");
    server.connect().ok(&["SET", "k", "new"]);
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "new from redis");
    server.connect().integer(&["DEL", "k"]);
    wait_until("the change is known", || seen(cache.get("k")) == "nothing from redis");
    assert_eq!(*load_error(cache.get_with("k", TTL, fails)), Boom("no such table"));
}

fn a_failed_reload_is_not_answered_by_a_stale_copy<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + IF_ERROR);
    outdate(&cache, "k");
    let reloading = cache.with_options(redcache_core::CallOptions::new().reload());
    assert_eq!(*load_error(reloading.get_with("k", TTL, fails)), Boom("no such table"));
}

fn no_stale_copy_is_returned_by_default<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    expire(&cache, "k");
    assert_eq!(*load_error(cache.get_with("k", TTL, fails)), Boom("no such table"));
    assert_eq!(cache.stats().stale, 0);
}
