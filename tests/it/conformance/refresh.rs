//! Background refreshes before expiry: once for all processes, and never over a newer value.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redcache_core::{ErrorKind, Key, LoadError, Loaded, RefreshOptions};

use super::cache::{Cache, Reader};
use super::scene::{
    AT_ONCE, Boom, TTL, cache_error, connected, seen, timed, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_value_in_the_last_part_of_its_ttl_is_refreshed_in_the_background,
    a_value_with_a_slow_load_is_refreshed_early_at_random,
    a_value_with_time_left_is_not_refreshed,
    a_value_that_changed_during_a_refresh_is_left_alone,
    an_equal_value_written_during_a_refresh_is_kept,
    a_value_that_was_removed_during_a_refresh_stays_removed,
    the_holder_of_the_refresh_lock_refreshes_alone,
    eight_clients_refresh_a_key_once,
    keys_that_are_due_together_are_loaded_together,
    a_full_queue_drops_what_does_not_fit,
    a_failed_refresh_pauses_and_leaves_the_value,
    a_loader_that_panics_costs_no_worker,
    a_closed_cache_ends_its_refreshes_without_a_lock,
    invalid_options_are_rejected,
    queued_refreshes_of_several_clients_load_each_key_once,
    a_key_that_changed_in_the_queue_is_not_loaded,
    the_refresh_lock_of_another_client_is_left_alone,
    a_ttl_of_the_loaders_own_is_no_reason_to_refresh_again_and_again,
];

/// Loads that a test ends one by one.
struct Loads {
    begun: Mutex<Receiver<Vec<Key>>>,
    outcomes: Sender<Result<&'static str, Boom>>,
}

impl Loads {
    /// Open a reader whose loader waits for its outcome.
    fn of<C: Cache>(cache: &C, options: RefreshOptions) -> (Self, Reader) {
        let (begins, begun) = mpsc::channel();
        let (outcomes, outcome) = mpsc::channel();
        let (begins, outcome) = (Mutex::new(begins), Mutex::new(outcome));
        let load = move |keys: Vec<Key>| {
            // The test may have ended.
            let _ = begins.lock().unwrap().send(keys.clone());
            let value = outcome.lock().unwrap().recv().unwrap_or(Err(Boom("the test is over")))?;
            assert_ne!(value, "panic", "as the test wants it");
            Ok(values(keys, value))
        };
        let reader = cache.refreshing(options, load).unwrap();
        (Self { begun: Mutex::new(begun), outcomes }, reader)
    }

    /// Wait for a load; return its keys.
    #[track_caller]
    fn begun(&self) -> Vec<String> {
        let keys = self.begun.lock().unwrap().recv_timeout(5 * AT_ONCE).expect("a load begins");
        keys.iter().map(Key::to_string).collect()
    }

    fn end(&self, outcome: Result<&'static str, Boom>) {
        self.outcomes.send(outcome).unwrap();
    }
}

fn values(keys: Vec<Key>, value: &'static str) -> Vec<(Key, Loaded)> {
    keys.into_iter().map(|key| (key, value.into())).collect()
}

/// Return options under which every value is due after a millisecond.
fn at_once() -> RefreshOptions {
    RefreshOptions::new(TTL).refresh_at_fraction(0.000_01)
}

/// Store a value that no cache has read.
fn put(server: &Server, key: &str, value: &str) {
    server.connect().ok(&["SET", key, value, "PX", "30000"]);
}

fn a_value_in_the_last_part_of_its_ttl_is_refreshed_in_the_background<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    put(&server, "k", "old");
    // Half of the TTL has passed, which near hits see from now on.
    assert_eq!(seen(read("k")), "old from redis");
    assert_eq!(loads.begun(), ["k"]);
    let (answer, took) = timed(|| seen(read("k")));
    assert_eq!(answer, "old from near");
    assert!(took < AT_ONCE, "{took:?}");
    loads.end(Ok("new"));
    wait_until("the refresh", || seen(read("k")) == "new from near");
    assert!(server.connect().integer(&["PTTL", "k"]) > 30_000);
    wait_until_idle(&cache);
    let stats = cache.stats();
    assert_eq!((stats.refreshes, stats.refreshes_failed), (1, 0));
    // The refresh lock has been released.
    assert_eq!(server.connect().integer(&["DBSIZE"]), 1);
}

