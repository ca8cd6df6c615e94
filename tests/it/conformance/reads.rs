//! `get` and `get_many`: their answers, the source of each, and the keys that they do not change.

use std::time::{Duration, Instant};

use redcache_core::{ErrorKind, Source};
use redcache_tests::Proxy;

use super::cache::Cache;
use super::scene::{TTL, all_seen, cache_error, connected, found, seen, wait_until_idle};
use super::server::Server;

on_every_adapter![
    a_value_of_redis_is_near_from_its_first_read_on,
    an_absent_key_has_no_value_and_is_read_again,
    a_key_that_is_locked_reads_as_absent_at_once,
    a_batch_is_answered_in_its_order_wherever_the_values_are,
    a_batch_without_keys_sends_nothing,
    a_batch_with_too_many_keys_is_rejected_before_it_is_sent,
    a_thousand_keys_are_one_round_trip,
    the_ttl_of_redis_bounds_what_is_near,
];

fn a_value_of_redis_is_near_from_its_first_read_on<C: Cache>() {
    let server = Server::start();
    server.connect().ok(&["SET", "k", "v", "PX", "60000"]);
    let cache = connected::<C>(server.url());
    for source in [Source::Redis, Source::Near, Source::Near] {
        let answer = cache.get("k").unwrap();
        assert_eq!((answer.value.as_deref(), answer.source), (Some(&b"v"[..]), source));
        let ttl = answer.ttl.unwrap();
        assert!(ttl <= TTL && ttl > TTL / 2, "{ttl:?}");
    }
    let stats = cache.stats();
    assert_eq!((stats.redis_hits, stats.near_hits, stats.misses), (1, 2, 0));
    server.connect().ok(&["SET", "endless", "v"]);
    assert_eq!(cache.get("endless").unwrap().ttl, None);
}

fn an_absent_key_has_no_value_and_is_read_again<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    server.connect().ok(&["SET", "k", "v"]);
    assert_eq!(seen(cache.get("k")), "v from redis");
    assert_eq!(cache.stats().misses, 1);
}

fn a_key_that_is_locked_reads_as_absent_at_once<C: Cache>() {
    let server = Server::start();
    server.connect().ok(&["SET", "k", "__redcache:lock:somebody:1", "PX", "60000"]);
    let cache = connected::<C>(server.url());
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(all_seen(cache.get_many(&["k", "k"])), ["nothing from redis"; 2]);
}

fn a_batch_is_answered_in_its_order_wherever_the_values_are<C: Cache>() {
    let server = Server::start();
    server.connect().set_each(&["near", "1", "far", "2"]);
    let cache = connected::<C>(server.url());
    cache.get("near").unwrap();
    assert_eq!(
        all_seen(cache.get_many(&["far", "absent", "near", "far"])),
        ["2 from redis", "nothing from redis", "1 from near", "2 from redis"]
    );
    assert_eq!(all_seen(cache.get_many(&["far", "near"])), ["2 from near", "1 from near"]);
}

fn a_batch_without_keys_sends_nothing<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    proxy.clear();
    let none: [&str; 0] = [];
    assert!(cache.get_many(&none).unwrap().is_empty());
    let loaded = cache.get_many_with(&none, TTL, |_| Err("the loader ran"));
    assert!(loaded.unwrap().is_empty());
    assert!(cache.insert_many::<&str>(Vec::new(), TTL).unwrap().is_empty());
    assert!(cache.remove_many(&none).unwrap().is_empty());
    assert!(cache.touch_many(&none, TTL).unwrap().is_empty());
    assert_eq!(proxy.commands().len(), 0);
    wait_until_idle(&cache);
}

fn a_batch_with_too_many_keys_is_rejected_before_it_is_sent<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url() + "?keys_max=2");
    wait_until_idle(&cache);
    proxy.clear();
    let keys = ["a", "b", "c"];
    let entries = keys.map(|key| (key, "v".into())).to_vec();
    let refusals = [
        cache_error(cache.get_many(&keys)),
        cache_error(cache.get_many_with(&keys, TTL, |_| Err("the loader ran"))),
        cache_error(cache.insert_many(entries, TTL)),
        cache_error(cache.remove_many(&keys)),
        cache_error(cache.touch_many(&keys, TTL)),
    ];
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("3 keys; `keys_max` allows 2"), "{error}");
    }
    assert_eq!(proxy.commands().len(), 0);
    assert_eq!(all_seen(cache.get_many(&keys[..2])), ["nothing from redis"; 2]);
}

fn a_thousand_keys_are_one_round_trip<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    let keys: Vec<_> = (0..1000).map(|number| format!("key:{number}")).collect();
    let entries = keys.iter().map(|key| (key, key.clone().into())).collect();
    assert!(cache.insert_many(entries, TTL).unwrap().iter().all(Result::is_ok));
    wait_until_idle(&cache);
    proxy.clear();
    let answers = cache.get_many(&keys).unwrap();
    for (key, answer) in keys.iter().zip(answers) {
        assert_eq!(answer.unwrap().value.unwrap(), key);
    }
    assert_eq!(proxy.round_trips(), 1);
}

fn the_ttl_of_redis_bounds_what_is_near<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let ttl = Duration::from_millis(150);
    cache.get_with("k", ttl, || found("v")).unwrap();
    // Redis counts whole milliseconds, and a key lives to the end of its last one.
    let over_at = Instant::now() + ttl + Duration::from_millis(2);
    loop {
        let asked_at = Instant::now();
        let answer = cache.get("k").unwrap();
        if answer.value.is_none() {
            break;
        }
        assert!(asked_at < over_at, "served after its time, from {:?}", answer.source);
    }
}
