//! The state of one server.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::client::{Client, ClientId};
use super::clock::Clock;
use super::cluster::Cluster;
use super::config::Config;
use super::faults::Faults;
use super::keyspace::Keyspace;
use super::record::Record;
use super::reply::{Reply, ReplyError};
use super::rng::Rng;
use super::script_cache::ScriptCache;
use super::tracking_table::TrackingTable;

/// A model of one Redis server.
#[derive(Debug)]
pub struct Server {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) last_client: u64,
    pub(super) keyspace: Keyspace,
    pub(super) tracking: TrackingTable,
    pub(super) scripts: ScriptCache<ScriptEffect>,
    /// The view of the cluster, if the server is a node of one.
    pub(super) cluster: Option<Cluster>,
    /// The client whose command is running.
    pub(super) running: Option<Running>,
    /// Keys of the running client that its own command changed; `None` means all keys.
    pub(super) pending: Vec<Option<Bytes>>,
    /// Memory was short when the running command started.
    pub(super) out_of_memory: bool,
    /// Clients that have output or are to be disconnected.
    pub(super) outbox: VecDeque<ClientId>,
    pub(super) faults: Faults,
    pub(super) record: Record,
}

/// The client whose command is running, and whether execution has started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pub(super) client: ClientId,
    pub(super) executing: bool,
}

/// The effect of a script in place of its Lua source. An error ends it, as an error of `redis.call`
/// does.
pub type ScriptEffect = fn(&mut ScriptCall<'_>) -> Result<Reply, ReplyError>;

/// One run of a script: `KEYS`, `ARGV` and `redis.call`.
#[derive(Debug)]
pub struct ScriptCall<'a> {
    pub(super) server: &'a mut Server,
    pub(super) client: ClientId,
    pub(super) keys: &'a [Bytes],
    pub(super) args: &'a [Bytes],
    pub(super) wrote: bool,
}

impl Server {
    /// Put a client into the outbox if it has output or is to be disconnected.
    pub(super) fn wants_sending(&mut self, client: ClientId) {
        let Some(state) = self.clients.get_mut(&client) else {
            return;
        };
        if !state.queued && (state.closing || !state.output.is_empty()) {
            state.queued = true;
            self.outbox.push_back(client);
        }
    }

    /// Disconnect a client at once, discarding its output.
    pub(super) fn kill(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.output.clear();
            state.closing = true;
            self.wants_sending(client);
        }
    }

    pub(super) fn is_replica(&self) -> bool {
        self.faults.read_only || self.cluster.as_ref().is_some_and(Cluster::is_replica)
    }

    pub(super) fn expires_actively(&self) -> bool {
        // A replica waits for its primary to delete expired keys.
        self.config.active_expiry && !self.is_replica()
    }

    pub(super) fn expired_key(&self, now_ms: i64) -> Option<(usize, Bytes)> {
        let (at, place) = self.keyspace.first_to_expire()?;
        (self.expires_actively() && now_ms > at).then(|| place.clone())
    }

    pub(super) fn delete_expired(&mut self, (database, key): &(usize, Bytes)) {
        self.keyspace.remove(*database, key);
        self.record.expired_keys += 1;
        self.invalidate(key);
    }
}
