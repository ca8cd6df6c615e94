//! `get_with` and `get_many_with` for one caller: values that are loaded, stored, remembered or
//! rejected.

use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use redcache_core::{ErrorKind, Key, Loaded, Source};
use redcache_tests::{Direction, Proxy};

use super::cache::Cache;
use super::scene::{
    Boom, Kind, LONG_LOCK, Notices, TTL, all_seen, cache_error, connected, found, load_error,
    must_not_load, names_found, observed, seen, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_miss_is_loaded_stored_and_near,
    a_value_that_is_not_found_is_remembered_by_every_client,
    a_present_value_is_not_loaded,
    a_loader_may_borrow_what_its_caller_owns,
    a_loader_may_choose_a_ttl_of_its_own,
    a_loader_may_return_a_value_that_is_not_stored,
    a_batch_loads_exactly_the_keys_without_a_value,
    a_batch_stores_missing_keys_as_not_found_and_ignores_extra_ones,
    a_failed_load_returns_its_error_and_releases_the_lock,
    a_failed_batch_load_fails_only_the_keys_that_it_was_asked_for,
    a_loader_that_panics_releases_its_lock,
    a_batch_loader_that_panics_releases_its_locks,
    a_ttl_under_a_millisecond_is_rejected_before_it_is_sent,
    a_loaded_ttl_of_zero_is_not_stored_and_causes_a_notice,
    a_cold_miss_costs_two_round_trips_and_the_next_read_none,
    a_load_is_stored_although_the_round_trip_is_longer_than_a_lock_lives,
];

fn a_miss_is_loaded_stored_and_near<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    let answer = cache.get_with("k", TTL, || found("v")).unwrap();
    assert_eq!((answer.value.as_deref(), answer.source), (Some(&b"v"[..]), Source::Loaded));
    assert_eq!((answer.ttl, answer.age), (Some(TTL), Some(Duration::ZERO)));
    let mut raw = server.connect();
    let stored = raw.get("k").unwrap();
    assert!(stored.starts_with(b"__redcache:v1:") && stored.ends_with(b":v"));
    let ttl = raw.integer(&["PTTL", "k"]);
    assert!((30_000..=60_000).contains(&ttl), "{ttl}");
    assert_eq!(seen(cache.get("k")), "v from near");
    assert_eq!(seen(other.get_with("k", TTL, must_not_load)), "v from redis");
    assert_eq!((cache.stats().loads, other.stats().loads), (1, 0));
}

fn a_value_that_is_not_found_is_remembered_by_every_client<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    let nothing = || Ok::<_, Boom>(Loaded::not_found());
    assert_eq!(seen(cache.get_with("k", TTL, nothing)), "nothing from loaded");
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "nothing from near");
    assert_eq!(seen(cache.get("k")), "nothing from near");
    assert_eq!(seen(other.get_with("k", TTL, must_not_load)), "nothing from redis");
    assert_eq!(seen(other.get("k")), "nothing from near");
    assert!(cache.remove("k").unwrap());
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_present_value_is_not_loaded<C: Cache>() {
    let server = Server::start();
    server.connect().ok(&["SET", "k", "v"]);
    let cache = connected::<C>(server.url());
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "v from redis");
    assert_eq!(seen(cache.get_with("k", TTL, must_not_load)), "v from near");
    // The lock attempt of the first read has left no trace.
    assert_eq!(server.connect().get("k").unwrap(), b"v");
    assert_eq!(server.connect().integer(&["PTTL", "k"]), -1);
}

fn a_loader_may_borrow_what_its_caller_owns<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let row = String::from("row");
    let mut queries = 0;
    // The loader is neither `'static` nor `Send`.
    let not_send = std::rc::Rc::new(());
    let answer = cache.get_with("k", TTL, || {
        queries += std::rc::Rc::strong_count(&not_send);
        found(&row)
    });
    assert_eq!(seen(answer), "row from loaded");
    let answers = cache.get_many_with(&["a", "b"], TTL, |keys| {
        queries += 1;
        let rows = keys.into_iter().map(|key| (key, row.clone().into())).collect();
        Ok::<_, Boom>(rows)
    });
    assert_eq!(all_seen(answers), ["row from loaded"; 2]);
    assert_eq!(queries, 2);
}

