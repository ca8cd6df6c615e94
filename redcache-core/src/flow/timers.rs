//! Deadlines by name. The engine converts an expired name into an input, so no callback is stored.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::flow::call::OpId;
use crate::flow::flights::FlightId;

/// The purpose of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A flight's wait for the lock of another caller, or its pause before another read, has ended.
    FlightWait(FlightId),
    /// A flight's load needs its lock renewed, or has reached `load_timeout`.
    FlightLoad(FlightId),
    /// A locked write's wait or pause has ended, or its load needs attention.
    Write(OpId),
    /// A refresh's load needs its locks renewed, or has reached `load_timeout`.
    Refresh(OpId),
    /// The pause before failed removals are repeated has ended.
    Removals,
    /// A call has reached its timeout.
    Timeout(OpId),
}

/// The armed deadlines, earliest first.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(crate) fn arm(&mut self, timer: Timer, at: Instant) {
        self.0.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, timer: Timer, at: Instant) {
        self.0.remove(&(at, timer));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Take the earliest timer whose deadline has come.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
