//! The real state of a cluster, as opposed to the views of its nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use redcache_core::Key;
use redcache_core::protocol::Slot;

use crate::clock::{Micros, SkewedClock};
use crate::fault::Fault;
use crate::plan::cluster::{HOST, SHARDS, port_of};
use crate::server;
use crate::server::{Cluster, KeyCopy, Member, Server};
use crate::state::node::Node;

/// A primary and its replica.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) primary: usize,
    pub(crate) replica: usize,
    /// Changes in transit to the replica, and the times at which they arrive.
    pub(crate) under_way: VecDeque<(Micros, usize, Option<KeyCopy>)>,
    /// The last content sent of each key.
    pub(crate) sent: Vec<Option<KeyCopy>>,
    /// Whether the primary is dead and the replica has not taken over.
    pub(crate) lacks_primary: bool,
}

/// The real state of a cluster.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) view: Cluster,
    pub(crate) shards: Vec<Shard>,
    /// The slot of each key.
    pub(crate) slots: Vec<Slot>,
    /// Slots that migrate key by key, and their target shards.
    pub(crate) moving: BTreeMap<Slot, usize>,
    /// The fault that distorts the view of each node.
    pub(crate) distorted: Vec<Option<Fault>>,
    /// The number of owner changes of each key's slot, and all its owners so far.
    pub(crate) versions: Vec<u64>,
    pub(crate) owners: Vec<BTreeSet<usize>>,
    pub(crate) lag: Micros,
}

impl ClusterState {
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
            lacks_primary: false,
        });
        let slots: Vec<Slot> = keys.iter().map(|key| Slot::of(key.as_bytes())).collect();
        let owners = slots.iter().map(|slot| view.owner(*slot).into_iter().collect()).collect();
        Self {
            view,
            shards: shards.collect(),
            slots,
            moving: BTreeMap::new(),
            distorted: vec![None; 2 * SHARDS],
            versions: vec![0; keys.len()],
            owners,
            lag,
        }
    }

    /// Return the owner of a key's slot.
    pub(crate) fn owner(&self, key: usize) -> usize {
        // Every slot has an owner from the start and never loses it without a new one.
        self.view.owner(self.slots[key]).unwrap_or(0)
    }

    pub(crate) fn shard_of(&self, key: usize) -> usize {
        let owner = self.owner(key);
        self.shards.iter().position(|shard| shard.primary == owner).unwrap_or(0)
    }

    pub(crate) fn keys_of(&self, slot: Slot) -> Vec<usize> {
        (0..self.slots.len()).filter(|&key| self.slots[key] == slot).collect()
    }

    /// Record that the slots of these keys have a new owner.
    pub(crate) fn note_new_owner(&mut self, keys: &[usize]) {
        for &key in keys {
            self.versions[key] += 1;
            let owner = self.owner(key);
            self.owners[key].insert(owner);
        }
    }

    pub(crate) fn raise_epoch(&mut self, winner: usize) {
        let epoch = self.view.epoch() + 1;
        self.view.set_epoch(epoch);
        self.view.member_mut(winner).epoch = epoch;
    }
}

/// Return the nodes of a cluster.
pub(crate) fn nodes(
    cluster: &ClusterState,
    clock: &SkewedClock,
    config: &server::Config,
) -> Vec<Node> {
    let node = |number: usize| {
        let mut server = Server::new(clock.at(0), config.clone());
        server.join_cluster(cluster.view.seen_by(number));
        Node::new(server)
    };
    (0..2 * SHARDS).map(node).collect()
}
