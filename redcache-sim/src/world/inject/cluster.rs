//! Faults of clusters: changes, and distorted views of nodes.

use redcache_core::protocol::Slot;

use crate::fault::Fault;
use crate::invariant::Checked;
use crate::plan::cluster::{SHARDS, port_of};
use crate::plan::own::LONG_LOOP;
use crate::server::Cluster;
use crate::state::world::World;

/// The longest distortion of a view.
const DISTORTED_MAX: u64 = 300_000;

impl World {
    /// Inject a fault into the cluster.
    pub(super) fn inject_cluster(&mut self, fault: Fault) -> Checked {
        let key = self.fault_rng.index(self.keys.len());
        let shard = self.fault_rng.index(SHARDS);
        if matches!(fault, Fault::SlotMoved | Fault::SlotMovedLate | Fault::StaleMap) {
            // A running migration ends before the slot moves again.
            self.end_move(key)?;
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let (from, lacks_primary) = (cluster.shard_of(key), cluster.shards[shard].lacks_primary);
        let is_frozen = lacks_primary || cluster.shards[from].lacks_primary;
        match fault {
            Fault::SlotMoved | Fault::SlotMovedLate | Fault::SlotMigrates => {
                if shard == from || is_frozen {
                    return Ok(());
                }
                self.tally.fault(fault);
                if fault == Fault::SlotMigrates {
                    self.begin_move(key, shard);
                    return Ok(());
                }
                let later =
                    (fault == Fault::SlotMovedLate).then(|| self.fault_rng.between(1_000, 150_000));
                self.move_slot(key, shard, later)
            }
            Fault::Failover | Fault::FailoverLossy | Fault::PrimaryDies => {
                if lacks_primary {
                    return Ok(());
                }
                self.tally.fault(fault);
                match fault {
                    Fault::PrimaryDies => self.kill_primary(shard),
                    _ => self.promote(shard, fault == Fault::FailoverLossy),
                }
            }
            Fault::StaleMap if shard != from && !is_frozen => {
                // The third primary does not learn of the move.
                let third = SHARDS - shard - from;
                let node = cluster.shards[third].primary;
                self.tally.fault(fault);
                self.distort_view(node, fault, |_| {});
                self.recover_later(node, fault, 4 * DISTORTED_MAX);
                self.move_slot(key, shard, None)
            }
            // A second node with the same gap would confirm the first, and a node refuses the keys
            // that it imports from one that it does not know.
            Fault::PartialMap
                if cluster.distorted.iter().any(Option::is_some) || !cluster.moving.is_empty() =>
            {
                Ok(())
            }
            _ => {
                self.inject_view(fault, key);
                Ok(())
            }
        }
    }

    /// Distort the view of a key's owner, or of any node, for a while.
    fn inject_view(&mut self, fault: Fault, key: usize) {
        let any = self.fault_rng.index(self.nodes.len());
        let Some(cluster) = &self.cluster else { return };
        let (slot, owner) = (cluster.slots[key], cluster.owner(key));
        let other = cluster.shards[(cluster.shard_of(key) + 1) % SHARDS].primary;
        let node = match fault {
            Fault::StaleMap | Fault::EmptyMap | Fault::UnknownHost | Fault::PartialMap => any,
            _ => owner,
        };
        self.tally.fault(fault);
        let (host, port) = self.fault_rng.pick(&[("", 0), ("?", 1), ("nowhere", 9)]);
        let unknown = self.fault_rng.pick(&["", "?"]);
        let unknown_node = if any == owner { other } else { owner };
        let is_forgotten = fault == Fault::PartialMap && self.fault_rng.chance(500);
        self.distort_view(node, fault, |view| match fault {
            Fault::ClusterDown => view.set_down(true),
            Fault::EmptyMap => view.assign_range(first(), last(), None),
            Fault::SlotsUnserved => {
                for (first, last) in view.ranges_of(node) {
                    view.assign_range(first, last, None);
                }
            }
            Fault::MovedLoop => view.assign(slot, Some(other)),
            Fault::MovedToSelf => {
                view.assign(slot, Some(other));
                view.member_mut(other).port = port_of(node);
            }
            Fault::MovedToUnknown => {
                view.assign(slot, Some(other));
                host.clone_into(&mut view.member_mut(other).host);
                view.member_mut(other).port = port;
            }
            Fault::UnknownHost => hide_hosts(view, unknown),
            Fault::PartialMap if is_forgotten => {
                for (first, last) in view.ranges_of(unknown_node) {
                    view.assign_range(first, last, None);
                }
            }
            Fault::PartialMap => {
                view.member_mut(unknown_node).host.clear();
                view.member_mut(unknown_node).port = 0;
            }
            _ => {}
        });
        let within = match fault {
            Fault::PartialMap => 4 * DISTORTED_MAX,
            Fault::MovedLoop if self.plan.redirects_for_long => LONG_LOOP,
            _ => DISTORTED_MAX,
        };
        self.recover_later(node, fault, within);
    }
}

fn hide_hosts(view: &mut Cluster, host: &str) {
    for member in 0..view.members().len() {
        host.clone_into(&mut view.member_mut(member).host);
    }
}

fn first() -> Slot {
    Slot::of(b"")
}

fn last() -> Slot {
    let last = Slot::new(Slot::COUNT - 1);
    // The slot count minus one is the last slot.
    last.expect("there are slots")
}
