//! Upgrades of a cluster, one node after the other.

use std::env;

use redcache_core::Error;
use redcache_tests::RedisCluster;

use super::adapter;
use super::load::{Database, Reliance, while_busy};
use crate::conformance::cache::{Async, Cache};
use crate::conformance::scene::connected;

/// The variable that names the server program to upgrade to. Without it, the nodes restart with
/// the program that they have.
const UPGRADE_VARIABLE: &str = "UPGRADE_TO";

/// Run `event` while two caches of an adapter are busy.
fn busy<C: Cache>(url: &str, event: impl FnOnce() -> Vec<Error>) -> Vec<Error> {
    let database = Database::new((0..60).map(|n| format!("{}:{n}", adapter::<C>())).collect());
    // A primary that is about to hand over pauses writes for up to ten seconds, twice at most.
    let url = format!("{url}/?command_timeout=25s");
    let caches: Vec<C> = (0..2).map(|_| connected(&url)).collect();
    let (mut errors, own) = while_busy(&caches, &database, Reliance::OwnChanges, event);
    errors.extend(own);
    for cache in &caches {
        assert!(cache.is_tracked());
        for key in 0..database.keys().len() {
            database.read(cache, key).unwrap();
        }
    }
    errors
}

/// Read keys of all slots by a cache that knows one node alone.
fn read_all_by_one_seed(cluster: &RedisCluster, seed: usize) {
    let keys = Database::new((0..60).map(|n| format!("seed:{n}")).collect());
    let cache: redcache_blocking::Cache = connected(cluster.url_of(&[seed]));
    for key in 0..keys.keys().len() {
        keys.read(&cache, key).unwrap();
    }
}

#[test]
fn a_rolling_upgrade_causes_no_error_on_any_adapter() {
    let mut cluster = RedisCluster::start();
    let program = env::var(UPGRADE_VARIABLE).or_else(|_| env::var("REDIS_SERVER"));
    let program = program.unwrap_or_else(|_| "redis-server".to_owned());
    let url = cluster.url();
    let errors = busy::<redcache_blocking::Cache>(&url, || {
        busy::<Async<redcache_tokio::Tokio>>(&url, || {
            busy::<Async<redcache_smol::Smol>>(&url, || {
                busy::<Async<redcache_async_std::AsyncStd>>(&url, || {
                    cluster.upgrade(&program, read_all_by_one_seed);
                    Vec::new()
                })
            })
        })
    });
    assert!(errors.is_empty(), "{errors:?}");
}