fn a_value_with_a_slow_load_is_refreshed_early_at_random<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let options = RefreshOptions::new(TTL).refresh_at_fraction(0.0).refresh_beta(1.0);
    let (loads, read) = Loads::of(&cache, options);
    // The load of this value took an hour, so it is certainly due; the load of the other took no
    // time.
    put(&server, "slow", "__redcache:v1:3600000000000:old");
    put(&server, "quick", "__redcache:v1:0:old");
    assert_eq!(seen(read("quick")), "old from redis");
    assert_eq!(seen(read("slow")), "old from redis");
    wait_until("it is due", || {
        seen(read("quick"));
        seen(read("slow"));
        cache.stats().refreshes_triggered > 0
    });
    assert_eq!(loads.begun(), ["slow"]);
    loads.end(Ok("new"));
    wait_until("the refresh", || seen(read("slow")) == "new from near");
    assert_eq!(cache.stats().refreshes_triggered, 1);
}

fn a_value_with_time_left_is_not_refreshed<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL));
    loads.end(Ok("v"));
    assert_eq!(seen(read("k")), "v from loaded");
    for _ in 0..100 {
        assert_eq!(seen(read("k")), "v from near");
    }
    assert_eq!((cache.stats().loads, cache.stats().refreshes_triggered), (1, 0));
}

fn a_value_that_changed_during_a_refresh_is_left_alone<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    cache.insert("k", "newer", TTL).unwrap();
    loads.end(Ok("older"));
    wait_until("the refresh is over", || cache.stats().refreshes_skipped == 1);
    wait_until_idle(&cache);
    assert!(seen(cache.get("k")).starts_with("newer from"));
}

fn an_equal_value_written_during_a_refresh_is_kept<C: Cache>() {
    let server = Server::start();
    let (cache, writer) = (connected::<C>(server.url()), connected::<C>(server.url()));
    writer.insert("k", "on", TTL).unwrap();
    let (loads, read) = Loads::of(&cache, at_once());
    wait_until("a due read", || {
        seen(read("k"));
        cache.stats().refreshes_triggered > 0
    });
    assert_eq!(loads.begun(), ["k"]);
    writer.insert("k", "off", TTL).unwrap();
    writer.insert("k", "on", TTL).unwrap();
    loads.end(Ok("off"));
    wait_until("the end of the refresh", || cache.stats().refreshes_skipped == 1);
    assert!(server.connect().get("k").unwrap().ends_with(b":on"));
}

fn a_value_that_was_removed_during_a_refresh_stays_removed<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    assert!(cache.remove("k").unwrap());
    loads.end(Ok("older"));
    wait_until("the refresh is over", || cache.stats().refreshes_skipped == 1);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
}

fn the_holder_of_the_refresh_lock_refreshes_alone<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (_loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    // The name in redcache for Go, for any braces in the key.
    for key in ["k", "user:{t}:1"] {
        put(&server, key, "old");
        let lock = format!("__redcache:refresh:{{{key}}}");
        server.connect().ok(&["SET", &lock, "1", "PX", "60000"]);
        seen(read(key));
    }
    wait_until("both were left to the other", || cache.stats().refreshes_skipped == 2);
    wait_until_idle(&cache);
    assert_eq!((cache.stats().loads, server.connect().integer(&["DBSIZE"])), (0, 4));
}

