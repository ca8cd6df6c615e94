//! The events of an observer, alike on every adapter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use redcache_core::observer::{
    AnswerEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent, FailureEvent, FlushEvent,
    InvalidationEvent, LoadEvent, LockLostEvent, LockWaitEvent, Observer, RefreshEvent,
    RoundTripEvent,
};
use redcache_core::{ConfigBuilder, RefreshOptions};
use redcache_tests::RedisServer;

use super::cache::Cache;
use super::port::Port;
use super::scene::{Boom, TTL, all_found, found, must_not_load, observed, seen, wait_until};
use super::server::Server;

on_every_adapter![
    the_first_connection_is_observed,
    every_key_is_counted_once_by_the_source_of_its_answer,
    loads_round_trips_changes_and_connections_are_observed,
    a_wait_for_another_process_is_measured,
    a_lost_lock_is_reported_with_its_key,
    refreshes_are_observed_from_beginning_to_end,
    a_panic_of_an_observer_is_contained,
    an_observer_may_ask_the_cache_for_its_state,
    errors_are_counted_by_their_kind,
];

with_a_server_of_its_own![the_first_attempt_to_connect_is_observed_even_if_it_fails,];

/// An observer that counts events by name.
#[derive(Debug, Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<String, usize>>>);

impl Tally {
    fn add(&self, event: impl Into<String>, count: usize) {
        *self.0.lock().unwrap().entry(event.into()).or_default() += count;
    }

    fn get(&self, event: &str) -> usize {
        self.0.lock().unwrap().get(event).copied().unwrap_or(0)
    }

    /// Wait for an event that may be repeated.
    #[track_caller]
    fn wait_for_first(&self, event: &str) {
        wait_until(event, || self.get(event) > 0);
    }

    /// Wait for the count of an event, which may come after the answer of its call.
    #[track_caller]
    fn wait_for(&self, event: &str, count: usize) {
        wait_until(event, || self.get(event) == count);
    }
}

impl Observer for Tally {
    fn on_answer(&self, event: &AnswerEvent) {
        self.add(event.source.as_str(), 1);
    }

    fn on_failure(&self, event: &FailureEvent) {
        self.add(format!("failure {}", event.kind.as_str()), 1);
    }

    fn on_load(&self, event: &LoadEvent) {
        self.add(if event.is_ok { "load" } else { "failed load" }, event.keys);
    }

    fn on_lock_wait(&self, event: &LockWaitEvent) {
        self.add("waited us", event.took.as_micros() as usize);
        self.add("wait", 1);
    }

    fn on_round_trip(&self, event: &RoundTripEvent) {
        self.add(event.command, 1);
    }

    fn on_lock_lost(&self, event: &LockLostEvent) {
        self.add(format!("lost {}", event.key), 1);
    }

    fn on_refresh(&self, event: &RefreshEvent) {
        self.add(format!("{} {}", event.stage.as_str(), event.key), 1);
    }

    fn on_invalidation(&self, event: &InvalidationEvent) {
        self.add("invalidated", event.keys);
    }

    fn on_flush(&self, _: &FlushEvent) {
        self.add("flushed", 1);
    }

    fn on_connected(&self, event: &ConnectedEvent) {
        self.add(format!("connected {}", event.address), 1);
    }

    fn on_connect_failed(&self, event: &ConnectFailedEvent) {
        let address = event.address.as_ref().unwrap();
        self.add(format!("{} redis://{address}", event.reason.kind().as_str()), 1);
    }

    fn on_disconnected(&self, event: &DisconnectedEvent) {
        self.add(format!("disconnected {}", event.address), 1);
    }
}

fn the_first_connection_is_observed<C: Cache>() {
    let server = Server::start();
    let tally = Tally::default();
    let _cache = observed::<C>(server.url(), tally.clone());
    tally.wait_for(&format!("connected {}", server.name()), 1);
}

fn the_first_attempt_to_connect_is_observed_even_if_it_fails<C: Cache>() {
    let port = Port::that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let tally = Tally::default();
    let builder: ConfigBuilder = port.url().parse().unwrap();
    C::connect(builder.observer(tally.clone())).unwrap_err();
    tally.wait_for_first(&format!("protocol {}", port.url()));
}

fn every_key_is_counted_once_by_the_source_of_its_answer<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url() + "?stale_if_error=1h", tally.clone());
    server.connect().ok(&["SET", "there", "v"]);
    cache.get("there").unwrap();
    cache.get("there").unwrap();
    cache.get_with("loaded", TTL, || found("v")).unwrap();
    cache.get_with("loaded", TTL, must_not_load).unwrap();
    let batch = ["there", "loaded", "many", "many", "none"];
    cache.get_many_with(&batch, TTL, |keys| all_found(keys, "v")).unwrap();
    cache.get_with("short", Duration::from_millis(20), || found("v")).unwrap();
    let mut outdated = String::new();
    while outdated != "v from stale" {
        outdated = seen(cache.get_with("short", TTL, || Err::<_, _>(Boom("no such table"))));
    }
    tally.wait_for("stale", 1);
    tally.wait_for("joined", 1);
    tally.wait_for("loaded", 4);
    let stats = cache.stats();
    tally.wait_for("near", stats.near_hits as usize);
    tally.wait_for("redis", stats.redis_hits as usize);
    assert!(stats.near_hits >= 4 && stats.redis_hits >= 1, "{tally:?}");
}

