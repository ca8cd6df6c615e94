//! Scenarios on Redis Cluster, run on every adapter against a cluster of real servers.
//!
//! Scenarios that do not change the cluster share one and run at the same time. Scenarios that move
//! slots or roles use another, one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redcache_tests::RedisCluster;

mod calls;
mod failover;
mod load;
mod moves;
mod slots;
mod upgrade;

/// A value that scenarios share; it is dropped with the last of them.
struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(start());
            *shared = Arc::downgrade(&started);
            started
        })
    }
}

impl Shared<Mutex<RedisCluster>> {
    /// Held by the scenario that uses the cluster.
    fn have(&self, act: impl FnOnce(MutexGuard<'_, RedisCluster>)) {
        let shared = self.get(|| Mutex::new(RedisCluster::start()));
        let cluster = shared.lock().unwrap_or_else(|poisoned| {
            // A failed scenario may have stopped a node.
            shared.clear_poison();
            let mut cluster = poisoned.into_inner();
            *cluster = RedisCluster::start();
            cluster
        });
        act(cluster);
    }
}

/// Return a prefix that keeps the keys of adapters apart.
fn adapter<C>() -> &'static str {
    std::any::type_name::<C>().rsplit("::").next().unwrap_or_default().trim_end_matches('>')
}