fn a_loader_may_choose_a_ttl_of_its_own<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let own = Duration::from_secs(5);
    let answer = cache.get_with("k", TTL, || Ok::<_, Boom>(Loaded::value("v").with_ttl(own)));
    assert_eq!(answer.unwrap().ttl, Some(own));
    let ttl = server.connect().integer(&["PTTL", "k"]);
    assert!((1..=5_000).contains(&ttl), "{ttl}");
}

fn a_loader_may_return_a_value_that_is_not_stored<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    for _ in 0..2 {
        let answer = cache.get_with("k", TTL, || Ok::<_, Boom>(Loaded::value("v").do_not_store()));
        let answer = answer.unwrap();
        assert_eq!((answer.value.as_deref(), answer.ttl), (Some(&b"v"[..]), None));
    }
    assert_eq!(seen(cache.get("k")), "nothing from redis");
    assert_eq!(server.connect().get("k"), None);
}

fn a_batch_loads_exactly_the_keys_without_a_value<C: Cache>() {
    let server = Server::start();
    server.connect().set_each(&["near", "1", "far", "2"]);
    let cache = connected::<C>(server.url());
    cache.get("near").unwrap();
    let mut asked = Vec::new();
    let keys = ["a", "near", "b", "far", "a"];
    let answers = cache.get_many_with(&keys, TTL, |keys| {
        asked.push(keys.clone());
        names_found(keys)
    });
    assert_eq!(
        all_seen(answers),
        ["a from loaded", "1 from near", "b from loaded", "2 from redis", "a from joined"]
    );
    assert_eq!(asked, [[Key::from("a"), Key::from("b")]]);
    assert_eq!(cache.stats().loads, 2);
    let near = keys.map(|key| seen(cache.get(key)));
    assert_eq!(near, ["a from near", "1 from near", "b from near", "2 from near", "a from near"]);
    assert!(server.connect().get("a").unwrap().ends_with(b":a"));
}

fn a_batch_stores_missing_keys_as_not_found_and_ignores_extra_ones<C: Cache>() {
    let server = Server::start();
    let (cache, other) = (connected::<C>(server.url()), connected::<C>(server.url()));
    let answers = cache.get_many_with(&["a", "gone"], TTL, |_| {
        let rows = [("a", "1"), ("extra", "2"), ("another", "3")];
        Ok::<_, Boom>(rows.map(|(key, row)| (key.into(), row.into())).to_vec())
    });
    assert_eq!(all_seen(answers), ["1 from loaded", "nothing from loaded"]);
    assert_eq!(cache.stats().extra_keys, 2);
    assert_eq!(seen(other.get_with("gone", TTL, must_not_load)), "nothing from redis");
    assert_eq!(server.connect().integer(&["EXISTS", "extra", "another"]), 0);
    assert_eq!(server.connect().integer(&["DBSIZE"]), 2);
}

fn a_failed_load_returns_its_error_and_releases_the_lock<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    let error = load_error(cache.get_with("k", TTL, || Err(Boom("no such table"))));
    assert_eq!(*error, Boom("no such table"));
    assert_eq!(cache.stats().load_failures, 1);
    // The failure is not cached.
    assert_eq!(seen(other.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from redis");
}

fn a_failed_batch_load_fails_only_the_keys_that_it_was_asked_for<C: Cache>() {
    let server = Server::start();
    server.connect().ok(&["SET", "there", "1"]);
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let failing = |_| Err(Boom("no such table"));
    let mut answers = cache.get_many_with(&["a", "there", "b"], TTL, failing).unwrap();
    assert_eq!(seen(answers.remove(1)), "1 from redis");
    for answer in answers {
        assert_eq!(*load_error(answer), Boom("no such table"));
    }
    wait_until("the locks are back", || server.connect().integer(&["DBSIZE"]) == 1);
}

fn a_loader_that_panics_releases_its_lock<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        cache.get_with("k", TTL, || -> Result<_, Boom> { panic!("a bug in a loader") })
    }));
    let cause = panicked.unwrap_err();
    assert_eq!(cause.downcast_ref(), Some(&"a bug in a loader"));
    assert_eq!(seen(other.get_with("k", TTL, || found("v"))), "v from loaded");
    assert_eq!(seen(cache.get("k")), "v from redis");
    wait_until_idle(&cache);
}

