//! The timeline of a run: its events in the order of time, and the record of the run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock::{Micros, SkewedClock};
use crate::invariant::{Checked, Invariant, Violation};
use crate::options::Options;
use crate::run::Run;
use crate::state::trace::Trace;
use crate::tally::Tally;

/// The largest number of events, more than any run that makes progress needs.
const STEPS_MAX: u64 = 400_000;

/// The time, the events and the record of a run whose clocks all show the same time.
#[derive(Debug)]
pub(crate) struct Timeline<E> {
    pub(crate) now: Micros,
    queue: BTreeMap<(Micros, u64), E>,
    turn: u64,
    clock: SkewedClock,
    steps: u64,
    disturbed_steps: u64,
    disturbed_steps_max: u64,
    /// The number of calls so far.
    pub(crate) calls: u64,
    pub(crate) trace: Trace,
    pub(crate) tally: Tally,
}

impl<E> Timeline<E> {
    pub(crate) fn new(options: &Options) -> Self {
        // The origin of virtual time. The added day allows subtracting spans from it.
        let start = Instant::now() + Duration::from_secs(24 * 3600);
        Self {
            now: 0,
            queue: BTreeMap::new(),
            turn: 0,
            clock: SkewedClock::new(start, 0),
            steps: 0,
            disturbed_steps: 0,
            disturbed_steps_max: options.disturbed_steps_max.unwrap_or(u64::MAX),
            calls: 0,
            trace: Trace::new(options.trace),
            tally: Tally::default(),
        }
    }

    pub(crate) fn schedule(&mut self, at: Micros, event: E) {
        self.turn += 1;
        self.queue.insert((at.max(self.now), self.turn), event);
    }

    /// Advance to the next event.
    pub(crate) fn next(&mut self) -> Result<E, Violation> {
        Invariant::Liveness
            .holds(self.steps < STEPS_MAX, || format!("still running after {STEPS_MAX} steps"))?;
        let Some(((at, turn), event)) = self.queue.pop_first() else {
            return Err(Invariant::Liveness.broken("the queue of events is empty"));
        };
        self.now = at;
        self.steps += 1;
        self.trace.mix(&[at, turn]);
        Ok(event)
    }

    /// Count the last step as one with faults. Return whether it is the last of these.
    pub(crate) fn is_last_disturbed(&mut self) -> bool {
        self.disturbed_steps = self.steps;
        self.steps == self.disturbed_steps_max
    }

    /// Return the time on every clock.
    pub(crate) fn time(&self) -> Instant {
        self.clock.at(self.now)
    }

    /// Return the first microsecond, now or later, at which the clocks show `at`.
    pub(crate) fn when(&self, at: Instant) -> Micros {
        self.clock.when(at).max(self.now)
    }

    /// Add a line to the trace.
    pub(crate) fn line(&mut self, text: impl FnOnce() -> String) {
        self.trace.line(self.now, text);
    }

    /// End the run of a seed.
    pub(crate) fn end(mut self, seed: u64, ended: Checked) -> Run {
        let violation = ended.err();
        self.line(|| match &violation {
            Some(it) => format!("BROKEN: {} ({})", it.invariant.description(), it.text),
            None => "nothing is left".to_owned(),
        });
        Run {
            seed,
            steps: self.steps,
            disturbed_steps: self.disturbed_steps,
            calls: self.calls,
            changes: 0,
            lasted: Duration::from_micros(self.now),
            hash: self.trace.hash(),
            tally: self.tally,
            violation,
            trace: self.trace.into_lines(),
        }
    }
}
