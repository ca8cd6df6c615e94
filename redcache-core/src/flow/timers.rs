//! Deadlines by name. When one passes, the engine turns its name into an input; nobody stores a callback.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::flow::flights::{FlightId, OpId};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A flight has waited long enough for somebody else's lock, or paused long enough before another try.
    Wait(FlightId),
    /// A flight's load has passed half of its lock's life, or its own deadline.
    Load(FlightId),
    /// A write has waited long enough, for its turn or for somebody else's lock, or it is time to look after its load.
    Set(OpId),
    /// It is time to look after the load of a refresh.
    Refresh(OpId),
    /// A call has taken as long as it may.
    Deadline(OpId),
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

    /// Takes the earliest timer whose deadline has come.
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
