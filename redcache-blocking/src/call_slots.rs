//! The slots in which the threads of calls wait for their events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use redcache_adapter::{CallEvent, Calls};
use redcache_core::engine::OpId;

/// A call in progress, and the thread that waits for it.
pub(crate) struct CallSlot {
    thread: Thread,
    event: Mutex<Option<CallEvent>>,
}

impl CallSlot {
    /// Create a slot for the current thread.
    pub(crate) fn new() -> Self {
        Self { thread: thread::current(), event: Mutex::new(None) }
    }

    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }

    pub(crate) fn has_event(&self) -> bool {
        self.event().is_some()
    }

    /// Wait for the next event.
    pub(crate) fn wait(&self) -> CallEvent {
        loop {
            if let Some(event) = self.event().take() {
                return event;
            }
            thread::park();
        }
    }

    fn event(&self) -> MutexGuard<'_, Option<CallEvent>> {
        self.event.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The calls in progress, by the index of their [`OpId`].
#[derive(Default)]
pub(crate) struct CallSlots(Vec<Option<(OpId, Arc<CallSlot>)>>);

impl CallSlots {
    /// Add a call.
    pub(crate) fn insert(&mut self, op: OpId, slot: &Arc<CallSlot>) {
        if self.0.len() <= op.index() {
            self.0.resize_with(op.index() + 1, || None);
        }
        self.0[op.index()] = Some((op, Arc::clone(slot)));
    }

    /// Remove a call. If it has ended, another call may have its index.
    pub(crate) fn remove(&mut self, op: OpId) -> Option<Arc<CallSlot>> {
        let entry = self.0.get_mut(op.index())?;
        entry.take_if(|(stored, _)| *stored == op).map(|(_, slot)| slot)
    }

    fn get(&self, op: OpId) -> Option<&Arc<CallSlot>> {
        let entry = self.0.get(op.index())?.as_ref();
        entry.filter(|(stored, _)| *stored == op).map(|(_, slot)| slot)
    }
}

impl Calls for CallSlots {
    type Waker = Arc<CallSlot>;

    fn deliver(
        &mut self,
        op: OpId,
        event: CallEvent,
    ) -> (Option<Arc<CallSlot>>, Option<CallEvent>) {
        let slot = match &event {
            CallEvent::Done(_) => self.remove(op),
            CallEvent::Load(_) => self.get(op).cloned(),
        };
        let Some(slot) = slot else { return (None, Some(event)) };
        let replaced = slot.event().replace(event);
        (Some(slot), replaced)
    }
}