fn eight_clients_refresh_a_key_once<C: Cache>() {
    let server = Server::start();
    let loads = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let cache = connected::<C>(server.url());
            let loads = Arc::clone(&loads);
            let load = move |keys| {
                loads.fetch_add(1, Ordering::Relaxed);
                Ok(values(keys, "new"))
            };
            let read =
                cache.refreshing(RefreshOptions::new(TTL).refresh_at_fraction(0.5), load).unwrap();
            (cache, read)
        })
        .collect();
    put(&server, "k", "old");
    for (_, read) in &clients {
        seen(read("k"));
    }
    wait_until("all have the new value", || {
        clients.iter().all(|(_, read)| seen(read("k")) == "new from near")
    });
    for (cache, _) in &clients {
        wait_until_idle(cache);
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
}

fn keys_that_are_due_together_are_loaded_together<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?refresh_workers=1");
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    for key in ["first", "a", "b", "c"] {
        put(&server, key, "old");
    }
    seen(read("first"));
    assert_eq!(loads.begun(), ["first"]);
    for key in ["a", "b", "c", "a"] {
        seen(read(key));
    }
    loads.end(Ok("new"));
    assert_eq!(loads.begun(), ["a", "b", "c"]);
    loads.end(Ok("new"));
    wait_until("all are refreshed", || cache.stats().refreshes == 4);
    assert_eq!(seen(read("b")), "new from near");
}

fn a_full_queue_drops_what_does_not_fit<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?refresh_workers=1&refresh_queue_max=2");
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    for key in ["first", "a", "b", "c"] {
        put(&server, key, "old");
    }
    seen(read("first"));
    loads.begun();
    for key in ["a", "b", "c"] {
        seen(read(key));
    }
    let stats = cache.stats();
    assert_eq!((stats.refreshes_triggered, stats.refreshes_dropped), (3, 1));
    loads.end(Ok("new"));
    assert_eq!(loads.begun(), ["a", "b"]);
    loads.end(Ok("new"));
    wait_until("the rest is refreshed", || cache.stats().refreshes == 3);
}

fn a_failed_refresh_pauses_and_leaves_the_value<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, at_once());
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    loads.end(Err(Boom("no such table")));
    wait_until("it has failed", || cache.stats().refreshes_failed == 1);
    wait_until("it rests", || {
        assert!(seen(read("k")).starts_with("old from"));
        cache.stats().refreshes_skipped > 0
    });
    // After its pause, the loader is called again.
    wait_until("it is asked again", || {
        seen(read("k"));
        cache.stats().refreshes_triggered == 2
    });
    loads.end(Ok("new"));
    wait_until("the refresh", || cache.stats().refreshes == 1);
    assert!(seen(cache.get("k")).starts_with("new from"));
}

fn a_loader_that_panics_costs_no_worker<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?refresh_workers=1");
    let (loads, read) = Loads::of(&cache, at_once());
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    loads.end(Ok("panic"));
    wait_until("it has panicked", || cache.stats().refreshes_panicked == 1);
    loads.end(Ok("new"));
    wait_until("the refresh", || {
        seen(read("k"));
        cache.stats().refreshes == 1
    });
    assert!(seen(cache.get("k")).starts_with("new from"));
    // The last reads may have begun another refresh, whose load fails then.
    drop(loads);
    wait_until_idle(&cache);
}

fn a_closed_cache_ends_its_refreshes_without_a_lock<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, at_once());
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    loads.end(Ok("new"));
    let ((), took) = timed(|| cache.close());
    assert!(took < 2 * AT_ONCE, "{took:?}");
    match read("k") {
        Err(LoadError::Cache(error)) => assert_eq!(error.kind(), ErrorKind::Closed),
        other => panic!("{other:?}"),
    }
    // No lock is left, whether the value was published or the lock released.
    wait_until("the lock is gone", || server.connect().integer(&["DBSIZE"]) == 1);
}

fn invalid_options_are_rejected<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    for (options, named) in [
        (RefreshOptions::new(TTL).refresh_at_fraction(1.0), "refresh_at_fraction"),
        (RefreshOptions::new(TTL).refresh_at_fraction(f64::NAN), "refresh_at_fraction"),
        (RefreshOptions::new(TTL).refresh_beta(-1.0), "refresh_beta"),
        (RefreshOptions::new(Duration::ZERO), "ttl"),
    ] {
        let error = cache_error(cache.refreshing(options, |keys| Ok(values(keys, "v"))).map(drop));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(named), "{error}");
    }
}

