//! Every call, with keys of all nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redcache_core::ErrorKind;
use redcache_core::protocol::Slot;
use redcache_tests::{RedisCluster, RedisServer};

use super::{Shared, adapter};
use crate::conformance::cache::Cache;
use crate::conformance::scene::{
    AT_ONCE, TTL, all_seen, cache_error, connected, found, must_not_load, names_found, seen, timed,
    wait_until,
};

with_a_server_of_its_own![
    every_call_works_on_a_cluster_as_on_a_server,
    a_thousand_keys_of_all_nodes_are_one_batch,
    a_change_by_one_process_ends_the_near_copy_of_another,
    a_seed_may_be_a_replica_or_be_down,
    a_server_that_is_no_cluster_is_an_error_at_once,
    a_cold_batch_costs_each_key_one_read_one_lock_and_one_publication,
    a_cluster_with_more_databases_is_used_in_the_database_of_the_url,
];

/// The cluster that no scenario changes.
static CLUSTER: Shared<RedisCluster> = Shared::new();

fn shared() -> Arc<RedisCluster> {
    CLUSTER.get(RedisCluster::start)
}

/// A cluster with more databases than 0, if the server knows such clusters.
static DATABASES: Shared<Option<RedisCluster>> = Shared::new();

/// Return keys of a scenario, spread over all slots.
fn keys(scenario: &str, adapter: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{scenario}:{adapter}:{number}")).collect()
}

fn every_call_works_on_a_cluster_as_on_a_server<C: Cache>() {
    let cluster = shared();
    let (one, other) = (connected::<C>(cluster.url()), connected::<C>(cluster.url()));
    assert!(one.is_tracked());
    for key in keys("calls", adapter::<C>(), 20) {
        assert_eq!(seen(one.get(&key)), "nothing from redis");
        assert_eq!(seen(one.get_with(&key, TTL, || found("v"))), "v from loaded");
        assert_eq!(seen(one.get_with(&key, TTL, must_not_load)), "v from near");
        assert_eq!(seen(other.get_with(&key, TTL, must_not_load)), "v from redis");
        assert!(one.insert_with(&key, TTL, || found("w")).unwrap());
        assert_eq!(seen(one.get(&key)), "w from near");
        wait_until("the other hears of it", || seen(other.get(&key)).starts_with('w'));
        one.insert(&key, "x", TTL).unwrap();
        assert_eq!(seen(one.get(&key)), "x from redis");
        assert!(one.touch(&key, Duration::from_secs(1000)).unwrap());
        assert!(one.get(&key).unwrap().ttl.unwrap() > TTL);
        assert!(one.remove(&key).unwrap());
        assert_eq!(seen(one.get(&key)), "nothing from redis");
        assert!(!one.remove(&key).unwrap());
    }
}

fn a_thousand_keys_of_all_nodes_are_one_batch<C: Cache>() {
    let cluster = shared();
    let cache = connected::<C>(cluster.url());
    let keys = keys("batch", adapter::<C>(), 1000);
    let expect = |source: &str| -> Vec<String> {
        keys.iter().map(|key| format!("{key} from {source}")).collect()
    };
    let mut loads = 0;
    let answers = cache.get_many_with(&keys, TTL, |keys| {
        loads += 1;
        names_found(keys)
    });
    assert_eq!((all_seen(answers), loads), (expect("loaded"), 1));
    assert_eq!(all_seen(cache.get_many(&keys)), expect("near"));
    let fresh = connected::<C>(cluster.url());
    assert_eq!(all_seen(fresh.get_many(&keys)), expect("redis"));
    assert!(
        cache.insert_many_with(&keys, TTL, names_found).unwrap().into_iter().all(Result::unwrap)
    );
    let entries = keys.iter().map(|key| (key, Bytes::from_static(b"x"))).collect();
    let inserted = cache.insert_many(entries, TTL).unwrap();
    assert!(inserted.into_iter().all(|one| one.is_ok()));
    assert!(cache.touch_many(&keys, TTL).unwrap().into_iter().all(Result::unwrap));
    assert!(cache.remove_many(&keys).unwrap().into_iter().all(Result::unwrap));
    assert!(cache.get_many(&keys).unwrap().into_iter().all(|key| key.unwrap().value.is_none()));
}

fn a_change_by_one_process_ends_the_near_copy_of_another<C: Cache>() {
    let cluster = shared();
    let (one, other) = (connected::<C>(cluster.url()), connected::<C>(cluster.url()));
    let keys = keys("coherence", adapter::<C>(), 50);
    for key in &keys {
        other.insert(key, "old", TTL).unwrap();
        assert_eq!(seen(one.get(key)), "old from redis");
        assert_eq!(seen(one.get(key)), "old from near");
    }
    assert!(other.remove_many(&keys).unwrap().into_iter().all(Result::unwrap));
    for key in &keys {
        wait_until("the change is heard of", || one.get(key).unwrap().value.is_none());
    }
}

