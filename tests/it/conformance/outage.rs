//! Calls that fail in an outage, and the state of their keys afterwards.

use std::time::Duration;

use redcache_core::{CallOptions, ErrorKind};
use redcache_tests::{Proxy, RedisServer};

use super::cache::Cache;
use super::scene::{TTL, cache_error, connected, found, must_not_load, seen, wait_until};
use super::server::Server;

on_every_adapter![
    a_removal_that_failed_in_an_outage_is_repeated_when_the_server_is_back,
    an_insert_that_failed_in_an_outage_leaves_no_old_value,
    a_call_with_a_timeout_gets_the_stale_copy_in_an_outage,
];

with_a_server_of_its_own![a_primary_that_became_a_replica_is_left_and_used_again_as_a_primary,];

const OPTIONS: &str = "?reconnect_delay_max=20ms&command_timeout=1s";

fn a_removal_that_failed_in_an_outage_is_repeated_when_the_server_is_back<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + OPTIONS);
    let mut raw = server.connect();
    ["a", "b", "c"].iter().for_each(|key| raw.ok(&["SET", key, "old"]));
    proxy.refuse(true);
    proxy.cut();
    let error = cache_error(cache.remove("a"));
    assert!(error.is_retryable() || error.kind() == ErrorKind::OutcomeUnknown, "{error}");
    for result in cache.remove_many(&["b", "c"]).unwrap() {
        result.unwrap_err();
    }
    assert_eq!(cache.stats().removals_waiting, 3);
    assert_eq!(raw.get("a").as_deref(), Some(&b"old"[..]));
    proxy.refuse(false);
    wait_until("the keys are removed", || ["a", "b", "c"].iter().all(|key| raw.get(key).is_none()));
    wait_until("nothing is left to repeat", || cache.stats().removals_waiting == 0);
    assert_eq!(cache.stats().removals_repeated, 3);
}

fn an_insert_that_failed_in_an_outage_leaves_no_old_value<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + OPTIONS);
    let other = connected::<C>(server.url());
    other.insert("k", "old", TTL).unwrap();
    proxy.refuse(true);
    proxy.cut();
    cache_error(cache.insert("k", "new", TTL));
    proxy.refuse(false);
    wait_until("the old value is gone", || seen(other.get("k")).starts_with("nothing"));
    assert_eq!(seen(other.get_with("k", TTL, || found("new"))), "new from loaded");
    wait_until("the new value is read", || {
        cache.get("k").is_ok_and(|answer| answer.value.as_deref() == Some(b"new"))
    });
}

fn a_call_with_a_timeout_gets_the_stale_copy_in_an_outage<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?stale_if_error=1h&command_timeout=60s");
    cache.get_with("k", TTL, || found("v")).unwrap();
    proxy.refuse(true);
    proxy.cut();
    wait_until("the loss is known", || !cache.is_tracked());
    let hurried = cache.with_options(CallOptions::new().timeout(Duration::from_millis(100)));
    for _ in 0..3 {
        assert_eq!(seen(hurried.get("k")), "v from stale");
        assert_eq!(seen(hurried.get_with("k", TTL, must_not_load)), "v from stale");
    }
}

fn a_primary_that_became_a_replica_is_left_and_used_again_as_a_primary<C: Cache>() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let cache = connected::<C>(server.url() + "?reconnect_delay_max=20ms");
    cache.insert("k", "v", TTL).unwrap();
    server.connect().ok(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let error = cache_error(cache.insert("k", "w", TTL));
    assert!(error.is_retryable(), "{error}");
    wait_until("the replica is known", || {
        cache.get("absent").is_err_and(|error| error.to_string().contains("replica"))
    });
    server.connect().ok(&["REPLICAOF", "NO", "ONE"]);
    wait_until("it is used again", || cache.insert("k", "new", TTL).is_ok());
    assert!(seen(cache.get("k")).starts_with("new from"));
}
