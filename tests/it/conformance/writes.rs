//! `insert`, `remove` and `touch` of one key or many, and their effect on loads in flight.

use std::thread;
use std::time::Duration;

use redcache_tests::Proxy;

use super::cache::Cache;
use super::scene::{
    LONG_LOCK, TTL, all_found, all_seen, connected, found, gate, must_not_load, seen, wait_until,
    wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    an_inserted_value_is_read_by_every_client,
    a_removed_key_is_gone_for_every_client,
    a_touch_moves_the_end_of_values_and_of_nothing_else,
    a_batch_of_writes_is_one_round_trip,
    a_read_returns_the_own_write_before_it,
    a_write_of_another_client_reaches_the_near_cache,
    a_remove_voids_the_load_that_is_under_way,
    a_remove_by_another_client_voids_the_load_that_is_under_way,
    an_insert_is_not_overwritten_by_the_load_that_is_under_way,
    a_call_after_a_remove_never_joins_the_load_from_before_it,
];

fn an_inserted_value_is_read_by_every_client<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    server.connect().ok(&["SET", "k", "old"]);
    assert_eq!(seen(other.get("k")), "old from redis");
    cache.insert("k", "new", TTL).unwrap();
    assert!(server.connect().get("k").unwrap().ends_with(b":new"));
    let ttl = server.connect().integer(&["PTTL", "k"]);
    assert!((30_000..=60_000).contains(&ttl), "{ttl}");
    wait_until("the other client has heard", || seen(other.get("k")).starts_with("new"));
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "new from redis");
    let entries = vec![("k", "newer".into()), ("l", "first".into())];
    assert!(cache.insert_many(entries, TTL).unwrap().iter().all(Result::is_ok));
    assert_eq!(seen(cache.get("k")), "newer from redis");
    assert_eq!(seen(cache.get("l")), "first from redis");
}

fn a_removed_key_is_gone_for_every_client<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    server.connect().set_each(&["a", "1", "b", "2"]);
    assert_eq!(seen(cache.get("a")), "1 from redis");
    assert!(cache.remove("a").unwrap());
    assert!(!cache.remove("a").unwrap());
    assert_eq!(seen(cache.get("a")), "nothing from redis");
    let removed = cache.remove_many(&["a", "b", "b"]).unwrap();
    assert_eq!(removed.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [false, true, false]);
}

fn a_touch_moves_the_end_of_values_and_of_nothing_else<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    raw.ok(&["SET", "a", "1", "PX", "60000"]);
    raw.ok(&["SET", "b", "2"]);
    raw.ok(&["SET", "locked", "__redcache:lock:somebody:1", "PX", "60000"]);
    assert_eq!(seen(cache.get("a")), "1 from redis");
    let hour = Duration::from_secs(3600);
    assert!(cache.touch("a", hour).unwrap());
    assert!(raw.integer(&["PTTL", "a"]) > 60_000);
    // A near entry would end too early.
    let answer = cache.get("a").unwrap();
    assert!(answer.ttl.unwrap() > TTL, "{answer:?}");
    let touched = cache.touch_many(&["absent", "b", "locked"], hour).unwrap();
    assert_eq!(touched.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [false, true, false]);
    assert!(raw.integer(&["PTTL", "b"]) > 60_000);
    assert!(raw.integer(&["PTTL", "locked"]) <= 60_000);
    assert!(!cache.touch("absent", hour).unwrap());
}

fn a_batch_of_writes_is_one_round_trip<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    let keys: Vec<_> = (0..100).map(|number| format!("key:{number}")).collect();
    wait_until_idle(&cache);
    proxy.clear();
    let entries = keys.iter().map(|key| (key, key.clone().into())).collect();
    assert!(cache.insert_many(entries, TTL).unwrap().iter().all(Result::is_ok));
    assert!(cache.touch_many(&keys, TTL).unwrap().into_iter().all(Result::unwrap));
    assert!(cache.remove_many(&keys).unwrap().into_iter().all(Result::unwrap));
    assert_eq!(proxy.round_trips(), 3);
    assert_eq!(server.connect().integer(&["DBSIZE"]), 0);
}

fn a_read_returns_the_own_write_before_it<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    for number in 0..200 {
        let value = number.to_string();
        cache.insert("k", value.clone(), TTL).unwrap();
        assert_eq!(seen(cache.get("k")), format!("{value} from redis"));
        // A late push for a write must not end values that were read long after the write.
        wait_until("the value is near", || seen(cache.get("k")) == format!("{value} from near"));
        if number % 2 == 0 {
            assert!(cache.remove("k").unwrap());
            assert_eq!(seen(cache.get("k")), "nothing from redis");
        }
    }
}

fn a_write_of_another_client_reaches_the_near_cache<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    assert_eq!(seen(cache.get_with("k", TTL, || found("0"))), "0 from loaded");
    for number in 1..50 {
        raw.ok(&["SET", "k", &number.to_string()]);
        wait_until("the new value", || seen(cache.get("k")) == format!("{number} from redis"));
        assert_eq!(seen(cache.get("k")), format!("{number} from near"));
    }
    assert_eq!(raw.integer(&["DEL", "k"]), 1);
    wait_until("the key is gone", || seen(cache.get("k")) == "nothing from redis");
    assert!(cache.stats().invalidations >= 50, "{:?}", cache.stats());
}

fn a_remove_voids_the_load_that_is_under_way<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let call = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("old"))));
        gate.reached();
        assert!(cache.remove("k").unwrap());
        gate.open();
        assert_eq!(seen(call.join().unwrap()), "old from loaded");
    });
    assert_eq!(server.connect().get("k"), None);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(cache.stats().locks_lost, 1);
}

fn a_remove_by_another_client_voids_the_load_that_is_under_way<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    let (gate, door) = gate();
    thread::scope(|scope| {
        let keys = ["k", "l"];
        let cache = &cache;
        let call = scope.spawn(move || {
            cache.get_many_with(&keys, TTL, |keys| door.then(all_found(keys, "old")))
        });
        gate.reached();
        assert!(other.remove("k").unwrap());
        gate.open();
        assert_eq!(all_seen(call.join().unwrap()), ["old from loaded"; 2]);
    });
    assert_eq!(server.connect().get("k"), None);
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(seen(cache.get("l")), "old from near");
}

fn an_insert_is_not_overwritten_by_the_load_that_is_under_way<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let call = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("old"))));
        gate.reached();
        cache.insert("k", "new", TTL).unwrap();
        gate.open();
        assert_eq!(seen(call.join().unwrap()), "old from loaded");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":new"));
    assert!(seen(cache.get("k")).starts_with("new from"));
}

fn a_call_after_a_remove_never_joins_the_load_from_before_it<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let call = scope.spawn(|| cache.get_with("k", TTL, move || door.then(found("old"))));
        gate.reached();
        assert!(cache.remove("k").unwrap());
        assert_eq!(seen(cache.get_with("k", TTL, || found("new"))), "new from loaded");
        gate.open();
        assert_eq!(seen(call.join().unwrap()), "old from loaded");
    });
    assert!(server.connect().get("k").unwrap().ends_with(b":new"));
    assert!(seen(cache.get("k")).starts_with("new from"));
}
