//! The slot map of a process, as far as the process knows it.

use std::collections::BTreeSet;

use redcache_core::protocol::Slot;

use crate::server::Cluster;

/// The number of consecutive slot maps that may be ignored because of an older epoch.
pub(crate) const OLDER_MAX: u8 = 8;

/// The number of consecutive slot maps in which one node may leave out the same owned slots.
const LOSSES_MAX: u8 = 3;

/// A topology reply in transit to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopologyReply {
    /// `MOVED`: the key's slot is at this port; `None` for an unusable one. Only the last of a
    /// read's commands counts, and which one is last is not tracked.
    Moved { key: usize, port: Option<u16>, version: u64, is_last: bool },
    /// `ASK`: the key is to be queried at this port once.
    Ask { key: usize, port: Option<u16> },
    /// The epoch of the slot map that follows.
    Epoch(Option<u64>),
    /// The port of each key, and the number of the owner if it is the real one.
    Owners(OwnersReply),
}

/// A slot map as a node reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnersReply {
    pub(crate) owners: Vec<(Option<u16>, Option<u64>)>,
    /// For each slot, whether it has an owner with an address.
    pub(crate) named: Vec<bool>,
    /// Whether the node knows owners without knowing their addresses.
    pub(crate) is_partial: bool,
}

impl OwnersReply {
    /// Return the slot map that a node reports, given the owners of the keys.
    pub(crate) fn of(view: &Cluster, owners: Vec<(Option<u16>, Option<u64>)>) -> Self {
        let mut named = vec![false; usize::from(Slot::COUNT)];
        let mut assigned = 0;
        for (place, member) in view.members().iter().enumerate() {
            for (first, last) in view.ranges_of(place) {
                assigned += last.index() + 1 - first.index();
                named[first.index()..=last.index()].fill(member.port != 0);
            }
        }
        let is_partial = named.iter().filter(|is_named| **is_named).count() < assigned;
        Self { owners, named, is_partial }
    }
}

/// The knowledge of a process about the route of one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// The ports that the process may consider the owner.
    pub(crate) owners: BTreeSet<u16>,
    /// The ports that `ASK` named.
    pub(crate) asked: BTreeSet<u16>,
    /// The ports that are named in the bytes that the process is reading now.
    pub(crate) named: BTreeSet<u16>,
    /// The latest owner that a slot map has named.
    pub(crate) version: u64,
}

/// The messages to a process about its cluster.
#[derive(Debug)]
pub(crate) struct SlotMap {
    epoch: Option<u64>,
    older: u8,
    pub(crate) routes: Vec<Route>,
    /// The slots of which the process knows an owner.
    owned: Vec<bool>,
    /// The last node that left slots out, the slots that it named, and the number of its reports.
    loss: Option<(usize, Vec<bool>, u8)>,
}

impl SlotMap {
    pub(crate) fn new(keys: usize) -> Self {
        Self {
            epoch: None,
            older: 0,
            routes: vec![Route::default(); keys],
            owned: vec![false; usize::from(Slot::COUNT)],
            loss: None,
        }
    }

    /// Record the map of a node, unless the process puts the map off.
    pub(crate) fn hear(&mut self, from: usize, epoch: Option<u64>, reply: OwnersReply) {
        let is_older = epoch.zip(self.epoch).is_some_and(|(epoch, known)| epoch < known);
        if is_older {
            self.older += 1;
            if self.older <= OLDER_MAX {
                return;
            }
        } else if !self.believes(from, &reply) && !is_subset(&self.owned, &reply.named) {
            return;
        }
        self.older = 0;
        self.epoch = epoch;
        for (route, (port, version)) in self.routes.iter_mut().zip(reply.owners) {
            route.owners = port.into_iter().collect();
            route.version = route.version.max(version.unwrap_or(0));
        }
        self.owned = reply.named;
    }

    /// Return whether the slots without an owner are known to have none: two nodes have reported
    /// it, or one node repeatedly.
    fn believes(&mut self, from: usize, reply: &OwnersReply) -> bool {
        if reply.named.iter().all(|is_named| *is_named) {
            self.loss = None;
            return true;
        }
        if reply.is_partial {
            return false;
        }
        let count = match self.loss.take() {
            Some((first, named, count)) if is_subset(&named, &reply.named) => {
                if first == from {
                    count.saturating_add(1)
                } else {
                    count.max(LOSSES_MAX + 1)
                }
            }
            Some(_) | None => 1,
        };
        self.loss = Some((from, reply.named.clone(), count));
        count > LOSSES_MAX
    }

    /// Record the owner of a slot that `MOVED` names.
    pub(crate) fn on_moved(&mut self, slot: Slot) {
        self.owned[slot.index()] = true;
    }

    /// Return whether the process must assume that the key is at this port.
    pub(crate) fn is_at(&self, key: usize, port: u16) -> bool {
        let Route { owners, named, .. } = &self.routes[key];
        owners.contains(&port) && owners.iter().chain(named).all(|other| *other == port)
    }

    /// Return whether a slot map has named this owner of a key, or a later one.
    pub(crate) fn knows_owner(&self, key: usize, version: u64) -> bool {
        self.routes[key].version >= version
    }
}

fn is_subset(one: &[bool], of: &[bool]) -> bool {
    one.iter().zip(of).all(|(one, other)| *other || !*one)
}
