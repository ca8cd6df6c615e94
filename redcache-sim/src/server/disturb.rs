//! Disturbances for tests: faults, restarts and state changes that no client causes.

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
    /// Set whether the server replies `LOADING`, as while it reads its dataset.
    pub fn set_loading(&mut self, loading: bool) {
        self.faults.loading = loading;
    }

    /// Set whether the server is a replica, which refuses writes with `READONLY` and expires no
    /// keys.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.faults.read_only = read_only;
    }

    /// Set whether commands that need memory are refused with `OOM`.
    pub fn set_out_of_memory(&mut self, out_of_memory: bool) {
        self.faults.out_of_memory = out_of_memory;
    }

    /// Set whether the server replies `BUSY`, as while another client's script runs too long.
    pub fn set_busy(&mut self, busy: bool) {
        self.faults.busy = busy;
    }

    /// Refuse the next `command` with `error`, for example `TRYAGAIN not now`. Several refusals of
    /// one command apply in order.
    pub fn reject_next(&mut self, command: &str, error: &str) {
        self.faults.rejections.push_back((command.to_owned(), ReplyError::new(error)));
    }

    /// Set the commands and the key on which the server hangs up without an answer, as it does when
    /// a reply exceeds `client-output-buffer-limit`.
    pub fn set_fatal(&mut self, fatal: Option<(&[&str], Bytes)>) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        self.faults.fatal = fatal.map(|(names, key)| (owned(names), key));
    }

    /// Change the configuration. Connected clients keep their state; a new password does not
    /// disconnect them.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
    }

    /// Make the server a node of a cluster, with this view.
    pub fn join_cluster(&mut self, cluster: Cluster) {
        self.cluster = Some(cluster);
    }

    /// Return the server's view of its cluster to change it; `None` for a single server.
    pub fn cluster_mut(&mut self) -> Option<&mut Cluster> {
        self.cluster.as_mut()
    }

    /// Empty the script cache, so that the next `EVALSHA` fails with `NOSCRIPT`.
    pub fn flush_scripts(&mut self) {
        self.scripts.flush();
    }

    /// Register a script: `EVAL` of exactly this source has this effect. Scripts are not
    /// interpreted; redcache's own are known from the start.
    pub fn learn_script(&mut self, source: &str, effect: ScriptEffect) {
        self.scripts.learn(source, effect);
    }

    /// Evict a key and invalidate it. Return whether the key existed.
    ///
    /// # Panics
    ///
    /// Panics if `database` is 16 or more.
    pub fn evict(&mut self, database: usize, key: &[u8]) -> bool {
        let key = Bytes::copy_from_slice(key);
        let existed = self.keyspace.remove(database, &key).is_some();
        if existed {
            self.record.evicted_keys += 1;
            self.invalidate(&key);
        }
        existed
    }

    /// Close a client's connection, as `CLIENT KILL` would.
    pub fn hang_up(&mut self, client: ClientId) {
        self.kill(client);
    }

    /// Clear the log of commands and the counts.
    pub fn clear_record(&mut self) {
        self.record = Record::default();
    }

    /// Restart the server. Connections, tracking and the script cache are lost, and so are the keys
    /// unless `keep_keys` is set. Faults remain.
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
