//! Epoch counters: an entry is a hit only while its epoch is current.

use std::sync::atomic::Ordering;

#[cfg(not(test))]
use std::sync::atomic::AtomicU32;

#[cfg(test)]
use super::yielding::AtomicU32;
use crate::protocol::slot::{Slot, SlotSet};

/// One counter per slot of a cluster, or a single counter outside of a cluster. A counter is odd
/// between the loss of a connection and the next connection.
///
/// Any thread reads the counters, after it has found an entry; only the engine writes them. If an
/// epoch ended before a lookup began, the lookup sees its end: a thread that has observed a write
/// to an atomic cannot read an older value.
pub(super) struct Epochs(Box<[AtomicU32]>);

impl Epochs {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| AtomicU32::new(0)).collect())
    }

    /// Return the epoch of a slot, or `None` for a slot without a counter.
    #[inline]
    pub(super) fn current(&self, slot: Slot) -> Option<u32> {
        Some(self.0.get(slot.index())?.load(Ordering::Acquire))
    }

    /// End the current epochs and the lost ones.
    pub(super) fn begin(&self, slots: &SlotSet) {
        for epoch in self.of(slots) {
            // The engine is the only writer.
            let next = (epoch.load(Ordering::Relaxed) | 1).wrapping_add(1);
            epoch.store(next, Ordering::Release);
        }
    }

    /// End the current epochs. The next ones begin with [`begin`](Self::begin).
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
