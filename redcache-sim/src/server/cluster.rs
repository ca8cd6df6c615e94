//! One node's view of its cluster: the members, the owner of each slot, and the slots that move.
//!
//! There is no gossip. Each node has a view of its own, which the driver changes.

use std::collections::{BTreeMap, BTreeSet};

use redcache_core::protocol::Slot;

/// A member of a cluster, as a node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node id, forty hexadecimal digits in Redis.
    pub id: String,
    /// The host that clients are redirected to; empty or `?` if unknown.
    pub host: String,
    /// The port that clients are redirected to.
    pub port: u16,
    /// The index of its primary among the members; `None` for a primary.
    pub replica_of: Option<usize>,
    /// The configuration epoch of its slots.
    pub epoch: u64,
    /// Whether the member is reachable.
    pub is_online: bool,
}

impl Member {
    /// Return a reachable primary.
    pub fn new(id: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        let (id, host) = (id.into(), host.into());
        Self { id, host, port, replica_of: None, epoch: 0, is_online: true }
    }
}

/// One node's view of its cluster. Members are identified by their index.
#[derive(Debug, Clone)]
pub struct Cluster {
    members: Vec<Member>,
    me: usize,
    /// Slot ranges with one owner each, in order; neighbors have different owners.
    runs: Vec<(Slot, Slot, usize)>,
    /// Slots that migrate away from this node, and where to.
    pub(super) migrating: BTreeMap<Slot, usize>,
    /// Slots that this node imports, and where from.
    pub(super) importing: BTreeMap<Slot, usize>,
    epoch: u64,
    is_down: bool,
}

impl Cluster {
    /// Return the view of member `me`, in which no slot has an owner.
    ///
    /// # Panics
    ///
    /// Panics if there is no such member.
    pub fn new(members: Vec<Member>, me: usize) -> Self {
        assert!(me < members.len(), "a node is a member of its cluster");
        let epoch = members.iter().map(|member| member.epoch).max().unwrap_or(0);
        Self {
            members,
            me,
            runs: Vec::new(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            epoch,
            is_down: false,
        }
    }

    /// Return the same view for another member, without moving slots.
    pub fn seen_by(&self, me: usize) -> Self {
        Self { me, migrating: BTreeMap::new(), importing: BTreeMap::new(), ..self.clone() }
    }

    /// Return the members in the order of their indices.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Return the index of this node.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Return a member to change it.
    ///
    /// # Panics
    ///
    /// Panics if there is no such member.
    pub fn member_mut(&mut self, member: usize) -> &mut Member {
        &mut self.members[member]
    }

    /// Return the owner of a slot.
    pub fn owner(&self, slot: Slot) -> Option<usize> {
        let at = self.runs.partition_point(|(_, last, _)| *last < slot);
        self.runs.get(at).filter(|(first, ..)| *first <= slot).map(|(.., owner)| *owner)
    }

    /// Assign a slot to a member, or to none.
    pub fn assign(&mut self, slot: Slot, owner: Option<usize>) {
        self.assign_range(slot, slot, owner);
    }

    /// Assign the slots from `first` to `last` to a member, or to none.
    pub fn assign_range(&mut self, first: Slot, last: Slot, owner: Option<usize>) {
        let before = std::mem::take(&mut self.runs).into_iter();
        let mut runs: Vec<_> = before.flat_map(|run| outside(run, first, last)).collect();
        runs.extend(owner.map(|owner| (first, last, owner)));
        runs.sort_unstable();
        for (first, last, owner) in runs {
            match self.runs.last_mut() {
                Some((_, end, same)) if *same == owner && end.index() + 1 == first.index() => {
                    *end = last;
                }
                Some(_) | None => self.runs.push((first, last, owner)),
            }
        }
    }

    /// Return the slot ranges of a member as pairs of first and last slot.
    pub fn ranges_of(&self, member: usize) -> Vec<(Slot, Slot)> {
        let runs = self.runs.iter().filter(|(.., owner)| *owner == member);
        runs.map(|(first, last, _)| (*first, *last)).collect()
    }

    /// Set or end the migration of a slot to another node.
    pub fn set_migrating(&mut self, slot: Slot, to: Option<usize>) {
        match to {
            Some(to) => _ = self.migrating.insert(slot, to),
            None => _ = self.migrating.remove(&slot),
        }
    }

    /// Set or end the import of a slot from another node.
    pub fn set_importing(&mut self, slot: Slot, from: Option<usize>) {
        match from {
            Some(from) => _ = self.importing.insert(slot, from),
            None => _ = self.importing.remove(&slot),
        }
    }

    /// Return the current epoch, which rises with every change of owners.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Set the current epoch.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Set whether the node reports the cluster as down.
    pub fn set_down(&mut self, is_down: bool) {
        self.is_down = is_down;
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down
    }

    pub(super) fn is_replica(&self) -> bool {
        self.members[self.me].replica_of.is_some()
    }

    pub(super) fn named(&self, id: &[u8]) -> Option<usize> {
        self.members.iter().position(|member| member.id.as_bytes() == id)
    }

    /// Return the replicas of a primary.
    pub(super) fn replicas_of(&self, primary: usize) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.replica_of == Some(primary))
    }

    /// Return every slot range with its owner, in order.
    pub(super) fn runs(&self) -> &[(Slot, Slot, usize)] {
        &self.runs
    }

    /// Return the number of assigned slots and the number of owners.
    pub(super) fn assigned(&self) -> (usize, usize) {
        let slots = self.runs.iter().map(|(first, last, _)| last.index() + 1 - first.index());
        let owners: BTreeSet<usize> = self.runs.iter().map(|(.., owner)| *owner).collect();
        (slots.sum(), owners.len())
    }

    /// Take over a slot under the greatest epoch.
    pub(super) fn claim(&mut self, slot: Slot) {
        let greatest = self.members.iter().map(|member| member.epoch).max();
        let greatest = greatest.unwrap_or(0).max(self.epoch);
        if self.members[self.me].epoch != greatest {
            self.epoch = greatest + 1;
            self.members[self.me].epoch = self.epoch;
        }
        self.importing.remove(&slot);
    }
}

