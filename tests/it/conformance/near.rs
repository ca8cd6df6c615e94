//! The near cache under invalidations: it never keeps a value that Redis has replaced.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use redcache_core::{Loaded, Source};
use redcache_tests::{Direction, Proxy, RedisServer};

use super::cache::Cache;
use super::scene::{Boom, TTL, connected, found, must_not_load, seen, wait_until, wait_until_idle};
use super::server::Server;

on_every_adapter![
    a_reply_and_its_invalidation_in_one_segment_never_leave_a_stale_entry,
    a_change_in_the_middle_of_a_read_never_leaves_a_stale_entry,
    a_flush_empties_it,
    the_near_cache_stays_within_its_bytes,
    without_bytes_every_read_goes_to_redis,
    an_entry_keeps_no_larger_buffer_alive,
    a_value_too_large_for_the_near_cache_is_counted,
];

with_a_server_of_its_own![
    a_lost_connection_empties_the_near_cache,
    an_eviction_by_an_own_write_reaches_the_near_cache,
    a_full_tracking_table_costs_hits_and_nothing_else,
];

/// Check replies that arrive in one piece with their own invalidation: 1,000 times each for a read,
/// a read that tries to lock, and a publish, in turn.
fn a_reply_and_its_invalidation_in_one_segment_never_leave_a_stale_entry<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    let mut raw = server.connect();
    let (ask, asked) = mpsc::channel::<(&str, String)>();
    let (hold, held) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    let mut answers = BTreeMap::<_, u32>::new();
    thread::scope(|scope| {
        let (ask, cache, proxy) = (ask, &cache, &proxy);
        scope.spawn(move || {
            let hold = || {
                proxy.hold(Direction::ToClient);
                hold.send(()).unwrap();
            };
            // The held bytes are the reply to the last command of a call.
            for (kind, key) in asked {
                if kind != "publish" {
                    hold();
                }
                let got = match kind {
                    "read" => seen(cache.get(&key)),
                    _ => seen(cache.get_with(&key, TTL, || (hold(), found("old")).1)),
                };
                answer.send(got).unwrap();
            }
        });
        for number in 0..1000 {
            let kind = ["read", "read or lock", "publish"][number % 3];
            let key = number.to_string();
            if kind != "publish" {
                raw.ok(&["SET", &key, "old"]);
            }
            ask.send((kind, key.clone())).unwrap();
            held.recv().unwrap();
            wait_until("the reply is held", || proxy.queued(Direction::ToClient) > 0);
            let reply = proxy.queued(Direction::ToClient);
            raw.ok(&["SET", &key, "new"]);
            wait_until("the push is held", || proxy.queued(Direction::ToClient) > reply);
            proxy.release(Direction::ToClient);
            *answers.entry(answered.recv().unwrap()).or_default() += 1;
            let answer = seen(cache.get(&key));
            assert!(answer.starts_with("new from"), "{answer} after the {kind}, number {number}");
        }
    });
    let expected = [("old from loaded".to_owned(), 333), ("old from redis".to_owned(), 667)];
    assert_eq!(answers, BTreeMap::from(expected));
    assert_eq!(cache.stats().connections, 1);
}

fn a_change_in_the_middle_of_a_read_never_leaves_a_stale_entry<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    // A read is several commands. They reach the server byte by byte, so that other clients
    // interleave.
    proxy.set_chunk_max(Direction::ToServer, Some(1));
    let mut raw = server.connect();
    for number in 0..200 {
        let key = number.to_string();
        raw.ok(&["SET", &key, "0"]);
        // The last change happens between two commands of a read. No change follows, which would be
        // pushed.
        let changes = number % 8 + 1;
        thread::scope(|scope| {
            scope.spawn(|| cache.get(&key).unwrap());
            for change in 1..=changes {
                raw.ok(&["SET", &key, &change.to_string()]);
            }
        });
        let newest = format!("{changes} from ");
        wait_until("the newest value", || seen(cache.get(&key)).starts_with(&newest));
    }
}

fn a_flush_empties_it<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    for (round, flush) in [&["FLUSHALL"][..], &["FLUSHDB", "ASYNC"]].into_iter().enumerate() {
        for key in ["a", "b"] {
            cache.get_with(key, TTL, || found("v")).unwrap();
            assert_eq!(seen(cache.get(key)), "v from near");
        }
        server.connect().ok(flush);
        wait_until("the flush is known", || cache.stats().flushes == round as u64 + 1);
        assert_eq!(seen(cache.get("a")), "nothing from redis");
        assert_eq!(seen(cache.get_with("b", TTL, || found("w"))), "w from loaded");
        assert_eq!(seen(cache.get("b")), "w from near");
        assert!(cache.remove("b").unwrap());
    }
}

