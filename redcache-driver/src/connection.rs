//! A connection as the shared state knows it.

use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use redcache_adapter::BusyPoll;
use redcache_core::engine::ConnId;

use crate::write_half::WriteHalf;

/// A connection and the task that reads it.
pub(crate) struct Connection {
    pub(crate) write_half: Arc<WriteHalf>,
    /// Wakes the task, once it has begun.
    pub(crate) waker: Option<Waker>,
    /// The task will look at the shared state without being woken.
    pub(crate) is_awake: bool,
    pub(crate) busy_poll: BusyPoll,
}

impl Connection {
    pub(crate) fn new(write_half: Arc<WriteHalf>, busy_poll: Duration) -> Self {
        Self { write_half, waker: None, is_awake: true, busy_poll: BusyPoll::new(busy_poll) }
    }

    pub(crate) fn id(&self) -> ConnId {
        self.write_half.conn
    }

    /// Return the waker of the task if the task sleeps. It counts as awake from then on.
    pub(crate) fn wake_if_parked(&mut self) -> Option<Waker> {
        if mem::replace(&mut self.is_awake, true) { None } else { self.waker.clone() }
    }

    /// Return the waker of the task if the task sleeps and should poll for a reply instead.
    pub(crate) fn wake_to_poll(&mut self, now: Instant) -> Option<Waker> {
        if !self.is_awake && self.busy_poll.begin(now) { self.wake_if_parked() } else { None }
    }
}