fn a_seed_may_be_a_replica_or_be_down<C: Cache>() {
    let cluster = shared();
    let primary = cluster.owner(Slot::of(b"k"));
    let replica = cluster.url_of(&[cluster.replica_of(primary)]);
    let mut stopped = RedisServer::start();
    stopped.stop();
    let down = stopped.address();
    let seeds = replica.replace("redis-cluster://", &format!("redis-cluster://{down},"));
    for url in [replica, seeds] {
        let cache = connected::<C>(url);
        for key in keys("seed", adapter::<C>(), 10) {
            assert!(cache.get_with(&key, TTL, || found("v")).unwrap().value.is_some());
        }
    }
    let nobody = format!("redis-cluster://{down}");
    let (error, elapsed) = timed(|| cache_error(C::connect(&nobody)));
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(&down.to_string()), "{error}");
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

fn a_server_that_is_no_cluster_is_an_error_at_once<C: Cache>() {
    let server = RedisServer::start();
    let url = format!("redis-cluster://{}", server.address());
    let (error, elapsed) = timed(|| cache_error(C::connect(&url)));
    assert!(error.to_string().contains("cluster support disabled; configure `redis://"), "{error}");
    assert!(elapsed < AT_ONCE, "{elapsed:?}");
}

/// Return the number of times that the primaries have executed a command, within scripts too.
fn executed(cluster: &RedisCluster, command: &str) -> i64 {
    let start = format!("cmdstat_{command}:calls=");
    let count = |number| {
        let stats = cluster.connect(number).call(&["INFO", "commandstats"]);
        let stats = String::from_utf8_lossy(&stats).into_owned();
        let line = stats.lines().find_map(|line| line.strip_prefix(&start));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    };
    (0..3).map(count).sum()
}

fn a_cold_batch_costs_each_key_one_read_one_lock_and_one_publication<C: Cache>() {
    let cluster = RedisCluster::start();
    let cache = connected::<C>(cluster.url());
    let keys = keys("cold", adapter::<C>(), 100);
    let commands = ["get", "pttl", "set", "eval", "evalsha", "script|load"];
    let before = commands.map(|command| executed(&cluster, command));
    let answers = cache.get_many_with(&keys, TTL, names_found).unwrap();
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    let after = commands.map(|command| executed(&cluster, command));
    let [get, pttl, set, eval, evalsha, load] = std::array::from_fn(|at| after[at] - before[at]);
    if cluster.node(0).is_valkey() {
        // `SET` reads the key and takes the lock, and another publishes, without a script.
        assert_eq!((get, pttl, set, eval + evalsha, load), (0, 0, 200, 0, 0));
        return;
    }
    assert_eq!((get, pttl, eval + evalsha, load), (0, 0, 100, 0));
    // The publish script writes once.
    assert_eq!(set - (eval + evalsha), 100);
    assert_eq!(eval, 3, "the source goes once to each node");
}

#[expect(clippy::print_stderr, reason = "a scenario that cannot run says so")]
fn a_cluster_with_more_databases_is_used_in_the_database_of_the_url<C: Cache>() {
    const DATABASES_MAX: usize = 16;
    let cluster = DATABASES.get(|| RedisCluster::start_with_databases(DATABASES_MAX));
    let Some(cluster) = &*cluster else {
        return eprintln!("skipped: clusters of this server have database 0 only");
    };
    let [in_0, in_3, other_in_3] =
        ["", "/3", "/3"].map(|database| connected::<C>(cluster.url() + database));
    assert!(in_3.is_tracked());
    for key in keys("databases", adapter::<C>(), 20) {
        in_0.insert(&key, "zero", TTL).unwrap();
        assert_eq!(seen(in_3.get(&key)), "nothing from redis");
        assert_eq!(seen(in_3.get_with(&key, TTL, || found("three"))), "three from loaded");
        assert_eq!(seen(in_3.get(&key)), "three from near");
        let mut raw = cluster.connect_to_owner(&key);
        raw.ok(&["SELECT", "3"]);
        assert!(raw.get(&key).unwrap().ends_with(b"three"));
        other_in_3.insert(&key, "new", TTL).unwrap();
        wait_until("the change is heard of", || seen(in_3.get(&key)).starts_with("new from"));
        assert!(seen(in_0.get(&key)).starts_with("zero from"));
    }
    let error = cache_error(C::connect(format!("{}/{DATABASES_MAX}", cluster.url())));
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}
