//! The end of a cache, closed or dropped: no caller continues to wait, no lock stays, no connection
//! is open.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redcache_core::observer::Observer;
use redcache_core::{Error, ErrorKind};
use redcache_tests::{Direction, Proxy};

use super::cache::Cache;
use super::port;
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, cache_error, connected, found, gate, must_not_load, observed,
    seen, timed, wait_until, wait_until_blocked,
};
use super::server::Server;

on_every_adapter![
    close_ends_every_call_and_releases_the_locks,
    close_ends_a_batch,
    a_closed_cache_rejects_every_call_on_every_handle,
    a_cache_that_never_connected_closes_at_once,
    a_cache_whose_server_has_stalled_closes_within_bounds,
    two_closes_at_once_both_end,
];

with_a_server_of_its_own![
    close_ends_the_connection,
    dropping_the_last_handle_ends_the_connection,
    a_cache_whose_observer_owns_a_handle_ends_by_close,
];

fn check_closed(errors: impl IntoIterator<Item = Error>) {
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert!(!error.is_retryable());
    }
}

/// Return the number of clients of the server, without the client that counts them.
fn connections(server: &Server) -> usize {
    let clients = server.connect().call(&["CLIENT", "LIST", "TYPE", "normal"]);
    String::from_utf8(clients).unwrap().matches("id=").count() - 1
}

fn close_ends_every_call_and_releases_the_locks<C: Cache>() {
    let server = Server::start();
    let url = server.url() + LONG_LOCK;
    let (cache, other) = (connected::<C>(&url), connected::<C>(&url));
    server.connect().ok(&["SET", "held", "__redcache:lock:somebody:1", "PX", "60000"]);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| cache.get_with("held", TTL, must_not_load));
        wait_until_blocked(&cache);
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        let follower = scope.spawn(|| cache.get_with("k", TTL, must_not_load));
        wait_until("all have called", || cache.stats().calls == 3);
        let elsewhere = scope.spawn(|| other.get_with("k", TTL, || found("theirs")));
        wait_until_blocked(&other);
        let (errors, elapsed) = timed(|| {
            cache.close();
            [waiter, follower].map(|call| cache_error(call.join().unwrap()))
        });
        check_closed(errors);
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        let (answer, elapsed) = timed(|| elsewhere.join().unwrap());
        assert_eq!(seen(answer), "theirs from loaded");
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        gate.open();
        check_closed([cache_error(leader.join().unwrap())]);
    });
    assert_eq!(server.connect().get("held").unwrap(), b"__redcache:lock:somebody:1");
}

fn close_ends_a_batch<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let keys: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let cache = &cache;
        let batch = scope.spawn(move || {
            cache.get_many_with(&keys, TTL, |_| door.then(Ok::<_, Boom>(Vec::new())))
        });
        gate.reached();
        assert_eq!(server.connect().integer(&["DBSIZE"]), 100);
        cache.close();
        assert_eq!(server.connect().integer(&["DBSIZE"]), 0);
        gate.open();
        check_closed(batch.join().unwrap().unwrap().into_iter().map(cache_error));
    });
}

fn a_closed_cache_rejects_every_call_on_every_handle<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let handle = cache.clone();
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(handle.get("k")), "v from near");
    cache.close();
    for cache in [&cache, &handle] {
        check_closed([
            cache_error(cache.ready()),
            cache_error(cache.get("k")),
            cache_error(cache.get_with("k", TTL, must_not_load)),
            cache_error(cache.get_many(&["k"])),
            cache_error(cache.get_many_with(&["k"], TTL, |_| Err(Boom("the loader ran")))),
            cache_error(cache.insert("k", "v", TTL)),
            cache_error(cache.insert_many(vec![("k", "v".into())], TTL)),
            cache_error(cache.remove("k")),
            cache_error(cache.remove_many(&["k"])),
            cache_error(cache.touch("k", TTL)),
            cache_error(cache.touch_many(&["k"], TTL)),
        ]);
        cache.close();
        assert!(!cache.is_tracked());
    }
    assert!(server.connect().get("k").unwrap().ends_with(b":v"));
}

