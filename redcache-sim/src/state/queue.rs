//! The queue of events, ordered by time, then by scheduling.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Micros;
use crate::fault::Fault;

/// An event of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A process's engine has a timeout.
    EngineTimeout(usize),
    /// A server has a timeout.
    ServerTimeout(usize),
    /// A dial ends.
    Dialed(usize),
    /// Bytes reach the server on a link.
    ToServer(usize),
    /// Bytes reach a process on a link.
    ToClient(usize),
    /// A caller makes its next call.
    Act(usize),
    /// A call's future is dropped if it still waits.
    Drop(usize),
    /// A refresh worker starts: its process and the life of the process.
    Work(usize, u32),
    /// A call that has to load is polled again.
    Polled(usize),
    /// A loader ends: its call and the number of the load.
    Loaded(usize, u32),
    /// A commit takes effect: its call.
    Commit(usize),
    /// The provider answers a question for credentials.
    Credentials(usize),
    /// The credentials of an answer expire.
    Expiry(usize),
    /// A call must have ended.
    Deadline(usize),
    /// The server sends a push on a link on which it receives nothing.
    Chatter(usize),
    /// A silent link must have been given up.
    Silence(usize),
    /// A planned fault is injected.
    Fault(usize),
    /// A server recovers from a fault.
    Recover(usize, Fault),
    /// A change reaches a replica.
    Replicate(usize),
    /// A key of a migrating slot goes to the new owner.
    MoveKey(usize),
    /// The migration of a key's slot ends.
    EndMove(usize),
    /// A node deletes the keys of a slot it has lost.
    Trim(usize, usize),
    /// The replica of a shard takes over.
    Promote(usize),
    /// Calls that waited when a connection was lost must have read again on the next one.
    Reread(usize),
    /// A paused process continues.
    Resume(usize),
    /// A process restarts.
    Restart(usize),
    /// The faults end.
    Quiesced,
    /// All faults must have healed, and the last calls are made.
    Healed,
    /// The end of the run, at which no state may be left.
    Rest,
}

#[derive(Debug, PartialEq, Eq)]
struct Planned {
    at: Micros,
    turn: u64,
    event: Event,
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap returns its greatest element first.
        (other.at, other.turn).cmp(&(self.at, self.turn))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    planned: BinaryHeap<Planned>,
    turn: u64,
}

impl Queue {
    pub(crate) fn plan(&mut self, at: Micros, event: Event) {
        self.turn += 1;
        self.planned.push(Planned { at, turn: self.turn, event });
    }

    pub(crate) fn next(&mut self) -> Option<(Micros, Event)> {
        self.planned.pop().map(|planned| (planned.at, planned.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_keep_the_order_of_scheduling() {
        let mut queue = Queue::default();
        for (at, event) in [(2, Event::Quiesced), (1, Event::Act(1)), (1, Event::Act(0))] {
            queue.plan(at, event);
        }
        assert_eq!(queue.next(), Some((1, Event::Act(1))));
        assert_eq!(queue.next(), Some((1, Event::Act(0))));
        assert_eq!(queue.next(), Some((2, Event::Quiesced)));
        assert_eq!(queue.next(), None);
    }
}
