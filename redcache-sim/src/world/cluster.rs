//! A cluster as it really is, whatever its nodes believe: which of them lead, whose the slots are, and what is on its
//! way from primaries to their replicas.

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::Checked;
use crate::plan::cluster::SHARDS;
use crate::server::Cluster;
use crate::state::executed::Cause;
use crate::state::queue::Happening;
use crate::state::world::World;

impl World {
    /// Brings the view of a node up to date, unless something keeps it from that.
    fn inform(&mut self, node: usize) {
        let Some(truth) = &self.cluster else { return };
        if truth.deluded[node].is_some() {
            return;
        }
        let mut view = truth.view.seen_by(node);
        for (&slot, &to) in &truth.moving {
            let (from, to) = (view.owner(slot), truth.shards[to].primary);
            if from == Some(node) {
                view.set_migrating(slot, Some(to));
            } else if to == node {
                view.set_importing(slot, from);
            }
        }
        self.nodes[node].server.join_cluster(view);
    }

    /// Tells all nodes of a change that `parties` have made, who cannot but know.
    pub(crate) fn inform_all(&mut self, parties: &[usize]) {
        for node in 0..self.nodes.len() {
            if let Some(truth) = &mut self.cluster
                && parties.contains(&node)
            {
                truth.deluded[node] = None;
            }
            self.inform(node);
        }
    }

    /// Ends what keeps a node from knowing.
    pub(crate) fn enlighten(&mut self, node: usize, fault: Option<Fault>) {
        if let Some(truth) = &mut self.cluster
            && fault.is_none_or(|fault| truth.deluded[node] == Some(fault))
        {
            truth.deluded[node] = None;
            self.inform(node);
        }
    }

    /// Changes what a node knows, until it is enlightened.
    pub(crate) fn delude(&mut self, node: usize, fault: Fault, change: impl FnOnce(&mut Cluster)) {
        self.enlighten(node, None);
        let Some(truth) = &mut self.cluster else { return };
        truth.deluded[node] = Some(fault);
        if let Some(view) = self.nodes[node].server.cluster_mut() {
            change(view);
        }
    }

    /// Copies a key from one node to another, as it is there.
    pub(crate) fn copy_key(&mut self, key: usize, from: usize, to: usize) {
        let name = self.keys[key].name.clone();
        let copy = self.nodes[from].server.copy_of(name.as_bytes());
        self.nodes[to].server.put_copy(name.as_bytes(), copy);
    }

    /// Moves the slot of a key to another shard, at once. The old owner deletes what it had `later`.
    pub(crate) fn move_slot(&mut self, key: usize, to: usize, later: Option<Micros>) -> Checked {
        let Some(truth) = &mut self.cluster else { return Ok(()) };
        let (slot, from, to) = (truth.slots[key], truth.owner(key), truth.shards[to].primary);
        let keys = truth.keys_of(slot);
        truth.moving.remove(&slot);
        truth.view.assign(slot, Some(to));
        truth.rise(to);
        truth.turn_over(&keys);
        for &key in &keys {
            self.copy_key(key, from, to);
        }
        self.inform_all(&[from, to]);
        match later {
            Some(later) => self.queue.plan(self.now + later, Happening::Trim(from, key)),
            None => self.nodes[from].server.drop_slot(slot),
        }
        self.settle(&[from, to])
    }

    /// A node deletes the keys of a slot that it has lost, unless it has it back.
    pub(crate) fn trim(&mut self, node: usize, key: usize) -> Checked {
        let Some(truth) = &self.cluster else { return Ok(()) };
        let slot = truth.slots[key];
        let shard = truth.shards.iter().position(|shard| shard.primary == node);
        let is_coming = shard.is_some() && truth.moving.get(&slot).copied() == shard;
        if truth.owner(key) == node || is_coming || shard.is_none() {
            return Ok(());
        }
        self.nodes[node].server.drop_slot(slot);
        self.settle(&[node])
    }

    /// Begins to move the slot of a key to another shard, key by key.
    pub(crate) fn begin_move(&mut self, key: usize, to: usize) {
        let Some(truth) = &mut self.cluster else { return };
        let slot = truth.slots[key];
        if truth.moving.contains_key(&slot) {
            return;
        }
        // What is left there from an earlier ownership is gone before.
        let (from, target) = (truth.owner(key), truth.shards[to].primary);
        truth.moving.insert(slot, to);
        let keys = truth.keys_of(slot);
        self.nodes[target].server.drop_slot(slot);
        self.inform_all(&[from, target]);
        let lasts = self.fault_dice.between(20_000, 250_000);
        for key in keys {
            let at = self.now + self.fault_dice.below(lasts);
            self.queue.plan(at, Happening::MoveKey(key));
        }
        self.queue.plan(self.now + lasts, Happening::EndMove(key));
    }

    /// Moves one key of a slot that is on the move.
    pub(crate) fn move_key(&mut self, key: usize) -> Checked {
        let Some(truth) = &self.cluster else { return Ok(()) };
        let Some(&to) = truth.moving.get(&truth.slots[key]) else { return Ok(()) };
        let (from, to) = (truth.owner(key), truth.shards[to].primary);
        if self.has(from, key) {
            self.trace.line(self.now, || format!("key {key} moves from n{from} to n{to}"));
            self.copy_key(key, from, to);
            let name = self.keys[key].name.clone();
            self.nodes[from].server.put_copy(name.as_bytes(), None);
        }
        self.settle(&[from, to])
    }

    /// Ends the move of a slot that began earlier.
    pub(crate) fn end_move(&mut self, key: usize) -> Checked {
        let Some(truth) = &self.cluster else { return Ok(()) };
        let slot = truth.slots[key];
        let Some(&to) = truth.moving.get(&slot) else { return Ok(()) };
        let (from, target) = (truth.owner(key), truth.shards[to].primary);
        for key in truth.keys_of(slot) {
            self.move_key(key)?;
        }
        let Some(truth) = &mut self.cluster else { return Ok(()) };
        truth.moving.remove(&slot);
        truth.view.assign(slot, Some(target));
        truth.rise(target);
        let keys = truth.keys_of(slot);
        truth.turn_over(&keys);
        self.trace.line(self.now, || format!("slot {} is n{target}'s", slot.index()));
        self.inform_all(&[from, target]);
        self.nodes[from].server.drop_slot(slot);
        self.settle(&[from, target])
    }

    /// Ends every move, so that whoever leads is a party to none.
    pub(crate) fn end_moves(&mut self) -> Checked {
        (0..self.keys.len()).try_for_each(|key| self.end_move(key))
    }

    /// Looks at all keys after a change of the cluster, and carries out the wishes of the nodes that it concerned.
    pub(crate) fn settle(&mut self, nodes: &[usize]) -> Checked {
        self.look(&Cause::Fault)?;
        nodes.iter().try_for_each(|&node| self.collect(node, None))
    }

    /// Ends every trouble of the cluster.
    pub(crate) fn heal_cluster(&mut self) -> Checked {
        if self.cluster.is_none() {
            return Ok(());
        }
        self.end_moves()?;
        for shard in 0..SHARDS {
            self.succeed(shard)?;
        }
        for node in 0..self.nodes.len() {
            self.enlighten(node, None);
        }
        Ok(())
    }
}
