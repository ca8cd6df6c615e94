//! The cost of calls, counted by the server.

use std::collections::BTreeMap;
use std::thread;

use redcache_tests::{Direction, Proxy, Raw};

use super::cache::Cache;
use super::scene::{
    LONG_LOCK, TTL, all_found, all_seen, connected, found, must_not_load, seen, wait_until,
    wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_hit_in_redis_is_a_get_and_a_pttl,
    a_cold_miss_is_one_read_one_lock_and_one_publish,
    a_cold_batch_of_a_hundred_keys_is_two_pipelines,
    a_near_hit_costs_the_server_nothing,
    a_write_under_a_lock_is_one_lock_and_one_publish,
];

/// Return the calls of each command since [`reset`], within scripts too.
fn counts(raw: &mut Raw) -> BTreeMap<String, u64> {
    let report = String::from_utf8(raw.call(&["INFO", "commandstats"])).unwrap();
    let lines = report.lines().filter_map(|line| {
        let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        // The commands of this test and of the heartbeat, and the suffix of `EVALSHA`.
        let counts = !matches!(name, "info" | "config|resetstat" | "ping");
        let name = name.trim_end_matches("sha").to_owned();
        counts.then(|| (name, figures.split(',').next().unwrap().parse::<u64>().unwrap()))
    });
    let mut counts = BTreeMap::new();
    for (name, calls) in lines {
        *counts.entry(name).or_insert(0) += calls;
    }
    counts
}

fn reset(raw: &mut Raw) {
    raw.ok(&["CONFIG", "RESETSTAT"]);
}

/// Return counts by name.
fn expected<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, calls)| (name.to_owned(), calls)).collect()
}

fn a_hit_in_redis_is_a_get_and_a_pttl<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let mut raw = server.connect();
    raw.set_each(&["a", "1", "b", "2"]);
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    proxy.clear();
    reset(&mut raw);
    assert_eq!(seen(cache.get("a")), "1 from redis");
    assert_eq!(counts(&mut raw), expected([("get", 1), ("pttl", 1)]));
    reset(&mut raw);
    // The lock attempt is part of the pipeline, and has no effect.
    assert_eq!(seen(cache.get_with("b", TTL, must_not_load)), "2 from redis");
    assert_eq!(counts(&mut raw), expected([("get", 1), ("pttl", 1), ("set", 1)]));
    assert_eq!(proxy.round_trips(), 2);
}

fn a_cold_miss_is_one_read_one_lock_and_one_publish<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let mut raw = server.connect();
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    proxy.clear();
    reset(&mut raw);
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    let read_and_lock = [("get", 1), ("pttl", 1), ("set", 1 + 1), ("exists", 1)];
    // The script or the transaction compares, sets, and reads the key back for tracking.
    let cost = if server.is_valkey() {
        expected([("multi", 1), ("exec", 1)])
    } else {
        expected([("getex", 1), ("eval", 1)])
    };
    let mut counts = counts(&mut raw);
    assert_eq!(read_and_lock.map(|(name, _)| (name, counts.remove(name).unwrap())), read_and_lock);
    assert_eq!(counts, cost);
    assert_eq!(proxy.round_trips(), 2);
}

fn a_cold_batch_of_a_hundred_keys_is_two_pipelines<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let mut raw = server.connect();
    let cache = connected::<C>(proxy.url());
    let keys: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    wait_until_idle(&cache);
    proxy.clear();
    reset(&mut raw);
    let publication = if server.is_valkey() { 4 + 100 + 4 + 4 } else { 5 };
    // A pipeline may be written in several parts, so its replies wait until all are sent.
    let release = |commands| {
        wait_until("the pipeline is sent", || proxy.commands().len() == commands);
        proxy.release(Direction::ToClient);
    };
    proxy.hold(Direction::ToClient);
    let answers = thread::scope(|scope| {
        let call = scope.spawn(|| {
            cache.get_many_with(&keys, TTL, |keys| {
                proxy.hold(Direction::ToClient);
                all_found(keys, "v")
            })
        });
        release(100);
        release(100 + publication);
        all_seen(call.join().unwrap())
    });
    assert!(answers.iter().all(|answer| answer == "v from loaded"), "{answers:?}");
    // The keys are read for the first time, so nothing asks for their TTL, and the command that
    // takes a lock also reads the key.
    let read_and_lock = [("set", 100 + 100)];
    // 32 keys share a script or a transaction; the first script goes ahead with its source.
    let cost = if server.is_valkey() {
        expected([("multi", 4), ("exists", 4), ("exec", 4)])
    } else {
        expected([("getex", 100), ("exists", 5), ("eval", 5)])
    };
    let mut counts = counts(&mut raw);
    assert_eq!(read_and_lock.map(|(name, _)| (name, counts.remove(name).unwrap())), read_and_lock);
    assert_eq!(counts, cost);
    assert_eq!(proxy.round_trips(), 2);
}

fn a_near_hit_costs_the_server_nothing<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    let cache = connected::<C>(server.url());
    cache.get_with("k", TTL, || found("v")).unwrap();
    wait_until_idle(&cache);
    reset(&mut raw);
    assert_eq!(seen(cache.get("k")), "v from near");
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "v from near");
    assert_eq!(all_seen(cache.get_many(&["k", "k"])), ["v from near"; 2]);
    assert_eq!(counts(&mut raw), expected([]));
}

fn a_write_under_a_lock_is_one_lock_and_one_publish<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    wait_until_idle(&cache);
    reset(&mut raw);
    assert!(cache.insert_with("k", TTL, || found("v")).unwrap());
    let mut counts = counts(&mut raw);
    let shared = [("get", 1), ("set", 1 + 1), ("exists", 1)];
    assert_eq!(shared.map(|(name, _)| (name, counts.remove(name).unwrap())), shared);
    // The first round trip reads and locks; the second compares, sets and reads back.
    let cost = if server.is_valkey() {
        expected([("eval", 1), ("multi", 1), ("exec", 1)])
    } else {
        expected([("eval", 2), ("getex", 1)])
    };
    assert_eq!(counts, cost);
}
