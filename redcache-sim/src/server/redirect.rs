//! Redirects of commands whose keys belong to another node.

use bytes::Bytes;
use redcache_core::protocol::Slot;

use super::client::ClientId;
use super::cluster::Cluster;
use super::commands::command::{Command, WRITE};
use super::instance::Server;
use super::reply::ReplyError;

const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";
const DOWN: &str = "CLUSTERDOWN The cluster is down";
const TRY_AGAIN: &str = "TRYAGAIN Multiple keys request during rehashing of slot";

impl Server {
    /// Check that this node serves the keys of a command, in the order of Redis's checks. The error
    /// is the redirect.
    pub(super) fn check_slots(
        &self,
        client: ClientId,
        command: &Command,
        args: &[Bytes],
    ) -> Result<(), ReplyError> {
        let keys = command.keys(args);
        let (Some(cluster), Some(first)) = (&self.cluster, keys.first()) else { return Ok(()) };
        let slot = Slot::of(first);
        let crosses = keys.iter().any(|key| Slot::of(key) != slot);
        if crosses && self.config.is_valkey() {
            return Err(CROSS_SLOT.into());
        }
        let owner = cluster.owner(slot).ok_or(NOT_SERVED)?;
        if crosses {
            return Err(CROSS_SLOT.into());
        }
        if cluster.is_down() {
            return Err(DOWN.into());
        }
        let (is_asking, is_reader) = self
            .clients
            .get(&client)
            .map_or((false, false), |client| (client.is_asking, client.is_reader));
        let missing = keys.iter().filter(|key| self.is_missing(key)).count();
        let is_mine = owner == cluster.me();
        if let Some(&to) = cluster.migrating.get(&slot).filter(|_| is_mine)
            && missing > 0
        {
            let is_part = missing < keys.len();
            return Err(if is_part {
                TRY_AGAIN.into()
            } else {
                redirect("ASK", slot, cluster, to)
            });
        }
        let is_importing = cluster.importing.contains_key(&slot) && !is_mine;
        if is_importing && is_asking {
            let has_many = keys.iter().any(|key| key != first);
            return if has_many && missing > 0 { Err(TRY_AGAIN.into()) } else { Ok(()) };
        }
        let follows = cluster.members()[cluster.me()].replica_of == Some(owner);
        if is_mine || is_reader && follows && !command.has(WRITE) {
            return Ok(());
        }
        Err(redirect("MOVED", slot, cluster, owner))
    }

    fn is_missing(&self, key: &Bytes) -> bool {
        self.keyspace.get(0, key).is_none() || self.keyspace.is_expired(0, key, self.clock.now_ms())
    }
}

fn redirect(code: &str, slot: Slot, cluster: &Cluster, to: usize) -> ReplyError {
    let member = &cluster.members()[to];
    ReplyError::new(format!("{code} {} {}:{}", slot.index(), member.host, member.port))
}
