//! The changes of the cluster: slot moves and the views of the nodes.

use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::Checked;
use crate::plan::cluster::SHARDS;
use crate::server::Cluster;
use crate::state::executed::Cause;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    /// Update the view of a node unless a fault distorts it.
    fn update_view(&mut self, node: usize) {
        let Some(cluster) = &self.cluster else { return };
        if cluster.distorted[node].is_some() {
            return;
        }
        let mut view = cluster.view.seen_by(node);
        for (&slot, &to) in &cluster.moving {
            let (from, to) = (view.owner(slot), cluster.shards[to].primary);
            if from == Some(node) {
                view.set_migrating(slot, Some(to));
            } else if to == node {
                view.set_importing(slot, from);
            }
        }
        self.nodes[node].server.join_cluster(view);
    }

    /// Update the views of all nodes after a change by `parties`, whose views cannot be distorted.
    pub(crate) fn update_views(&mut self, parties: &[usize]) {
        for node in 0..self.nodes.len() {
            if let Some(cluster) = &mut self.cluster
                && parties.contains(&node)
            {
                cluster.distorted[node] = None;
            }
            self.update_view(node);
        }
    }

    /// Restore the view of a node that this fault distorts.
    pub(crate) fn restore_view(&mut self, node: usize, fault: Option<Fault>) {
        if let Some(cluster) = &mut self.cluster
            && fault.is_none_or(|fault| cluster.distorted[node] == Some(fault))
        {
            cluster.distorted[node] = None;
            self.update_view(node);
        }
    }

    /// Distort the view of a node until it is restored.
    pub(crate) fn distort_view(
        &mut self,
        node: usize,
        fault: Fault,
        change: impl FnOnce(&mut Cluster),
    ) {
        self.restore_view(node, None);
        let Some(cluster) = &mut self.cluster else { return };
        cluster.distorted[node] = Some(fault);
        if let Some(view) = self.nodes[node].server.cluster_mut() {
            change(view);
        }
    }

    /// Copy a key from one node to another.
    pub(crate) fn copy_key(&mut self, key: usize, from: usize, to: usize) {
        let name = self.keys[key].name.clone();
        let copy = self.nodes[from].server.copy_of(name.as_bytes());
        self.nodes[to].server.put_copy(name.as_bytes(), copy);
    }

    /// Move the slot of a key to another shard at once. The old owner deletes its keys `later`.
    pub(crate) fn move_slot(&mut self, key: usize, to: usize, later: Option<Micros>) -> Checked {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let (slot, from, to) = (cluster.slots[key], cluster.owner(key), cluster.shards[to].primary);
        let keys = cluster.keys_of(slot);
        cluster.moving.remove(&slot);
        cluster.view.assign(slot, Some(to));
        cluster.raise_epoch(to);
        cluster.note_new_owner(&keys);
        for &key in &keys {
            self.copy_key(key, from, to);
        }
        self.update_views(&[from, to]);
        match later {
            Some(later) => self.queue.plan(self.now + later, Event::Trim(from, key)),
            None => self.nodes[from].server.drop_slot(slot),
        }
        self.check_nodes(&[from, to])
    }

    /// Delete the keys of a slot that a node has lost, unless the slot is coming back.
    pub(crate) fn trim(&mut self, node: usize, key: usize) -> Checked {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let slot = cluster.slots[key];
        let shard = cluster.shards.iter().position(|shard| shard.primary == node);
        let is_coming = shard.is_some() && cluster.moving.get(&slot).copied() == shard;
        if cluster.owner(key) == node || is_coming || shard.is_none() {
            return Ok(());
        }
        self.nodes[node].server.drop_slot(slot);
        self.check_nodes(&[node])
    }

    /// Start migrating the slot of a key to another shard, key by key.
    pub(crate) fn begin_move(&mut self, key: usize, to: usize) {
        let Some(cluster) = &mut self.cluster else { return };
        let slot = cluster.slots[key];
        if cluster.moving.contains_key(&slot) {
            return;
        }
        // Remains of an earlier ownership are deleted first.
        let (from, target) = (cluster.owner(key), cluster.shards[to].primary);
        cluster.moving.insert(slot, to);
        let keys = cluster.keys_of(slot);
        self.nodes[target].server.drop_slot(slot);
        self.update_views(&[from, target]);
        let lasts = self.fault_rng.between(20_000, 250_000);
        for key in keys {
            let at = self.now + self.fault_rng.below(lasts);
            self.queue.plan(at, Event::MoveKey(key));
        }
        self.queue.plan(self.now + lasts, Event::EndMove(key));
    }

    /// Move one key of a migrating slot.
    pub(crate) fn move_key(&mut self, key: usize) -> Checked {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let Some(&to) = cluster.moving.get(&cluster.slots[key]) else { return Ok(()) };
        let (from, to) = (cluster.owner(key), cluster.shards[to].primary);
        if self.has(from, key) {
            self.trace.line(self.now, || format!("key {key} moves from n{from} to n{to}"));
            self.copy_key(key, from, to);
            let name = self.keys[key].name.clone();
            self.nodes[from].server.put_copy(name.as_bytes(), None);
        }
        self.check_nodes(&[from, to])
    }

    /// End the migration of a key's slot.
    pub(crate) fn end_move(&mut self, key: usize) -> Checked {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let slot = cluster.slots[key];
        let Some(&to) = cluster.moving.get(&slot) else { return Ok(()) };
        let (from, target) = (cluster.owner(key), cluster.shards[to].primary);
        for key in cluster.keys_of(slot) {
            self.move_key(key)?;
        }
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        cluster.moving.remove(&slot);
        cluster.view.assign(slot, Some(target));
        cluster.raise_epoch(target);
        let keys = cluster.keys_of(slot);
        cluster.note_new_owner(&keys);
        self.trace.line(self.now, || format!("slot {} now belongs to n{target}", slot.index()));
        self.update_views(&[from, target]);
        self.nodes[from].server.drop_slot(slot);
        self.check_nodes(&[from, target])
    }

    /// End every migration, so that no failover affects one.
    pub(crate) fn end_moves(&mut self) -> Checked {
        (0..self.keys.len()).try_for_each(|key| self.end_move(key))
    }

    /// Check all keys after a change of the cluster and carry out the events of the nodes involved.
    pub(crate) fn check_nodes(&mut self, nodes: &[usize]) -> Checked {
        self.observe_keys(&Cause::Fault)?;
        nodes.iter().try_for_each(|&node| self.apply_server_events(node, None))
    }

    /// End every fault of the cluster.
    pub(crate) fn heal_cluster(&mut self) -> Checked {
        if self.cluster.is_none() {
            return Ok(());
        }
        self.end_moves()?;
        for shard in 0..SHARDS {
            self.promote_replica_if_due(shard)?;
        }
        for node in 0..self.nodes.len() {
            self.restore_view(node, None);
        }
        Ok(())
    }
}