fn loads_round_trips_changes_and_connections_are_observed<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url(), tally.clone());
    cache.get_with("k", TTL, || found("v")).unwrap();
    cache.get_with("failed", TTL, || Err::<_, _>(Boom("no such table"))).unwrap_err();
    cache.insert_with("k", TTL, || found("w")).unwrap();
    let mut raw = server.connect();
    raw.integer(&["DEL", "k"]);
    tally.wait_for("invalidated", 1);
    raw.ok(&["FLUSHALL"]);
    tally.wait_for("flushed", 1);
    tally.wait_for("load", 2);
    tally.wait_for("failed load", 1);
    tally.wait_for("failure load_failed", 1);
    tally.wait_for("publish", 2);
    tally.wait_for("write lock", 1);
    raw.integer(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let address = server.address();
    tally.wait_for(&format!("disconnected {address}"), 1);
    // The observer has seen the first connection too.
    tally.wait_for(&format!("connected {address}"), 2);
}

fn a_wait_for_another_process_is_measured<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url(), tally.clone());
    server.connect().ok(&["SET", "k", "__redcache:lock:theirs:1", "PX", "50"]);
    cache.get_with("k", TTL, || found("v")).unwrap();
    tally.wait_for("wait", 1);
    let waited = tally.get("waited us");
    assert!((20_000..3_000_000).contains(&waited), "{waited}");
}

fn a_lost_lock_is_reported_with_its_key<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url(), tally.clone());
    for key in ["read", "write"] {
        let load = || {
            server.connect().integer(&["DEL", key]);
            found("v")
        };
        if key == "read" {
            cache.get_with(key, TTL, load).unwrap();
        } else {
            cache.insert_with(key, TTL, load).unwrap_err();
        }
        tally.wait_for(&format!("lost {key}"), 1);
    }
}

fn refreshes_are_observed_from_beginning_to_end<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url(), tally.clone());
    let options = RefreshOptions::new(TTL).refresh_at_fraction(0.5);
    let read = cache.refreshing(options, |keys| all_found(keys, "new")).unwrap();
    server.connect().ok(&["SET", "k", "old", "PX", "20000"]);
    assert_eq!(seen(read("k")), "old from redis");
    tally.wait_for("refreshed k", 1);
    // Events of several threads come in any order.
    tally.wait_for("triggered k", 1);
    tally.wait_for("load", 1);
    assert_eq!(seen(read("k")), "new from near");
    tally.wait_for("near", 1);
}

fn a_panic_of_an_observer_is_contained<C: Cache>() {
    struct Panics;
    impl Observer for Panics {
        fn on_answer(&self, _: &AnswerEvent) {
            panic!("as the test wants it");
        }

        fn on_round_trip(&self, _: &RoundTripEvent) {
            panic!("as the test wants it");
        }

        fn on_connected(&self, _: &ConnectedEvent) {
            panic!("as the test wants it");
        }
    }
    let server = RedisServer::start();
    let cache = observed::<C>(server.url(), Panics);
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from near");
    assert!(cache.remove("k").unwrap());
}

fn an_observer_may_ask_the_cache_for_its_state<C: Cache>() {
    struct Asks<C>(Arc<OnceLock<C>>, Tally);
    impl<C: Cache> Observer for Asks<C> {
        fn on_answer(&self, _: &AnswerEvent) {
            if let Some(cache) = self.0.get() {
                self.1.add(format!("tracked {}", cache.is_tracked()), 1);
                self.1.add("loads", cache.stats().loads as usize);
            }
        }
    }
    let server = RedisServer::start();
    let (slot, tally) = (Arc::new(OnceLock::new()), Tally::default());
    let cache = observed::<C>(server.url(), Asks(Arc::clone(&slot), tally.clone()));
    slot.set(cache.clone()).unwrap();
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from near");
    tally.wait_for("tracked true", 2);
    tally.wait_for("loads", 2);
    // The observer owns a handle, so the cache does not close with the last other one.
    cache.close();
}

fn errors_are_counted_by_their_kind<C: Cache>() {
    let server = RedisServer::start();
    let tally = Tally::default();
    let cache = observed::<C>(server.url(), tally.clone());
    server.connect().integer(&["RPUSH", "list", "v"]);
    cache.get("list").unwrap_err();
    assert_eq!(
        cache.get_many(&["list", "other"]).unwrap().iter().filter(|it| it.is_err()).count(),
        1
    );
    tally.wait_for("failure server", 2);
}