fn close_ends_the_connection<C: Cache>() {
    let server = Server::start();
    let caches: Vec<C> = (0..5).map(|_| connected(server.url())).collect();
    wait_until("no other client is left", || connections(&server) == 5);
    for cache in &caches {
        cache.close();
    }
    wait_until("the server has noticed", || connections(&server) == 0);
}

fn dropping_the_last_handle_ends_the_connection<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let last = cache.clone();
    drop(cache);
    assert_eq!(seen(last.get_with("k", TTL, || found("v"))), "v from loaded");
    wait_until("no other client is left", || connections(&server) == 1);
    let ((), elapsed) = timed(|| drop(last));
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
    wait_until("the server has noticed", || connections(&server) == 0);
    // A connection that is not yet established ends, too.
    drop(C::open(server.url()));
    wait_until("the server has noticed", || connections(&server) == 0);
}

fn a_cache_whose_observer_owns_a_handle_ends_by_close<C: Cache>() {
    struct Owner<C> {
        _cache: Arc<Mutex<Option<C>>>,
        _alive: Arc<()>,
    }
    impl<C: Cache> Observer for Owner<C> {}
    let server = Server::start();
    let (slot, alive) = (Arc::new(Mutex::new(None)), Arc::new(()));
    let observed_by = Arc::downgrade(&alive);
    let owner = Owner { _cache: Arc::clone(&slot), _alive: alive };
    let cache = observed::<C>(server.url(), owner);
    *slot.lock().unwrap() = Some(cache.clone());
    drop(cache);
    let cache = slot.lock().unwrap().clone().unwrap();
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    wait_until("no other client is left", || connections(&server) == 1);
    cache.close();
    wait_until("the server has noticed", || connections(&server) == 0);
    // The observer and the cache own each other until the observer gives its handle up.
    drop(cache);
    assert!(observed_by.upgrade().is_some());
    let last = slot.lock().unwrap().take();
    drop(last);
    wait_until("the observer is dropped", || observed_by.upgrade().is_none());
}

fn a_cache_that_never_connected_closes_at_once<C: Cache>() {
    let (_listener, _queue, url) = port::unreachable();
    let cache = C::open(&(url + "?command_timeout=60s&connect_timeout=60s"));
    thread::scope(|scope| {
        let call = scope.spawn(|| cache.get("k"));
        wait_until("it waits", || cache.stats().calls == 1);
        let ((), elapsed) = timed(|| cache.close());
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
        check_closed([cache_error(call.join().unwrap())]);
    });
}

fn a_cache_whose_server_has_stalled_closes_within_bounds<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + LONG_LOCK + "&command_timeout=60s");
    let (gate, door) = gate();
    thread::scope(|scope| {
        let leader = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("v"))));
        gate.reached();
        proxy.hold(Direction::ToServer);
        let call = scope.spawn(|| cache.get("l"));
        wait_until("it waits", || cache.stats().calls == 2);
        let ((), elapsed) = timed(|| cache.close());
        assert!(elapsed < Duration::from_secs(1) + AT_ONCE, "{elapsed:?}");
        check_closed([cache_error(call.join().unwrap())]);
        gate.open();
        check_closed([cache_error(leader.join().unwrap())]);
    });
}

fn two_closes_at_once_both_end<C: Cache>() {
    let server = Server::start();
    for _ in 0..20 {
        let cache = connected::<C>(server.url());
        let ((), elapsed) = timed(|| {
            thread::scope(|scope| {
                for _ in 0..2 {
                    let handle = cache.clone();
                    scope.spawn(move || handle.close());
                }
            });
        });
        assert!(elapsed < AT_ONCE, "{elapsed:?}");
    }
}
