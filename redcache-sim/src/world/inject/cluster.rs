//! What happens to a cluster, and what its nodes are made to believe of it.

use redcache_core::Slot;

use crate::fault::Fault;
use crate::invariant::Checked;
use crate::plan::cluster::{SHARDS, port_of};
use crate::server::Cluster;
use crate::state::world::World;

/// How long a node believes what is not so, at most.
const DELUDED_MAX: u64 = 300_000;

impl World {
    /// Lets a fault strike the cluster.
    pub(super) fn strike_cluster(&mut self, fault: Fault) -> Checked {
        let key = self.fault_dice.index(self.keys.len());
        let shard = self.fault_dice.index(SHARDS);
        if matches!(fault, Fault::SlotMoved | Fault::SlotMovedLate | Fault::StaleMap) {
            // A slot arrives before it goes on.
            self.end_move(key)?;
        }
        let Some(truth) = &self.cluster else { return Ok(()) };
        let (from, headless) = (truth.shard_of(key), truth.shards[shard].is_headless);
        let is_frozen = headless || truth.shards[from].is_headless;
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
                let later = (fault == Fault::SlotMovedLate)
                    .then(|| self.fault_dice.between(1_000, 150_000));
                self.move_slot(key, shard, later)
            }
            Fault::Failover | Fault::FailoverLossy | Fault::PrimaryDies => {
                if headless {
                    return Ok(());
                }
                self.tally.fault(fault);
                match fault {
                    Fault::PrimaryDies => self.behead(shard),
                    _ => self.promote(shard, fault == Fault::FailoverLossy),
                }
            }
            Fault::StaleMap if shard != from && !is_frozen => {
                // The third of them does not hear of it.
                let third = SHARDS - shard - from;
                let node = truth.shards[third].primary;
                self.tally.fault(fault);
                self.delude(node, fault, |_| {});
                self.recover_later(node, fault, 4 * DELUDED_MAX);
                self.move_slot(key, shard, None)
            }
            _ => {
                self.strike_mind(fault, key);
                Ok(())
            }
        }
    }

    /// Has the owner of a key, or any node, believe something for a while.
    fn strike_mind(&mut self, fault: Fault, key: usize) {
        let any = self.fault_dice.index(self.nodes.len());
        let Some(truth) = &self.cluster else { return };
        let (slot, owner) = (truth.slots[key], truth.owner(key));
        let other = truth.shards[(truth.shard_of(key) + 1) % SHARDS].primary;
        let node = match fault {
            Fault::StaleMap | Fault::EmptyMap | Fault::UnknownHost => any,
            _ => owner,
        };
        self.tally.fault(fault);
        let (host, port) = self.fault_dice.pick(&[("", 0), ("?", 1), ("nowhere", 9)]);
        let unknown = self.fault_dice.pick(&["", "?"]);
        self.delude(node, fault, |view| match fault {
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
            Fault::MovedAstray => {
                view.assign(slot, Some(other));
                host.clone_into(&mut view.member_mut(other).host);
                view.member_mut(other).port = port;
            }
            Fault::UnknownHost => hide_hosts(view, unknown),
            _ => {}
        });
        self.recover_later(node, fault, DELUDED_MAX);
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
    // One less than their number is the number of the last.
    last.expect("there are slots")
}
