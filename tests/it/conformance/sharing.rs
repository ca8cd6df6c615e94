//! Many callers of one key: one of all processes loads, and the others share the result.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use redcache_core::{Answer, ErrorKind, LoadError, SharedError};
use redcache_tests::Raw;

use super::cache::Cache;
use super::scene::{
    AT_ONCE, Boom, LONG_LOCK, TTL, all_found, all_seen, cache_error, connected, found, gate,
    load_error, must_not_load, names_found, seen, timed, wait_until, wait_until_idle,
};
use super::server::Server;

on_every_adapter![
    a_thousand_callers_of_one_process_cause_one_load,
    eight_clients_with_their_own_connections_cause_one_load,
    twenty_clients_on_one_deleted_key_stay_within_their_budget,
    every_caller_that_joined_a_failed_load_gets_its_error,
    a_caller_with_another_error_type_gets_the_text,
    a_leader_that_panics_is_followed_by_the_next_in_line,
    a_leader_that_panics_in_a_batch_is_followed_by_the_next_in_line,
    overlapping_batches_load_each_key_once,
    a_batch_loads_the_free_keys_while_others_load_the_rest,
];

fn a_thousand_callers_of_one_process_cause_one_load<C: Cache>() {
    const CALLERS: u64 = 1000;
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let loads = AtomicU32::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        wait_until("all have called", || cache.stats().calls == CALLERS);
        found("v")
    };
    let answers = thread::scope(|scope| {
        let call = |_| scope.spawn(|| seen(cache.get_with("k", TTL, load)));
        let calls: Vec<_> = (0..CALLERS).map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(loads.into_inner(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v from loaded").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v from joined").count(), 999);
    let stats = cache.stats();
    assert_eq!((stats.loads, stats.joined), (1, CALLERS - 1));
    wait_until_idle(&cache);
}

fn eight_clients_with_their_own_connections_cause_one_load<C: Cache>() {
    let server = Server::start();
    let clients: Vec<C> = (0..8).map(|_| connected(server.url() + LONG_LOCK)).collect();
    let loads = AtomicU32::new(0);
    let load = || {
        loads.fetch_add(1, Ordering::Relaxed);
        let waiting = || clients.iter().filter(|client| client.stats().lock_waits > 0).count();
        wait_until("the others wait", || waiting() == 7);
        found("v")
    };
    let (answers, elapsed) = timed(|| {
        thread::scope(|scope| {
            let call = |client: &'_ C| {
                let client = client.clone();
                scope.spawn(move || seen(client.get_with("k", TTL, load)))
            };
            let calls: Vec<_> = clients.iter().map(call).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        })
    });
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v from loaded").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "v from redis").count(), 7);
    assert!(elapsed < 2 * AT_ONCE, "{elapsed:?}");
    for client in &clients {
        assert_eq!(seen(client.get("k")), "v from near");
    }
}

/// Return the number of calls of a command, within scripts too.
fn calls(raw: &mut Raw, command: &str) -> u64 {
    let report = String::from_utf8(raw.call(&["INFO", "commandstats"])).unwrap();
    let name = format!("cmdstat_{command}:calls=");
    let count = report.lines().find_map(|line| line.strip_prefix(name.as_str()));
    count.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

fn twenty_clients_on_one_deleted_key_stay_within_their_budget<C: Cache>() {
    const CLIENTS: u64 = 20;
    let server = Server::start();
    let clients: Vec<C> = (0..CLIENTS).map(|_| connected(server.url() + LONG_LOCK)).collect();
    let mut raw = server.connect();
    for client in &clients {
        client.get_with("k", TTL, || found("old")).unwrap();
        assert_eq!(seen(client.get("k")), "old from near");
    }
    raw.ok(&["CONFIG", "RESETSTAT"]);
    assert_eq!(raw.integer(&["DEL", "k"]), 1);
    for client in &clients {
        wait_until("the deletion is known", || client.stats().near_entries == 0);
    }
    let load = || {
        let waiting = || clients.iter().filter(|client| client.stats().flights > 0).count();
        wait_until("all ask", || waiting() as u64 == CLIENTS);
        found("new")
    };
    thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || assert!(seen(client.get_with("k", TTL, load)).starts_with("new")));
        }
    });
    let loads: u64 = clients.iter().map(|client| client.stats().loads).sum();
    assert_eq!(loads, 2, "one before the deletion and one after it");
    let publishes = ["eval", "evalsha", "exec"].map(|command| calls(&mut raw, command));
    let publishes: u64 = publishes.into_iter().sum();
    // Each publish sets the key as well.
    let lock_attempts = calls(&mut raw, "set") - publishes;
    let reads = calls(&mut raw, "get");
    assert_eq!((publishes, lock_attempts), (1, CLIENTS));
    assert!(reads <= 45, "{reads} reads");
}