fn a_lost_connection_empties_the_near_cache<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    raw.ok(&["SET", "k", "old"]);
    assert_eq!(seen(cache.get("k")), "old from redis");
    assert_eq!(seen(cache.get("k")), "old from near");
    // The change is made in one step, so that no client receives a push.
    raw.ok(&["MULTI"]);
    for command in
        [&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"][..], &["SET", "k", "new"]]
    {
        assert_eq!(raw.call(command), b"+QUEUED\r\n");
    }
    raw.call(&["EXEC"]);
    wait_until("the loss is known", || seen(cache.get("k")) != "old from near");
    assert!(seen(cache.get("k")).starts_with("new from"));
    assert_eq!(cache.stats().connections, 2);
    assert_eq!(seen(cache.get("k")), "new from near");
}

fn an_eviction_by_an_own_write_reaches_the_near_cache<C: Cache>() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-random"]);
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    cache.insert("k", "v", TTL).unwrap();
    assert_eq!(seen(cache.get("k")), "v from redis");
    raw.ok(&["CONFIG", "SET", "maxmemory", "4mb"]);
    let mut number = 0;
    while raw.integer(&["EXISTS", "k"]) == 1 {
        assert!(number < 10_000, "the server evicts nothing");
        cache.insert(format!("filler:{number}"), vec![b'v'; 100_000], TTL).unwrap();
        number += 1;
    }
    wait_until("the eviction is known", || seen(cache.get("k")) == "nothing from redis");
}

fn a_full_tracking_table_costs_hits_and_nothing_else<C: Cache>() {
    let server = RedisServer::start_with(&["--tracking-table-max-keys", "2"]);
    let cache = connected::<C>(server.url());
    let mut raw = server.connect();
    let keys: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    for key in &keys {
        assert_eq!(seen(cache.get_with(key, TTL, || found("old"))), "old from loaded");
    }
    for key in &keys {
        raw.ok(&["SET", key, "new"]);
        wait_until("the new value", || seen(cache.get(key)).starts_with("new from"));
    }
}

fn the_near_cache_stays_within_its_bytes<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?near_cache_bytes=64KiB");
    for number in 0..1000 {
        let key = number.to_string();
        cache.get_with(&key, TTL, || found("v".repeat(1000))).unwrap();
        let stats = cache.stats();
        assert!(stats.near_bytes <= 64 << 10, "{stats:?}");
    }
    assert!(cache.stats().near_entries > 10, "{:?}", cache.stats());
}

fn without_bytes_every_read_goes_to_redis<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?near_cache_bytes=0");
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
    for _ in 0..2 {
        assert_eq!(seen(cache.get("k")), "v from redis");
        assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "v from redis");
    }
    assert_eq!((cache.stats().near_hits, cache.stats().near_entries), (0, 0));
}

fn an_entry_keeps_no_larger_buffer_alive<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let buffer = Bytes::from(vec![b'v'; 1 << 20]);
    let part = || Ok::<_, Boom>(Loaded::value(buffer.slice(100..200)));
    cache.get_with("read", TTL, part).unwrap();
    cache.insert_with("written", TTL, part).unwrap();
    for key in ["read", "written"] {
        let near = cache.get_with(key, TTL, must_not_load).unwrap();
        assert_eq!((near.source, near.value.as_ref().unwrap().len()), (Source::Near, 100));
        let at = near.value.unwrap().as_ptr();
        assert!(!buffer.as_ptr_range().contains(&at), "{key} shares the buffer");
    }
}

fn a_value_too_large_for_the_near_cache_is_counted<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?near_cache_bytes=1MiB");
    cache.get_with("small", TTL, || found(vec![b'v'; 50 << 10])).unwrap();
    cache.get_with("large", TTL, || found(vec![b'v'; 70 << 10])).unwrap();
    assert_eq!(cache.get("small").unwrap().source, Source::Near);
    assert_eq!(cache.get("large").unwrap().source, Source::Redis);
    assert_eq!(cache.stats().near_oversized, 2, "once published, once read");
}
