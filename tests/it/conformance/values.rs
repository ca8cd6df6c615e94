//! Keys and values of every content and size that Redis can hold, and invalid ones.

use bytes::Bytes;
use redcache_core::{ErrorKind, Key, LOCK_PREFIX, Loaded, NOT_FOUND_MARKER};
use redcache_tests::{Direction, Proxy};

use super::cache::Cache;
use super::scene::{
    Boom, Kind, LONG_LOCK, Notices, TTL, all_seen, cache_error, connected, found, must_not_load,
    observed, seen, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    any_bytes_are_a_key_and_a_value,
    a_foreign_value_that_resembles_an_envelope_is_returned_unchanged,
    a_foreign_value_is_read_unchanged,
    a_value_equal_to_the_marker_is_never_stored,
    values_of_a_mebibyte_come_back_whole,
    a_connection_that_crawls_carries_the_same_bytes,
    a_value_beyond_the_limit_is_returned_but_not_stored,
    a_key_beyond_the_limit_is_rejected,
    a_stored_value_beyond_the_limit_fails_its_own_reader_alone,
    a_hash_under_the_key_is_an_error_that_names_it_and_the_rest_of_the_batch_is_fine,
];

fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

/// Load, insert and read a value, from Redis and from the near cache.
#[track_caller]
fn check_round_trip<C: Cache>([cache, other]: [&C; 2], key: &[u8], value: &[u8]) {
    let read = |cache: &C| cache.get(key).unwrap().value;
    let expected = Some(Bytes::copy_from_slice(value));
    let loaded = cache.get_with(key, TTL, || found(value)).unwrap();
    assert_eq!(loaded.value, expected);
    assert_eq!([read(cache), read(other), read(other)], [(); 3].map(|()| expected.clone()));
    assert!(other.remove(key).unwrap());
    let asked = [Key::copy_from(key)];
    let loaded = other.get_many_with(&asked, TTL, |keys| {
        assert_eq!(keys, asked);
        Ok::<_, Boom>(vec![(keys[0].clone(), Loaded::value(value.to_vec()))])
    });
    assert_eq!(loaded.unwrap().remove(0).unwrap().value, expected);
    other.insert(key, value.to_vec(), TTL).unwrap();
    assert!(other.touch(key, TTL).unwrap());
    assert_eq!([read(other), read(other)], [expected.clone(), expected]);
    assert!(other.remove(key).unwrap());
    wait_until("the removal is known", || read(cache).is_none());
}

fn any_bytes_are_a_key_and_a_value<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    let every_byte = every_byte();
    let contents = [
        &every_byte[..],
        b"",
        b"\r\n",
        b"a\r\nb\r\n",
        b">2\r\n$10\r\ninvalidate\r\n_\r\n",
        b"$-1\r\n",
        b"-ERR no\r\n",
        b"\0",
        "\u{1f980} Gr\u{fc}\u{df}e".as_bytes(),
        b"{tag}:1",
    ];
    for content in contents {
        check_round_trip([&cache, &other], content, content);
        check_round_trip([&cache, &other], b"k", content);
        check_round_trip([&cache, &other], content, b"v");
    }
}

fn a_foreign_value_that_resembles_an_envelope_is_returned_unchanged<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    for value in [
        LOCK_PREFIX,
        "__redcache:lock:0192d3a0-0000-7000-8000-000000000000:1",
        "__redcache:v1:",
        "__redcache:v1:99:body",
        "__redcache:v1:notanumber:body",
        "__redcache:v1:-5:body",
        "__redcache:",
    ] {
        check_round_trip([&cache, &other], b"k", value.as_bytes());
        check_round_trip([&cache, &other], value.as_bytes(), b"v");
    }
}

fn a_foreign_value_is_read_unchanged<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    for (stored, value) in [
        ("", ""),
        ("plain", "plain"),
        ("__redcache:v1:100000000:hello", "hello"),
        ("__redcache:v1:0:", ""),
        ("__redcache:v1:5000000:__redcache:v1:99:body", "__redcache:v1:99:body"),
        ("__redcache:v1:notanumber:body", "__redcache:v1:notanumber:body"),
        ("__redcache:v1:-5:body", "__redcache:v1:-5:body"),
        ("__redcache:v1:nocolons", "__redcache:v1:nocolons"),
        ("__redcache:v2:1:x", "__redcache:v2:1:x"),
    ] {
        server.connect().ok(&["SET", stored, stored]);
        assert_eq!(seen(cache.get(stored)), format!("{value} from redis"));
        assert_eq!(seen(cache.get_with(stored, TTL, must_not_load)), format!("{value} from near"));
    }
}

fn a_value_equal_to_the_marker_is_never_stored<C: Cache>() {
    let server = Server::start();
    let notices = Notices::default();
    let cache = observed::<C>(server.url() + LONG_LOCK, notices.clone());
    let error = cache_error(cache.insert("k", NOT_FOUND_MARKER, TTL));
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some(&Key::from("k"))));
    let entries = vec![("l", "fine".into()), ("k", Bytes::from_static(NOT_FOUND_MARKER))];
    let error = cache_error(cache.insert_many(entries, TTL));
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some(&Key::from("k"))));
    assert_eq!(server.connect().integer(&["DBSIZE"]), 0);
    let loaded = cache.get_with("k", TTL, || found(NOT_FOUND_MARKER)).unwrap();
    assert_eq!(loaded.value.as_deref(), Some(NOT_FOUND_MARKER));
    notices.wait_for(1, Kind::NotStored);
    // The caller gets the value, and no later read treats it as "not found".
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn values_of_a_mebibyte_come_back_whole<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    // No two parts of the value are equal.
    let value: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    check_round_trip([&cache, &other], b"k", &value);
    let entries = (0..8).map(|number| (format!("k:{number}"), value.clone().into()));
    assert!(cache.insert_many(entries.collect(), TTL).unwrap().iter().all(Result::is_ok));
    let keys: Vec<_> = (0..8).map(|number| format!("k:{number}")).collect();
    for answer in other.get_many(&keys).unwrap() {
        assert!(answer.unwrap().value.unwrap() == value);
    }
}

