//! The decision whether to believe a node whose slot map leaves slots out.
//!
//! A node may not know every other node: it has just joined the cluster, it was upgraded, or it has
//! lost an address. So one node alone takes no slot from a known owner.

use crate::api::config::Address;
use crate::protocol::slot::{Slot, SlotSet};
use crate::protocol::topology::Topology;

/// The number of consecutive answers of one node that must leave out the same slots, if no other
/// node confirms it.
const REPEATS: u8 = 4;

/// The last slot map that left slots out.
#[derive(Debug, Default)]
pub(super) struct Witness {
    claim: Option<Claim>,
    /// The number of consecutive answers that were inconclusive.
    pub(super) doubts: u8,
}

#[derive(Debug)]
struct Claim {
    from: Address,
    named: SlotSet,
    count: u8,
}

impl Witness {
    /// Record a node's map. Return whether the slots that it leaves out have no owner.
    pub(super) fn hear(&mut self, from: &Address, topology: &Topology) -> bool {
        let named = &topology.slots;
        let is_believed = if named.len() == usize::from(Slot::COUNT) {
            self.claim = None;
            true
        } else if topology.is_partial() {
            // The node itself reports that its map is partial.
            false
        } else {
            let claim = self.claim.take().filter(|claim| claim.named.is_subset(named));
            let count = match &claim {
                None => 1,
                Some(claim) if claim.from == *from => claim.count.saturating_add(1),
                Some(claim) => claim.count.max(REPEATS),
            };
            self.claim = Some(Claim { from: from.clone(), named: named.clone(), count });
            count >= REPEATS
        };
        self.doubts = if is_believed { 0 } else { self.doubts.saturating_add(1) };
        is_believed
    }

    /// Return whether another node should be queried, because the last map left out slots.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubts > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::topology::ClusterInfo;

    const A: u16 = 1;
    const B: u16 = 2;

    fn at(port: u16) -> Address {
        Address::Tcp { host: "h".to_owned(), port }
    }

    /// Return a map without the slots below `first`.
    fn without(first: u16, assigned: u16) -> Topology {
        let slots = Slot::all().filter(|slot| slot.index() >= usize::from(first)).collect();
        let info = ClusterInfo { assigned: Some(assigned.into()), ..ClusterInfo::default() };
        Topology { slots, info, ..Topology::default() }
    }

    fn check(heard: &[(u16, u16)], expected: &[bool]) {
        let mut witness = Witness::default();
        let believed = |(from, first): &(u16, u16)| {
            witness.hear(&at(*from), &without(*first, Slot::COUNT - *first))
        };
        assert_eq!(heard.iter().map(believed).collect::<Vec<_>>(), expected, "{heard:?}");
    }

    #[test]
    fn slots_without_an_owner_need_a_second_node_or_four_answers_of_one() {
        check(&[(A, 0), (B, 0)], &[true, true]);
        check(&[(A, 9), (B, 9), (A, 9)], &[false, true, true]);
        check(&[(A, 9), (B, 0), (A, 9)], &[false, true, false]);
        check(&[(A, 9), (A, 9), (A, 9), (A, 9)], &[false, false, false, true]);
        // An earlier map confirms a map that leaves out fewer slots, but not one that leaves out
        // more.
        check(&[(A, 9), (B, 7), (B, 9), (A, 9)], &[false, true, false, true]);
    }

    #[test]
    fn a_node_that_knows_of_more_slots_than_it_lists_is_no_witness() {
        let mut witness = Witness::default();
        for _ in 0..10 {
            assert!(!witness.hear(&at(A), &without(9, Slot::COUNT)));
            assert!(!witness.hear(&at(B), &without(9, Slot::COUNT)));
        }
        assert!(witness.is_in_doubt());
    }
}
