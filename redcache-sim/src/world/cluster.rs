//! A cluster as it really is, whatever its nodes believe: which of them lead, whose the slots are, and what is on its
//! way from primaries to their replicas.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use redcache_core::{Key, Slot};

use super::dice::Dice;
use super::node::Node;
use super::queue::Happening;
use super::skew::Micros;
use super::{Skew, World};
use crate::check::command::Cause;
use crate::check::{Checked, Fault};
use crate::server::{self, Cluster, KeyCopy, Member, Server};

mod failover;

/// How many primaries there are, each with one replica.
pub(crate) const SHARDS: usize = 3;

/// Where all nodes are; they differ by their ports.
pub(crate) const HOST: &str = "cluster";
const FIRST_PORT: u16 = 7000;

/// The port of a node.
pub(crate) fn port_of(node: usize) -> u16 {
    // There are six nodes.
    FIRST_PORT + node as u16
}

/// What a seed decides of a cluster.
#[derive(Debug)]
pub(crate) struct ClusterPlan {
    /// How long a change takes from a primary to its replica.
    pub(crate) lag: Micros,
    /// The nodes that every process is told of.
    pub(crate) seeds: Vec<usize>,
    /// How often processes ask who owns what.
    pub(crate) refresh: Duration,
}

impl ClusterPlan {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let nodes = 2 * SHARDS;
        let first = dice.index(nodes);
        let count = dice.weighted(&[(1, 1), (3, 3), (1, nodes)]);
        Self {
            lag: dice.pick(&[0, 1_000, 20_000, 100_000]),
            seeds: (0..count).map(|at| (first + at) % nodes).collect(),
            refresh: Duration::from_millis(dice.pick(&[100, 300, 1_000])),
        }
    }
}

/// A primary, and the replica that follows it.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) primary: usize,
    pub(crate) replica: usize,
    /// What the replica has not been told yet of each key, and when it will be.
    under_way: VecDeque<(Micros, usize, Option<KeyCopy>)>,
    /// What was last sent of each key.
    sent: Vec<Option<KeyCopy>>,
    /// The primary is dead, and the replica has not taken over.
    pub(crate) is_headless: bool,
}

/// A cluster as it really is.
#[derive(Debug)]
pub(crate) struct Truth {
    view: Cluster,
    pub(crate) shards: Vec<Shard>,
    /// The slot of each key.
    pub(crate) slots: Vec<Slot>,
    /// Slots that move key by key, and to which shard.
    moving: BTreeMap<Slot, usize>,
    /// What makes the view of a node another than this one.
    deluded: Vec<Option<Fault>>,
    /// How often the slot of each key has changed its owner, and whose it ever was.
    pub(crate) versions: Vec<u64>,
    pub(crate) owners: Vec<BTreeSet<usize>>,
    lag: Micros,
}

impl Truth {
    pub(crate) fn new(keys: &[Key], lag: Micros) -> Self {
        let members = (0..2 * SHARDS).map(|node| Member {
            replica_of: node.checked_sub(SHARDS),
            epoch: node as u64 + 1,
            ..Member::new(format!("{node:040}"), HOST, port_of(node))
        });
        let mut view = Cluster::new(members.collect(), 0);
        let count = usize::from(Slot::COUNT);
        let slots = (0..Slot::COUNT).filter_map(Slot::new);
        slots.for_each(|slot| view.assign(slot, Some(slot.index() * SHARDS / count)));
        let shards = (0..SHARDS).map(|shard| Shard {
            primary: shard,
            replica: shard + SHARDS,
            under_way: VecDeque::new(),
            sent: vec![None; keys.len()],
            is_headless: false,
        });
        let slots: Vec<Slot> = keys.iter().map(|key| Slot::of(key.as_bytes())).collect();
        let owners = slots.iter().map(|slot| view.owner(*slot).into_iter().collect()).collect();
        Self {
            view,
            shards: shards.collect(),
            slots,
            moving: BTreeMap::new(),
            deluded: vec![None; 2 * SHARDS],
            versions: vec![0; keys.len()],
            owners,
            lag,
        }
    }

    /// The node that owns the slot of a key.
    pub(crate) fn owner(&self, key: usize) -> usize {
        // Every slot has an owner from the start, and only ever gets another.
        self.view.owner(self.slots[key]).unwrap_or(0)
    }

    pub(crate) fn shard_of(&self, key: usize) -> usize {
        let owner = self.owner(key);
        self.shards.iter().position(|shard| shard.primary == owner).unwrap_or(0)
    }

    fn keys_of(&self, slot: Slot) -> Vec<usize> {
        (0..self.slots.len()).filter(|&key| self.slots[key] == slot).collect()
    }

    /// Notes that the slots of these keys have another owner than before.
    fn turn_over(&mut self, keys: &[usize]) {
        for &key in keys {
            self.versions[key] += 1;
            let owner = self.owner(key);
            self.owners[key].insert(owner);
        }
    }

    fn rise(&mut self, winner: usize) {
        let epoch = self.view.epoch() + 1;
        self.view.set_epoch(epoch);
        self.view.member_mut(winner).epoch = epoch;
    }
}

/// Makes the nodes of a cluster, which know of each other.
pub(crate) fn nodes(truth: &Truth, clock: &Skew, config: &server::Config) -> Vec<Node> {
    let node = |number: usize| {
        let mut server = Server::new(clock.at(0), config.clone());
        server.join_cluster(truth.view.seen_by(number));
        Node::new(server)
    };
    (0..2 * SHARDS).map(node).collect()
}

impl World {
    /// The server that has the say over a key.
    pub(crate) fn home(&self, key: usize) -> usize {
        let Some(truth) = &self.cluster else { return 0 };
        let owner = truth.owner(key);
        match truth.moving.get(&truth.slots[key]) {
            Some(&to) if !self.has(owner, key) => truth.shards[to].primary,
            Some(_) | None => owner,
        }
    }

    /// The slot of a key has moved, or does.
    pub(crate) fn has_moved(&self, key: usize) -> bool {
        let truth = self.cluster.as_ref();
        truth.is_some_and(|it| it.versions[key] > 0 || it.moving.contains_key(&it.slots[key]))
    }

    fn has(&self, node: usize, key: usize) -> bool {
        self.nodes[node].server.value(0, self.keys[key].name.as_bytes()).is_some()
    }

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
    fn inform_all(&mut self, parties: &[usize]) {
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
    fn copy_key(&mut self, key: usize, from: usize, to: usize) {
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
    fn end_moves(&mut self) -> Checked {
        (0..self.keys.len()).try_for_each(|key| self.end_move(key))
    }

    /// Looks at all keys after a change of the cluster, and carries out the wishes of the nodes that it concerned.
    fn settle(&mut self, nodes: &[usize]) -> Checked {
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