fn a_connection_that_crawls_carries_the_same_bytes<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set_chunk_max(direction, Some(1));
    }
    let (cache, other) = (connected::<C>(proxy.url()), connected::<C>(server.url()));
    check_round_trip([&cache, &other], &every_byte(), &every_byte());
    check_round_trip([&other, &cache], b"", b"");
}

fn a_value_beyond_the_limit_is_returned_but_not_stored<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let notices = Notices::default();
    let cache = observed::<C>(proxy.url() + LONG_LOCK + "&value_max=10", notices.clone());
    wait_until_idle(&cache);
    proxy.clear();
    let (fits, too_large) = ("0123456789", "0123456789a");
    let error = cache_error(cache.insert("k", too_large, TTL));
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some(&Key::from("k"))));
    assert!(error.to_string().contains("11 bytes; `value_max` allows 10"), "{error}");
    assert!(!error.to_string().contains(too_large));
    let entries = vec![("l", fits.into()), ("k", too_large.into())];
    assert_eq!(cache_error(cache.insert_many(entries, TTL)).kind(), ErrorKind::InvalidInput);
    assert_eq!(proxy.commands().len(), 0);
    // The call is made twice, which needs the lock to be released.
    for count in 1..=2 {
        let answer = cache.get_with("k", TTL, || found(too_large));
        assert_eq!(seen(answer), format!("{too_large} from loaded"));
        notices.wait_for(count, Kind::NotStored);
    }
    cache.insert("k", fits, TTL).unwrap();
    assert_eq!(seen(cache.get("k")), "0123456789 from redis");
    wait_until_idle(&cache);
}

fn a_key_beyond_the_limit_is_rejected<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + "?value_max=10");
    let key = "0123456789a";
    for error in [
        cache_error(cache.get(key)),
        cache_error(cache.get_with(key, TTL, must_not_load)),
        cache_error(cache.get_many(&["k", key])),
        cache_error(cache.insert(key, "v", TTL)),
        cache_error(cache.remove(key)),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidInput, Some(&Key::from(key))));
    }
    assert_eq!(cache.stats().calls, 0);
}

fn a_stored_value_beyond_the_limit_fails_its_own_reader_alone<C: Cache>() {
    let server = Server::start();
    server.connect().set_each(&["large", &"v".repeat(1000), "a", "1", "b", "2"]);
    let notices = Notices::default();
    let url = server.url() + "?value_max=100&near_cache_bytes=0";
    let cache = observed::<C>(url, notices.clone());
    let keys = ["a", "large", "b"];
    let mut batch = cache.get_many(&keys).unwrap();
    let in_batch = cache_error(batch.remove(1));
    assert_eq!(all_seen(Ok(batch)), ["1 from redis", "2 from redis"]);
    let mut batch = cache.get_many_with(&keys, TTL, |_| Err(Boom("the loader ran"))).unwrap();
    let in_batch_with = cache_error(batch.remove(1));
    assert_eq!(all_seen(Ok(batch)), ["1 from redis", "2 from redis"]);
    for error in [
        cache_error(cache.get("large")),
        cache_error(cache.get_with("large", TTL, must_not_load)),
        in_batch,
        in_batch_with,
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Protocol, Some(&Key::from("large"))));
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("1000 bytes, more than `value_max`"), "{error}");
    }
    assert_eq!(notices.count(Kind::Disconnected), 0);
    assert_eq!(seen(cache.get("a")), "1 from redis");
    wait_until_idle(&cache);
}

fn a_hash_under_the_key_is_an_error_that_names_it_and_the_rest_of_the_batch_is_fine<C: Cache>() {
    let server = Server::start();
    let mut raw = server.connect();
    assert_eq!(raw.integer(&["HSET", "hash", "field", "value"]), 1);
    raw.ok(&["SET", "k", "v"]);
    let cache = connected::<C>(server.url());
    let mut batch = cache.get_many(&["k", "hash", "absent"]).unwrap();
    let in_batch = cache_error(batch.remove(1));
    assert_eq!(all_seen(Ok(batch)), ["v from redis", "nothing from redis"]);
    let load = |keys: Vec<Key>| {
        assert_eq!(keys, [Key::from("absent")]);
        Ok::<_, Boom>(vec![(keys[0].clone(), "loaded".into())])
    };
    let mut batch = cache.get_many_with(&["hash", "k", "absent"], TTL, load).unwrap();
    let in_batch_with = cache_error(batch.remove(0));
    assert_eq!(all_seen(Ok(batch)), ["v from near", "loaded from loaded"]);
    for error in [
        cache_error(cache.get("hash")),
        cache_error(cache.get_with("hash", TTL, must_not_load)),
        cache_error(cache.touch("hash", TTL)),
        in_batch,
        in_batch_with,
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Server, Some(&Key::from("hash"))));
        assert!(error.to_string().contains("WRONGTYPE"), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(raw.call(&["TYPE", "hash"]), b"+hash\r\n");
    cache.insert("hash", "a string now", TTL).unwrap();
    assert_eq!(seen(cache.get("hash")), "a string now from redis");
    assert_eq!(cache.stats().connections, 1);
}
