//! Shortage of memory: eviction or refusal.

use bytes::Bytes;

use super::config::Eviction;
use super::instance::Server;

impl Server {
    /// Evict keys by policy and return whether memory is still short.
    pub(super) fn is_short_of_memory(&mut self) -> bool {
        while self.is_over_memory() {
            let Some((database, key)) = self.evictable() else {
                return true;
            };
            self.evict(database, &key);
        }
        self.faults.out_of_memory
    }

    fn is_over_memory(&self) -> bool {
        self.config.memory_max > 0 && self.keyspace.used_bytes() > self.config.memory_max
    }

    fn evictable(&mut self) -> Option<(usize, Bytes)> {
        match self.config.eviction {
            Eviction::NoEviction => None,
            Eviction::AllkeysLru | Eviction::AllkeysLfu | Eviction::AllkeysRandom => {
                self.keyspace.nth(self.rng.next(), false)
            }
            Eviction::VolatileLru | Eviction::VolatileLfu | Eviction::VolatileRandom => {
                self.keyspace.nth(self.rng.next(), true)
            }
            Eviction::VolatileTtl => self.keyspace.first_to_expire().map(|(_, key)| key.clone()),
        }
    }
}
