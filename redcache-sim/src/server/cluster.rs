//! One node's view of the cluster that it is part of: who is in it, who owns which slot, and which slots are on the move.
//!
//! There is no gossip here. Every node has a view of its own, and whoever drives the nodes changes their views, at once
//! or one after the other, as news would have reached them.

use std::collections::{BTreeMap, BTreeSet};

use redcache_core::Slot;

/// A member of a cluster, as some node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in the cluster, forty hexadecimal digits in Redis.
    pub id: String,
    /// Where clients are sent to; empty or `?` when the node does not know.
    pub host: String,
    /// The port that clients are sent to.
    pub port: u16,
    /// The place of its primary among the members; `None` for a primary.
    pub replica_of: Option<usize>,
    /// The number of the configuration under which it owns its slots.
    pub epoch: u64,
    /// Whether the others hear of it.
    pub is_online: bool,
}

impl Member {
    /// Makes a primary that is online.
    pub fn new(id: impl Into<String>, host: impl Into<String>, port: u16) -> Self {
        let (id, host) = (id.into(), host.into());
        Self { id, host, port, replica_of: None, epoch: 0, is_online: true }
    }
}

/// One node's view of its cluster. Members are named by their place in it.
#[derive(Debug, Clone)]
pub struct Cluster {
    members: Vec<Member>,
    me: usize,
    /// Runs of slots with one owner, from the first to the last of each, in order. Neighbours differ.
    runs: Vec<(Slot, Slot, usize)>,
    /// Slots that leave this node, and for where.
    pub(super) migrating: BTreeMap<Slot, usize>,
    /// Slots that come to this node, and from where.
    pub(super) importing: BTreeMap<Slot, usize>,
    epoch: u64,
    is_down: bool,
}

impl Cluster {
    /// Makes the view of the member at place `me`, in which nobody owns a slot.
    ///
    /// # Panics
    ///
    /// When there is no such member.
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

    /// The same knowledge in the mind of another member, for whom no slot is on the move.
    pub fn seen_by(&self, me: usize) -> Self {
        Self { me, migrating: BTreeMap::new(), importing: BTreeMap::new(), ..self.clone() }
    }

    /// The members, in the order of their places.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The place of the node whose view it is.
    pub fn me(&self) -> usize {
        self.me
    }

    /// Changes what is known of a member.
    ///
    /// # Panics
    ///
    /// When there is no such member.
    pub fn member_mut(&mut self, member: usize) -> &mut Member {
        &mut self.members[member]
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: Slot) -> Option<usize> {
        let at = self.runs.partition_point(|(_, last, _)| *last < slot);
        self.runs.get(at).filter(|(first, ..)| *first <= slot).map(|(.., owner)| *owner)
    }

    /// Gives a slot to a member, or takes it from all.
    pub fn assign(&mut self, slot: Slot, owner: Option<usize>) {
        self.assign_range(slot, slot, owner);
    }

    /// Gives the slots from `first` to `last` to a member, or takes them from all.
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

    /// The runs of slots that a member owns, from the first to the last of each.
    pub fn ranges_of(&self, member: usize) -> Vec<(Slot, Slot)> {
        let runs = self.runs.iter().filter(|(.., owner)| *owner == member);
        runs.map(|(first, last, _)| (*first, *last)).collect()
    }

    /// Has a slot leave this node for another, key by key; `None` ends that.
    pub fn set_migrating(&mut self, slot: Slot, to: Option<usize>) {
        match to {
            Some(to) => _ = self.migrating.insert(slot, to),
            None => _ = self.migrating.remove(&slot),
        }
    }

    /// Has a slot come to this node from another, key by key; `None` ends that.
    pub fn set_importing(&mut self, slot: Slot, from: Option<usize>) {
        match from {
            Some(from) => _ = self.importing.insert(slot, from),
            None => _ = self.importing.remove(&slot),
        }
    }

    /// The number that rises with every change of owners.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Sets the number that rises with every change of owners.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Has the node take the cluster for down, as when too few primaries are in reach.
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

    /// The members that follow a primary.
    pub(super) fn replicas_of(&self, primary: usize) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.replica_of == Some(primary))
    }

    /// Every run of slots with one owner, in the order of slots.
    pub(super) fn runs(&self) -> &[(Slot, Slot, usize)] {
        &self.runs
    }

    /// How many slots have an owner, and how many members own some.
    pub(super) fn assigned(&self) -> (usize, usize) {
        let slots = self.runs.iter().map(|(first, last, _)| last.index() + 1 - first.index());
        let owners: BTreeSet<usize> = self.runs.iter().map(|(.., owner)| *owner).collect();
        (slots.sum(), owners.len())
    }

    /// Takes a slot over for good, under a number that is greater than any other.
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

/// What of a run lies before and after the slots from `first` to `last`.
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
    fn slots_with_one_owner_run_together() {
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
    fn whoever_takes_a_slot_over_has_the_greatest_number() {
        let mut members = ["a", "b"].map(|id| Member::new(id, "h", 1)).to_vec();
        members[1].epoch = 7;
        let mut cluster = Cluster::new(members, 0);
        cluster.claim(slot(3));
        assert_eq!((cluster.epoch(), cluster.members()[0].epoch), (8, 8));
        cluster.claim(slot(4));
        assert_eq!(cluster.epoch(), 8);
    }
}
