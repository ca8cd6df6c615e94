//! Redis Sentinel. Each scenario runs on every adapter against its own real group.

use std::time::{Duration, Instant};

mod load;

use redcache_core::Source;
use redcache_tests::RedisSentinel;

use crate::conformance::cache::Cache;
use crate::conformance::scene::{TTL, found, wait_until};
use load::{Group, Load};

with_a_server_of_its_own![
    the_primary_is_found_and_a_failover_by_command_is_followed,
    a_primary_that_is_killed_is_replaced,
    a_frozen_primary_that_wakes_up_is_not_used_again,
    a_sentinel_that_dies_is_replaced_by_another,
    an_unknown_service_is_told_by_name,
    under_load_a_failover_by_command_leaves_no_old_copy_and_no_error,
    under_load_a_killed_primary_leaves_no_old_copy_and_no_error,
    under_load_a_frozen_primary_leaves_no_old_copy_and_no_error,
];

/// The time within which calls succeed after a switch.
const SWITCH_MAX: Duration = Duration::from_secs(2);

fn opened<C: Cache>(group: &RedisSentinel) -> C {
    C::connect(format!("{}?command_timeout=1s&heartbeat_interval=1s", group.url())).unwrap()
}

/// Repeat a write until it succeeds.
#[track_caller]
fn write_again<C: Cache>(cache: &C, key: &str, value: &str) {
    let begun = Instant::now();
    while let Err(error) = cache.insert(key, value.to_owned(), TTL) {
        assert!(error.is_retryable(), "{error}");
        assert!(begun.elapsed() < SWITCH_MAX * 10, "{error}");
    }
}

fn the_primary_is_found_and_a_failover_by_command_is_followed<C: Cache>() {
    let group = RedisSentinel::start();
    let cache: C = opened(&group);
    assert!(cache.is_tracked());
    cache.insert("k", "old", TTL).unwrap();
    cache.get("k").unwrap();
    assert_eq!(cache.get("k").unwrap().source, Source::Near);
    group.fail_over();
    let new = group.primary();
    // The old primary still answers, and would not report this change.
    group.server(new).connect().ok(&["SET", "k", "new"]);
    wait_until("the copy of the old primary is gone", || {
        cache.get("k").is_ok_and(|answer| answer.value.as_deref() == Some(b"new"))
    });
    write_again(&cache, "after", "the switch");
    assert!(group.server(new).connect().get("after").is_some());
}

fn a_primary_that_is_killed_is_replaced<C: Cache>() {
    let mut group = RedisSentinel::start();
    let cache: C = opened(&group);
    cache.insert("k", "v", TTL).unwrap();
    let old = group.primary();
    group.server_mut(old).stop();
    group.wait_for_another_primary(old);
    write_again(&cache, "k", "w");
    assert_eq!(cache.get_with("other", TTL, || found("loaded")).unwrap().source, Source::Loaded);
    let mut client = group.server(group.primary()).connect();
    assert!(client.get("k").is_some() && client.get("other").is_some());
    // The old primary comes back alone, before the sentinels make it a replica.
    group.server_mut(old).restart();
    write_again(&cache, "k", "x");
    assert!(client.get("k").unwrap().ends_with(b":x"));
}

fn a_frozen_primary_that_wakes_up_is_not_used_again<C: Cache>() {
    let group = RedisSentinel::start();
    let cache: C = opened(&group);
    cache.insert("k", "old", TTL).unwrap();
    let old = group.primary();
    group.server(old).pause();
    group.wait_for_another_primary(old);
    let new = group.primary();
    write_again(&cache, "k", "new");
    group.server(old).resume();
    for round in 0..20 {
        let value = format!("{round}");
        write_again(&cache, "k", &value);
        let raw = group.server(new).connect().get("k").unwrap();
        assert!(raw.ends_with(value.as_bytes()), "a write went elsewhere");
    }
}

fn a_sentinel_that_dies_is_replaced_by_another<C: Cache>() {
    let mut group = RedisSentinel::start();
    let cache: C = opened(&group);
    // Two sentinels are left to agree, whichever one the cache has queried.
    group.stop_sentinel(0);
    cache.insert("k", "v", TTL).unwrap();
    let old = group.primary();
    group.server_mut(old).stop();
    group.wait_for_another_primary(old);
    write_again(&cache, "k", "w");
    assert!(group.server(group.primary()).connect().get("k").is_some());
}

/// Start callers that wait for the failover instead of timing out.
fn loaded<C: Cache>(group: &RedisSentinel) -> Load<C> {
    let url = format!("{}?command_timeout=20s&heartbeat_interval=1s", group.url());
    Load::new(C::connect(url).unwrap())
}

fn under_load_a_failover_by_command_leaves_no_old_copy_and_no_error<C: Cache>() {
    let group = RedisSentinel::start();
    let load: Load<C> = loaded(&group);
    load.run(|| {
        group.fail_over();
        load.check_failover(&Group::new(&group), Instant::now());
    });
}

fn under_load_a_killed_primary_leaves_no_old_copy_and_no_error<C: Cache>() {
    let mut group = RedisSentinel::start();
    let load: Load<C> = loaded(&group);
    load.run(|| {
        let old = group.primary();
        group.server_mut(old).stop();
        group.wait_for_another_primary(old);
        load.check_failover(&Group::new(&group), Instant::now());
    });
}

fn under_load_a_frozen_primary_leaves_no_old_copy_and_no_error<C: Cache>() {
    let group = RedisSentinel::start();
    let load: Load<C> = loaded(&group);
    load.run(|| {
        let old = group.primary();
        group.server(old).pause();
        group.wait_for_another_primary(old);
        let switched_at = Instant::now();
        let after = Group::new(&group);
        load.check_failover(&after, switched_at);
        // The old primary does not know yet that it was replaced.
        group.server(old).resume();
        load.check_writes(&after);
    });
}

fn an_unknown_service_is_told_by_name<C: Cache>() {
    let group = RedisSentinel::start();
    let url = group.url().replace("/cache", "/nothing");
    let error = C::connect(&url).map(drop).unwrap_err();
    assert!(error.to_string().contains("no service `nothing`"), "{error}");
}
