//! Large values on a connection of their own, beside small ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use redcache_tests::{Raw, RedisServer};

use super::cache::Cache;
use super::scene::{TTL, connected, found, seen, wait_until};

with_a_server_of_its_own![
    large_values_have_a_connection_of_their_own_and_small_ones_come_back_beside_them,
    a_lost_connection_of_large_values_costs_no_read_and_ends_their_near_entries,
    without_large_values_there_is_one_connection,
];

/// Above the limit of the near cache, so that each read goes to the server.
const HUGE: usize = 8 << 20;
/// Large, and small enough for the near cache.
const LARGE: usize = 256 << 10;

const NAME: &str = "?client_name=beside";

/// Return the ids of the cache's connections, oldest first.
fn connections(raw: &mut Raw) -> Vec<String> {
    let list = raw.call(&["CLIENT", "LIST"]);
    let list = String::from_utf8_lossy(&list);
    let own = list.lines().filter(|line| line.contains("name=beside "));
    let id =
        |line: &str| line.split(' ').find_map(|word| word.strip_prefix("id=").map(str::to_owned));
    own.filter_map(id).collect()
}

fn value(len: usize) -> Bytes {
    (0..len).map(|at| b'a' + (at % 23) as u8).collect::<Vec<_>>().into()
}

/// Read the key `huge` over and over during `act`.
fn beside_huge_reads<C: Cache>(cache: &C, act: impl FnOnce()) {
    let (is_over, huge) = (AtomicBool::new(false), value(HUGE));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(cache.get("huge").unwrap().value.as_ref() == Some(&huge));
            }
        });
        act();
        is_over.store(true, Ordering::Relaxed);
    });
}

fn large_values_have_a_connection_of_their_own_and_small_ones_come_back_beside_them<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + NAME);
    let other = connected::<C>(server.url());
    let mut raw = server.connect();
    other.insert("huge", value(HUGE), TTL).unwrap();
    beside_huge_reads(&cache, || {
        wait_until("there are two connections", || connections(&mut raw).len() == 2);
        for (key, len) in [("small", 64), ("large", LARGE), ("huge too", HUGE)] {
            for round in 0..4_u8 {
                let expected = Some(value(len + usize::from(round)));
                let read = cache.get_with(key, TTL, || found(expected.clone().unwrap())).unwrap();
                assert!(read.value == expected, "{key}, round {round}");
                assert!(cache.get(key).unwrap().value == expected, "{key}, round {round}");
                other.remove(key).unwrap();
                wait_until("the removal is known", || cache.get(key).unwrap().value.is_none());
            }
        }
        // The values of one key are large and small in turn.
        for round in 0..8 {
            let expected = value(if round % 2 == 0 { LARGE } else { 10 } + round);
            cache.insert("turns", expected.clone(), TTL).unwrap();
            assert!(cache.get("turns").unwrap().value == Some(expected.clone()), "round {round}");
            assert!(cache.get("turns").unwrap().value == Some(expected), "round {round}");
        }
        assert_eq!(connections(&mut raw).len(), 2);
    });
    assert_eq!(cache.stats().connections, 1);
}

fn a_lost_connection_of_large_values_costs_no_read_and_ends_their_near_entries<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + NAME);
    let mut raw = server.connect();
    cache.insert("huge", value(HUGE), TTL).unwrap();
    cache.insert("small", "v", TTL).unwrap();
    beside_huge_reads(&cache, || {
        for _ in 0..3 {
            wait_until("there are two connections", || connections(&mut raw).len() == 2);
            cache.insert("large", value(LARGE), TTL).unwrap();
            cache.get("large").unwrap();
            wait_until("it is near", || seen(cache.get("small")) == "v from near");
            let large = connections(&mut raw).pop().unwrap();
            raw.call(&["CLIENT", "KILL", "ID", &large]);
            // The connection that read it no longer reports the change.
            raw.ok(&["SET", "large", "new"]);
            wait_until("the new value is read", || {
                seen(cache.get("large")).starts_with("new from")
            });
            assert_eq!(seen(cache.get("small")), "v from near");
        }
    });
    assert!(cache.health().is_complete);
    assert_eq!(cache.stats().connections, 1);
}

fn without_large_values_there_is_one_connection<C: Cache>() {
    let server = RedisServer::start();
    let cache = connected::<C>(server.url() + NAME + "&large_value_bytes=0");
    let mut raw = server.connect();
    for round in 0..3 {
        cache.insert("huge", value(HUGE + round), TTL).unwrap();
        assert!(cache.get("huge").unwrap().value == Some(value(HUGE + round)));
        assert_eq!(connections(&mut raw).len(), 1);
    }
}
