//! Redis Cluster: each scenario once, run on every adapter against a cluster of real servers.
//!
//! Scenarios that leave the cluster as they found it share one and run side by side. Those that move slots, or roles, have
//! another, one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use redcache_tests::RedisCluster;

mod calls;
mod failover;
mod load;
mod moves;
mod slots;

/// Something that scenarios share. It ends with the last of them.
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
    /// One scenario at a time has the cluster.
    fn have(&self, act: impl FnOnce(MutexGuard<'_, RedisCluster>)) {
        let shared = self.get(|| Mutex::new(RedisCluster::start()));
        let cluster = shared.lock().unwrap_or_else(|poisoned| {
            // A scenario that failed may have left it without a node.
            shared.clear_poison();
            let mut cluster = poisoned.into_inner();
            *cluster = RedisCluster::start();
            cluster
        });
        act(cluster);
    }
}

/// Tells the keys of one adapter from those of another.
fn adapter<C>() -> &'static str {
    std::any::type_name::<C>().rsplit("::").next().unwrap_or_default().trim_end_matches('>')
}
