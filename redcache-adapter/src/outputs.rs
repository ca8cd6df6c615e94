//! The engine's events, sorted by the work that a face does after it has released the lock.

use redcache_core::Key;
use redcache_core::engine::{CallStep, ConnId, Observation, OpId, Outcome};

/// An event for one call.
#[derive(Debug)]
pub enum CallEvent {
    /// Run the loader for these keys. A call that has a single key gets an empty list.
    Load(Vec<Key>),
    /// The call has ended.
    Done(Outcome),
}

/// The calls of a face that wait for their events.
pub trait Calls {
    /// The handle that wakes a waiting caller.
    type Waker;

    /// Store an event for its call. Return the waker of the caller, if it sleeps, and the event to
    /// drop: the one that the new event replaces, or the new event itself if no call waits for it.
    fn deliver(&mut self, op: OpId, event: CallEvent) -> (Option<Self::Waker>, Option<CallEvent>);

    /// Store a step for its call. Return the waker of the caller.
    fn note(&mut self, op: OpId, step: CallStep) -> Option<Self::Waker>;
}

/// The work of a face after it has released the lock. `W` wakes a caller.
#[derive(Debug)]
pub struct Outputs<W> {
    /// The callers to wake.
    pub wakers: Vec<W>,
    /// The connections to close.
    pub hang_ups: Vec<ConnId>,
    /// The face's timer has to wake up: for an attempt to connect, a refresh, an earlier timeout,
    /// or the end.
    pub has_work: bool,
    /// The cache has connected, failed to connect or closed.
    pub has_news: bool,
    /// Events for the observer.
    pub observations: Vec<Observation>,
    /// Events that no call takes. They may own values of the application, whose `Drop` must not run
    /// under the lock.
    unclaimed: Vec<CallEvent>,
}

impl<W> Default for Outputs<W> {
    fn default() -> Self {
        Self {
            wakers: Vec::new(),
            hang_ups: Vec::new(),
            has_work: false,
            has_news: false,
            observations: Vec::new(),
            unclaimed: Vec::new(),
        }
    }
}

impl<W> Outputs<W> {
    pub(crate) fn deliver<C: Calls<Waker = W>>(
        &mut self,
        calls: &mut C,
        op: OpId,
        event: CallEvent,
    ) {
        let (waker, unclaimed) = calls.deliver(op, event);
        self.wakers.extend(waker);
        self.unclaimed.extend(unclaimed);
    }
}