fn a_batch_loader_that_panics_releases_its_locks<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let panicked = panic::catch_unwind(AssertUnwindSafe(|| {
        let loader = |_| -> Result<_, Boom> { panic!("a bug in a loader") };
        cache.get_many_with(&["a", "b"], TTL, loader)
    }));
    panicked.unwrap_err();
    wait_until("the locks are back", || server.connect().integer(&["DBSIZE"]) == 0);
    wait_until_idle(&cache);
}

fn a_ttl_under_a_millisecond_is_rejected_before_it_is_sent<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    proxy.clear();
    for ttl in [Duration::ZERO, Duration::from_micros(999)] {
        let refusals = [
            cache_error(cache.get_with("k", ttl, must_not_load)),
            cache_error(cache.get_many_with(&["k"], ttl, |_| Err(Boom("the loader ran")))),
            cache_error(cache.insert("k", "v", ttl)),
            cache_error(cache.insert_many(vec![("k", "v".into())], ttl)),
            cache_error(cache.touch("k", ttl)),
            cache_error(cache.touch_many(&["k"], ttl)),
        ];
        for error in refusals {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("at least 1ms"), "{error}");
        }
    }
    assert_eq!(proxy.commands().len(), 0);
    assert_eq!((cache.stats().calls, cache.stats().loads), (0, 0));
    cache.insert("k", "v", Duration::from_millis(1)).unwrap();
    assert_eq!(proxy.commands().len(), 1);
}

fn a_loaded_ttl_of_zero_is_not_stored_and_causes_a_notice<C: Cache>() {
    let server = Server::start();
    let notices = Notices::default();
    let cache = observed::<C>(server.url() + LONG_LOCK, notices.clone());
    let hasty = Loaded::value("v").with_ttl(Duration::ZERO);
    assert_eq!(seen(cache.get_with("k", TTL, || Ok::<_, Boom>(hasty))), "v from loaded");
    notices.wait_for(1, Kind::NotStored);
    assert_eq!(cache.stats().not_stored, 1);
    assert!(notices.text().contains("NotStored: k "), "{}", notices.text());
    assert!(notices.text().contains("at least 1ms"), "{}", notices.text());
    assert_eq!(seen(cache.get_with("k", TTL, || found("w"))), "w from loaded");
    assert_eq!(seen(cache.get("k")), "w from near");
}

fn a_cold_miss_costs_two_round_trips_and_the_next_read_none<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let cache = connected::<C>(proxy.url());
    wait_until_idle(&cache);
    for (number, key) in ["first", "second"].into_iter().enumerate() {
        proxy.clear();
        assert_eq!(seen(cache.get_with(key, TTL, || found("v"))), "v from loaded");
        let words = |command: &Vec<Vec<u8>>| command[0].escape_ascii().to_string();
        let commands: Vec<_> = proxy.commands().iter().map(words).collect();
        // The first use of a script carries its source, which costs no round trip.
        let script = ["EVAL", "EVALSHA"][number];
        let publish: &[_] =
            if server.is_valkey() { &["MULTI", "SET", "EXISTS", "EXEC"] } else { &[script] };
        assert_eq!(commands, [&["GET", "PTTL", "SET"], publish].concat());
        assert_eq!(proxy.round_trips(), 2);
        assert_eq!(seen(cache.get_with(key, TTL, must_not_load)), "v from near");
        assert_eq!(seen(cache.get(key)), "v from near");
        assert_eq!((proxy.round_trips(), proxy.commands().len()), (2, commands.len()));
    }
}

fn a_load_is_stored_although_the_round_trip_is_longer_than_a_lock_lives<C: Cache>() {
    let server = Server::start();
    let proxy = Proxy::start(server.address());
    let notices = Notices::default();
    let cache: C = observed(proxy.url() + "?lock_ttl=100ms", notices.clone());
    for direction in [Direction::ToServer, Direction::ToClient] {
        proxy.set_delay(direction, Duration::from_millis(80));
    }
    // A lock of the configured TTL expires before any publication arrives.
    let (mut raw, mut number) = (server.connect(), 0);
    wait_until("a loaded value is stored", || {
        number += 1;
        let key = format!("k{number}");
        assert_eq!(seen(cache.get_with(&key, TTL, || found("v"))), "v from loaded");
        raw.get(&key).is_some_and(|stored| stored.ends_with(b":v"))
    });
    notices.wait_for(1, Kind::LockExtended);
    wait_until_idle(&cache);
}
