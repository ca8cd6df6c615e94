//! The slots in which calls wait for their events.

use std::mem;
use std::task::Waker;

use redcache_adapter::{CallEvent, Calls};
use redcache_core::engine::{CallStep, OpId};
use slab::Slab;

/// A call in progress.
#[derive(Debug)]
pub(crate) struct CallSlot {
    op: OpId,
    waker: Option<Waker>,
    event: Option<CallEvent>,
    /// The steps that the call has not taken, if it has a trace.
    steps: Vec<CallStep>,
}

impl CallSlot {
    /// Return `true` if the outcome of the call is in the slot.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.event, Some(CallEvent::Done(_)))
    }
}

/// The calls in progress.
#[derive(Debug, Default)]
pub(crate) struct CallSlots {
    slots: Slab<CallSlot>,
    /// The slot of each call that the engine knows, by the index of its [`OpId`]. The engine reuses
    /// the index of a call that has ended, while the slot may still hold its outcome.
    slot_of: Vec<usize>,
}

impl CallSlots {
    /// Add a call, and return the key of its slot.
    pub(crate) fn insert(&mut self, op: OpId, waker: Waker) -> usize {
        let slot =
            self.slots.insert(CallSlot { op, waker: Some(waker), event: None, steps: Vec::new() });
        if self.slot_of.len() <= op.index() {
            self.slot_of.resize(op.index() + 1, usize::MAX);
        }
        self.slot_of[op.index()] = slot;
        slot
    }

    /// Return `true` if there is an event in a slot.
    pub(crate) fn has_event(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.event.is_some())
    }

    /// Store `waker`, which the next event of the slot wakes. Return the waker that was stored
    /// before, or `waker` as an error if there is an event already.
    pub(crate) fn watch(&mut self, slot: usize, waker: Waker) -> Result<Option<Waker>, Waker> {
        match self.slots.get_mut(slot) {
            Some(CallSlot { event: Some(_), .. }) => Err(waker),
            Some(slot) => Ok(slot.waker.replace(waker)),
            None => Ok(Some(waker)),
        }
    }

    pub(crate) fn take_event(&mut self, slot: usize) -> Option<CallEvent> {
        self.slots.get_mut(slot)?.event.take()
    }

    pub(crate) fn take_steps(&mut self, slot: usize) -> Vec<CallStep> {
        self.slots.get_mut(slot).map(|slot| mem::take(&mut slot.steps)).unwrap_or_default()
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<CallSlot> {
        self.slots.try_remove(slot)
    }
}

impl Calls for CallSlots {
    type Waker = Waker;

    fn deliver(&mut self, op: OpId, event: CallEvent) -> (Option<Waker>, Option<CallEvent>) {
        let slot = self.slot_of.get(op.index()).and_then(|&slot| self.slots.get_mut(slot));
        match slot.filter(|slot| slot.op == op) {
            Some(slot) => (slot.waker.take(), slot.event.replace(event)),
            None => (None, Some(event)),
        }
    }

    fn note(&mut self, op: OpId, step: CallStep) -> Option<Waker> {
        let slot = self.slot_of.get(op.index()).and_then(|&slot| self.slots.get_mut(slot));
        let slot = slot.filter(|slot| slot.op == op)?;
        slot.steps.push(step);
        slot.waker.take()
    }
}
