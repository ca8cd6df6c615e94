//! The epochs by which entries are told apart that are still hits from those that are none any more.

use std::sync::atomic::Ordering;

#[cfg(not(test))]
use std::sync::atomic::AtomicU32;

#[cfg(test)]
use super::tests::interleavings::AtomicU32;
use crate::protocol::slot::{Slot, SlotSet};

/// One for each slot of a cluster, one in all for a server on its own. Odd between the loss of a connection and the
/// next one.
///
/// Any thread reads them, after it has found an entry; only the engine writes. An epoch that ended before a lookup began
/// has ended for that lookup, since nobody who knows of a write to an atomic reads what stood there before.
pub(super) struct Epochs(Box<[AtomicU32]>);

impl Epochs {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(0)).collect())
    }

    /// The epoch of a slot; none of a slot that a server on its own does not have.
    pub(super) fn current(&self, slot: Slot) -> Option<u32> {
        Some(self.0.get(slot.index())?.load(Ordering::Acquire))
    }

    /// Ends what was current, and what was lost before.
    pub(super) fn begin(&self, slots: &SlotSet) {
        for epoch in self.of(slots) {
            // There is one writer.
            let next = (epoch.load(Ordering::Relaxed) | 1).wrapping_add(1);
            epoch.store(next, Ordering::Release);
        }
    }

    /// Ends what was current, until the next begins.
    pub(super) fn lose(&self, slots: &SlotSet) {
        for epoch in self.of(slots) {
            epoch.fetch_or(1, Ordering::Release);
        }
    }

    fn of(&self, slots: &SlotSet) -> impl Iterator<Item = &AtomicU32> {
        let wanted = Slot::all().zip(&self.0).filter(|(slot, _)| slots.contains(*slot));
        wanted.map(|(_, epoch)| epoch)
    }
}
