//! The slots in which the threads of calls wait for their events.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use redcache_adapter::{CallEvent, Calls};
use redcache_core::engine::{CallStep, OpId};

/// A call in progress, and the thread that waits for it.
pub(crate) struct CallSlot {
    thread: Thread,
    inbox: Mutex<Inbox>,
}

/// The deliveries of the engine that the call has not taken.
#[derive(Default)]
struct Inbox {
    event: Option<CallEvent>,
    /// Steps, if the call has a trace.
    steps: Vec<CallStep>,
}

impl CallSlot {
    /// Create a slot for the current thread.
    pub(crate) fn new() -> Self {
        Self { thread: thread::current(), inbox: Mutex::default() }
    }

    pub(crate) fn wake(&self) {
        self.thread.unpark();
    }

    pub(crate) fn has_event(&self) -> bool {
        self.inbox().event.is_some()
    }

    /// Take the steps that precede the next event.
    pub(crate) fn take_steps(&self) -> Vec<CallStep> {
        mem::take(&mut self.inbox().steps)
    }

    /// Wait for the next event. Pass the steps that precede it to `note`.
    pub(crate) fn wait(&self, mut note: impl FnMut(Vec<CallStep>)) -> CallEvent {
        loop {
            let Inbox { event, steps } = mem::take(&mut *self.inbox());
            note(steps);
            if let Some(event) = event {
                return event;
            }
            thread::park();
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
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
        let replaced = slot.inbox().event.replace(event);
        (Some(slot), replaced)
    }

    fn note(&mut self, op: OpId, step: CallStep) -> Option<Arc<CallSlot>> {
        let slot = self.get(op)?;
        slot.inbox().steps.push(step);
        Some(Arc::clone(slot))
    }
}
