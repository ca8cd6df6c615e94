//! Failovers: by command, and after the death of a primary.

use std::sync::Mutex;

use redcache_core::protocol::Slot;
use redcache_tests::RedisCluster;

use super::load::{Database, Reliance, while_busy};
use super::{Shared, adapter};
use crate::conformance::cache::Cache;
use crate::conformance::scene::{connected, wait_until};

with_a_server_of_its_own![
    a_manual_failover_causes_no_error,
    a_primary_that_is_killed_costs_clear_errors_until_its_replica_takes_over,
];

/// The cluster whose roles change; one scenario at a time uses it.
static CLUSTER: Shared<Mutex<RedisCluster>> = Shared::new();

fn database<C>(scenario: &str) -> Database {
    Database::new((0..60).map(|n| format!("{scenario}:{}:{n}", adapter::<C>())).collect())
}

fn a_manual_failover_causes_no_error<C: Cache>() {
    CLUSTER.have(|cluster| {
        let database = database::<C>("purpose");
        // The old owner pauses writes during a failover: for up to ten seconds, and again after a
        // second attempt.
        let url = format!("{}/?command_timeout=25s", cluster.url());
        let caches: Vec<C> = (0..4).map(|_| connected(&url)).collect();
        let primary = cluster.owner(Slot::of(b"foo"));
        let replica = cluster.replica_of(primary);
        let (_, errors) = while_busy(&caches, &database, Reliance::OwnChanges, || {
            cluster.fail_over(replica);
        });
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(cluster.owner(Slot::of(b"foo")), replica);
        for cache in &caches {
            assert!(cache.is_tracked());
            for key in 0..database.keys().len() {
                database.read(cache, key).unwrap();
            }
        }
    });
}

fn a_primary_that_is_killed_costs_clear_errors_until_its_replica_takes_over<C: Cache>() {
    CLUSTER.have(|mut cluster| {
        let database = database::<C>("killed");
        let caches: Vec<C> = (0..4).map(|_| connected(cluster.url())).collect();
        // The primary must not have been elected a moment ago: the next election would have to
        // wait.
        let primary = cluster.owner(Slot::of(b"bar"));
        let ((), errors) = while_busy(&caches, &database, Reliance::Nothing, || {
            cluster.fail_over_by_itself(true);
            cluster.node_mut(primary).stop();
            cluster.wait_until_healthy();
            cluster.fail_over_by_itself(false);
        });
        for error in &errors {
            assert!(error.is_retryable() && error.key().is_some(), "{error}");
        }
        // The client rediscovers twice a second while an owner cannot be reached.
        wait_until("every client serves every key", || {
            let keys = || 0..database.keys().len();
            caches.iter().all(|cache| keys().all(|key| database.read(cache, key).is_ok()))
        });
        let ((), errors) = while_busy(&caches, &database, Reliance::Nothing, || {
            cluster.node_mut(primary).restart();
            cluster.wait_until_healthy();
        });
        assert!(errors.is_empty(), "{errors:?}");
    });
}