fn queued_refreshes_of_several_clients_load_each_key_once<C: Cache>() {
    const KEYS: usize = 20;
    let server = Server::start();
    let loaded = Arc::new(AtomicU32::new(0));
    let keys: Vec<_> = (0..KEYS).map(|number| number.to_string()).collect();
    keys.iter().for_each(|key| put(&server, key, "old"));
    // With one worker each, most keys queue, and are fresh when their turn comes.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let cache = connected::<C>(server.url() + "?refresh_workers=1");
            let loaded = Arc::clone(&loaded);
            let load = move |keys: Vec<Key>| {
                loaded.fetch_add(keys.len() as u32, Ordering::Relaxed);
                Ok(values(keys, "new"))
            };
            let read =
                cache.refreshing(RefreshOptions::new(TTL).refresh_at_fraction(0.5), load).unwrap();
            (cache, read)
        })
        .collect();
    for key in &keys {
        clients.iter().for_each(|(_, read)| drop(seen(read(key))));
    }
    wait_until("every key is refreshed", || {
        clients.iter().map(|(cache, _)| cache.stats().refreshes).sum::<u64>() == KEYS as u64
    });
    clients.iter().for_each(|(cache, _)| wait_until_idle(cache));
    assert_eq!(loaded.load(Ordering::Relaxed), KEYS as u32);
}

fn a_key_that_changed_in_the_queue_is_not_loaded<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?refresh_workers=1");
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    for key in ["first", "changed", "removed", "same"] {
        put(&server, key, "old");
    }
    seen(read("first"));
    assert_eq!(loads.begun(), ["first"]);
    for key in ["changed", "removed", "same"] {
        seen(read(key));
    }
    cache.insert("changed", "newer", TTL).unwrap();
    assert!(cache.remove("removed").unwrap());
    loads.end(Ok("new"));
    assert_eq!(loads.begun(), ["same"]);
    loads.end(Ok("new"));
    wait_until("the queue is empty", || cache.stats().refreshes == 2);
    wait_until_idle(&cache);
    assert_eq!(cache.stats().refreshes_skipped, 2);
    assert!(seen(cache.get("changed")).starts_with("newer from"));
    assert_eq!(seen(cache.get("removed")), "nothing from redis");
}

fn the_refresh_lock_of_another_client_is_left_alone<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (loads, read) = Loads::of(&cache, RefreshOptions::new(TTL).refresh_at_fraction(0.5));
    put(&server, "k", "old");
    seen(read("k"));
    loads.begun();
    // Our lock has expired, and another client holds it.
    server.connect().ok(&["SET", "__redcache:refresh:{k}", "1", "PX", "60000"]);
    loads.end(Ok("new"));
    wait_until("the refresh is over", || cache.stats().refreshes == 1);
    wait_until_idle(&cache);
    assert_eq!(server.connect().get("__redcache:refresh:{k}").unwrap(), b"1");
}

fn a_ttl_of_the_loaders_own_is_no_reason_to_refresh_again_and_again<C: Cache>() {
    let server = Server::start();
    let loads = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let cache = connected::<C>(server.url());
            let loads = Arc::clone(&loads);
            let load = move |keys: Vec<Key>| {
                let number = loads.fetch_add(1, Ordering::Relaxed);
                let value = Loaded::value(number.to_string()).with_ttl(TTL / 6);
                Ok(keys.into_iter().map(|key| (key, value.clone())).collect())
            };
            let read =
                cache.refreshing(RefreshOptions::new(TTL).refresh_at_fraction(0.5), load).unwrap();
            (cache, read)
        })
        .collect();
    for _ in 0..20 {
        for (cache, read) in &clients {
            seen(read("k"));
            wait_until_idle(cache);
        }
    }
    let loads = loads.load(Ordering::Relaxed);
    assert!(loads <= 3, "{loads} loads");
}