fn every_caller_that_joined_a_failed_load_gets_its_error<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let load = || {
        wait_until("all have called", || cache.stats().calls == 10);
        Err(Boom("no such table"))
    };
    let errors: Vec<SharedError<Boom>> = thread::scope(|scope| {
        let call = |_| scope.spawn(|| load_error(cache.get_with("k", TTL, load)));
        let calls: Vec<_> = (0..10).map(call).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(errors.iter().all(|error| **error == Boom("no such table")));
    assert!(errors.windows(2).all(|pair| std::ptr::eq(&*pair[0], &*pair[1])), "it is one error");
    assert_eq!(cache.stats().load_failures, 1);
    // A failure is not cached.
    assert_eq!(seen(cache.get_with("k", TTL, || found("v"))), "v from loaded");
}

fn a_caller_with_another_error_type_gets_the_text<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url());
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        let leader = scope.spawn(move || {
            let load = || door.then(Err(Boom("no such table")));
            cache.get_with("k", TTL, load)
        });
        gate.reached();
        let follower = scope.spawn(|| -> Result<Answer, LoadError<std::io::Error>> {
            cache.get_with("k", TTL, || panic!("the loader ran"))
        });
        wait_until("both are aboard", || cache.stats().calls == 2);
        gate.open();
        assert_eq!(*load_error(leader.join().unwrap()), Boom("no such table"));
        let error = cache_error(follower.join().unwrap());
        assert_eq!(error.kind(), ErrorKind::LoadFailedElsewhere);
        assert!(error.to_string().contains("no such table"), "{error}");
    });
}

fn a_leader_that_panics_is_followed_by_the_next_in_line<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        scope.spawn(move || {
            let load = || -> Result<_, Boom> {
                door.pass();
                panic!("a bug in a loader");
            };
            panic::catch_unwind(AssertUnwindSafe(|| cache.get_with("k", TTL, load))).unwrap_err();
        });
        gate.reached();
        let followers = ["first", "second"].map(|name| {
            let follower = scope.spawn(move || seen(cache.get_with("k", TTL, || found(name))));
            let aboard = if name == "first" { 2 } else { 3 };
            wait_until("it is aboard", || cache.stats().calls == aboard);
            follower
        });
        gate.open();
        let answers = followers.map(|follower| follower.join().unwrap());
        assert_eq!(answers, ["first from loaded", "first from joined"]);
    });
    // The follower has the leader's lock, so its value is stored.
    assert_eq!(seen(cache.get("k")), "first from near");
    assert_eq!(cache.stats().lock_waits, 0);
    wait_until_idle(&cache);
}

fn a_leader_that_panics_in_a_batch_is_followed_by_the_next_in_line<C: Cache>() {
    let server = Server::start();
    let cache = connected::<C>(server.url() + LONG_LOCK);
    let (gate, door) = gate();
    thread::scope(|scope| {
        let cache = &cache;
        scope.spawn(move || {
            let load = |_| -> Result<_, Boom> {
                door.pass();
                panic!("a bug in a loader");
            };
            let call = AssertUnwindSafe(|| cache.get_many_with(&["a", "b"], TTL, load));
            panic::catch_unwind(call).unwrap_err();
        });
        gate.reached();
        let follower =
            scope.spawn(move || cache.get_many_with(&["b", "a"], TTL, |keys| all_found(keys, "v")));
        wait_until("it is aboard", || cache.stats().calls == 2);
        gate.open();
        assert_eq!(all_seen(follower.join().unwrap()), ["v from loaded"; 2]);
    });
    assert_eq!(seen(cache.get("a")), "v from near");
    wait_until_idle(&cache);
}

fn overlapping_batches_load_each_key_once<C: Cache>() {
    let server = Server::start();
    let clients: Vec<C> = (0..4).map(|_| connected(server.url() + LONG_LOCK)).collect();
    let loaded = AtomicU32::new(0);
    thread::scope(|scope| {
        for number in 0..8 {
            let (client, loaded) = (&clients[number % 4], &loaded);
            scope.spawn(move || {
                // Each batch begins at another key, and all wrap around.
                let keys: Vec<_> = (0..50).map(|at| ((number * 6 + at) % 50).to_string()).collect();
                let answers = client.get_many_with(&keys, TTL, |keys| {
                    loaded.fetch_add(keys.len() as u32, Ordering::Relaxed);
                    names_found(keys)
                });
                for (key, answer) in keys.iter().zip(answers.unwrap()) {
                    assert_eq!(answer.unwrap().value.unwrap(), key);
                }
            });
        }
    });
    assert_eq!(loaded.into_inner(), 50);
}

fn a_batch_loads_the_free_keys_while_others_load_the_rest<C: Cache>() {
    let server = Server::start();
    let (cache, other) =
        (connected::<C>(server.url() + LONG_LOCK), connected::<C>(server.url() + LONG_LOCK));
    let (gate, door) = gate();
    thread::scope(|scope| {
        let holder = scope.spawn(|| other.get_with("b", TTL, move || door.then(found("theirs"))));
        gate.reached();
        let mut gate = Some(gate);
        let mut asked = Vec::new();
        let answers = cache.get_many_with(&["a", "b", "c"], TTL, |keys| {
            asked.push(keys.clone());
            // The other client loads only now: the batch has not waited for its key.
            gate.take().unwrap().open();
            all_found(keys, "ours")
        });
        assert_eq!(
            all_seen(answers),
            ["ours from loaded", "theirs from redis", "ours from loaded"]
        );
        assert_eq!(asked, [["a".into(), "c".into()]]);
        assert_eq!(seen(holder.join().unwrap()), "theirs from loaded");
    });
    assert_eq!(seen(cache.get_with("b", TTL, must_not_load)), "theirs from near");
}
