//! What will happen, in order of time; at one time, in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Micros;
use crate::fault::Fault;

/// Something that the world will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A process asked to be woken.
    EngineTimeout(usize),
    /// A server asked to be woken.
    ServerTimeout(usize),
    /// An attempt to connect comes to an end.
    Dialed(usize),
    /// Bytes reach the server on a link.
    ToServer(usize),
    /// Bytes reach a process on a link.
    ToClient(usize),
    /// A caller makes its next call.
    Act(usize),
    /// A call's future is dropped, if it still waits.
    Drop(usize),
    /// A worker for refreshes begins: of which process, in which of its lives.
    Work(usize, u32),
    /// The loader of a call ends: which call, and which of its loads.
    Loaded(usize, u32),
    /// A call must be over by now.
    Deadline(usize),
    /// A silent link must have been given up by now.
    Silence(usize),
    /// The next of the planned faults injections.
    Fault(usize),
    /// A server recovers from a sickness.
    Recover(usize, Fault),
    /// What a primary has sent reaches its replica.
    Replicate(usize),
    /// A key of a slot on the move goes to the new owner.
    MoveKey(usize),
    /// The slot of a key has moved.
    EndMove(usize),
    /// A node deletes what it has of the slot of a key that it has lost.
    Trim(usize, usize),
    /// The replica of a shard takes over.
    Promote(usize),
    /// Whoever waited when a connection was lost must have asked again on the next one.
    Reread(usize),
    /// A paused process goes on.
    Resume(usize),
    /// A process starts again.
    Restart(usize),
    /// The faults end.
    Quiesced,
    /// All must have healed; the last calls are made.
    Healed,
    /// Everything must be at rest.
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
        // The heap gives its greatest first.
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
    fn what_is_planned_for_one_time_happens_in_the_order_of_planning() {
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