/// Return the parts of a range before and after the slots from `first` to `last`.
fn outside(
    (from, to, owner): (Slot, Slot, usize),
    first: Slot,
    last: Slot,
) -> impl Iterator<Item = (Slot, Slot, usize)> {
    let number = |index: usize| u16::try_from(index).ok().and_then(Slot::new);
    let before = first.index().checked_sub(1).and_then(number).filter(|_| from < first);
    let after = number(last.index() + 1).filter(|_| to > last);
    let before = before.map(|end| (from, end.min(to), owner));
    before.into_iter().chain(after.map(|start| (start.max(from), to, owner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn adjacent_slots_with_one_owner_form_one_range() {
        let members = ["a", "b"].map(|id| Member::new(id, "h", 1)).to_vec();
        let mut cluster = Cluster::new(members, 0);
        cluster.assign_range(slot(0), slot(9), Some(0));
        cluster.assign_range(slot(10), slot(19), Some(1));
        cluster.assign(slot(5), None);
        assert_eq!(cluster.ranges_of(0), [(slot(0), slot(4)), (slot(6), slot(9))]);
        assert_eq!(cluster.ranges_of(1), [(slot(10), slot(19))]);
        assert_eq!(cluster.assigned(), (19, 2));
    }

    #[test]
    fn a_node_that_claims_a_slot_gets_the_greatest_epoch() {
        let mut members = ["a", "b"].map(|id| Member::new(id, "h", 1)).to_vec();
        members[1].epoch = 7;
        let mut cluster = Cluster::new(members, 0);
        cluster.claim(slot(3));
        assert_eq!((cluster.epoch(), cluster.members()[0].epoch), (8, 8));
        cluster.claim(slot(4));
        assert_eq!(cluster.epoch(), 8);
    }
}
