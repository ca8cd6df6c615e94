//! What a test may do to a server behind its clients' backs: faults, a restart, and turns of state.

use std::time::Instant;

use bytes::Bytes;

use super::client::ClientId;
use super::cluster::Cluster;
use super::config::Config;
use super::instance::{ScriptEffect, Server};
use super::keyspace::Keyspace;
use super::record::Record;
use super::reply::ReplyError;

/// Disturbances.
impl Server {
    /// Makes the server answer `LOADING`, as while it reads its dataset from disk.
    pub fn set_loading(&mut self, loading: bool) {
        self.faults.loading = loading;
    }

    /// Makes the server a replica: it answers `READONLY` to writes and no longer deletes what expires.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.faults.read_only = read_only;
    }

    /// Makes the server refuse commands that need memory with `OOM`.
    pub fn set_out_of_memory(&mut self, out_of_memory: bool) {
        self.faults.out_of_memory = out_of_memory;
    }

    /// Makes the server answer `BUSY`, as while a script of somebody else runs too long.
    pub fn set_busy(&mut self, busy: bool) {
        self.faults.busy = busy;
    }

    /// Answers the next command called `command` with `error`, for example `TRYAGAIN not now`. Several such orders
    /// for one command are carried out one after the other.
    pub fn reject_next(&mut self, command: &str, error: &str) {
        self.faults.rejections.push_back((command.to_owned(), ReplyError::new(error)));
    }

    /// Changes the configuration. Clients that are connected keep what they have: a new password does not throw
    /// them out.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
    }

    /// Makes the server a node of a cluster of which it knows this.
    pub fn join_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    /// Changes what the server knows of its cluster; `None` for a server on its own.
    pub fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        self.cluster.as_mut()
    }

    /// Empties the script cache, so that the next `EVALSHA` gets `NOSCRIPT`.
    pub fn flush_scripts(&mut self) {
        self.scripts.flush();
    }

    /// Teaches the server a script: from now on `EVAL` of exactly this source has this effect. Scripts are not
    /// interpreted; those of redcache are known from the start.
    pub fn learn_script(&mut self, source: &str, effect: ScriptEffect) {
        self.scripts.learn(source, effect);
    }

    /// Deletes a key as eviction would: its readers are told. Says whether the key existed.
    ///
    /// # Panics
    ///
    /// When `database` is not below 16.
    pub fn evict(&mut self, database: usize, key: &[u8]) -> bool {
        let key = Bytes::copy_from_slice(key);
        let existed = self.keyspace.remove(database, &key).is_some();
        if existed {
            self.record.evicted_keys += 1;
            self.invalidate(&key);
        }
        existed
    }

    /// Ends a client's connection, as `CLIENT KILL` from elsewhere would.
    pub fn hang_up(&mut self, client: ClientId) {
        self.kill(client);
    }

    /// Forgets the log of commands and the counts.
    pub fn clear_record(&mut self) {
        self.record = Record::default();
    }

    /// Stops the server and starts it again: connections end, tracking and the script cache are gone, and so are the
    /// keys unless `keep_keys`. Faults that were set stay.
    pub fn restart(&mut self, now: Instant, keep_keys: bool) {
        self.clock.advance(now);
        for client in self.clients().collect::<Vec<_>>() {
            self.kill(client);
        }
        self.forget_all_reads();
        self.flush_scripts();
        if !keep_keys {
            self.keyspace = Keyspace::default();
        }
    }
}
