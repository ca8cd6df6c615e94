//! Calls that end before their time: dropped by their callers, past their deadline, or because the cache is closed.

use std::time::{Duration, Instant};

use super::Engine;
use super::ops::{Deadline, Op};
use crate::api::error::{Error, ErrorKind};
use crate::api::load_error::CallError;
use crate::event::{Event, Outcome};
use crate::flow::flights::{Caller, FlightId, OpId};
use crate::flow::timers::Timer;

impl Engine {
    /// Has a call that was just made, and for which none was set yet, fail with [`ErrorKind::DeadlineExceeded`] unless it is over `after` this time.
    pub fn set_timeout(&mut self, now: Instant, op: OpId, after: Duration) {
        // A deadline beyond the end of time is none.
        let at = now.checked_add(after);
        if self.ops.contains(op)
            && let Some(at) = at
        {
            self.ops.set_deadline(op, Deadline { at, after });
            self.timers.arm(Timer::Deadline(op), at);
        }
    }

    /// The caller is gone. What it held goes to the next in line, or back.
    pub fn cancel(&mut self, now: Instant, op: OpId) {
        #[cfg(redcache_mutants)]
        if mutant!(ReplySlotDroppedOnCancel) {
            self.router.drop_slot(super::Sender::Call(op, 0).token());
        }
        if let Some(Op::Set(_)) = self.ops.get_mut(op) {
            // It stays until what is under way is answered, to give back what comes of that.
            self.abandon_set(now, op);
            return self.drain(now);
        }
        if let Some(Op::Refresh(_)) = self.ops.get_mut(op) {
            self.abandon_refresh(now, op);
            return self.drain(now);
        }
        let flights = self.flights_of(op);
        // The commands of those that are aboard of none are answered to nobody.
        self.end_op(op);
        for (flight, slot) in flights {
            self.leave(now, flight, Caller { op, slot });
        }
        self.drain(now);
    }

    pub(super) fn on_deadline(&mut self, now: Instant, op: OpId) {
        if mutant!(DeadlineIgnored) {
            return;
        }
        let Some(deadline) = self.ops.take_deadline(op) else { return };
        let text = format!("it is {:?}", deadline.after);
        let error = Error::new(ErrorKind::DeadlineExceeded, text);
        let flights = self.flights_of(op);
        self.fail_early(now, op, &error);
        for (flight, slot) in flights {
            self.leave(now, flight, Caller { op, slot });
        }
    }

    /// Ends every call, gives back every lock.
    pub(super) fn abort_all(&mut self, now: Instant) {
        let closed = Error::closed();
        for op in self.ops.ids() {
            self.fail_early(now, op, &closed);
        }
        for flight in self.flights.select(|_| true) {
            self.abandon(now, flight);
        }
    }

    /// Tells the caller of a call that is not over; it has still to leave the flights it is aboard.
    fn fail_early(&mut self, now: Instant, op: OpId, error: &Error) {
        if let Some(Op::Set(_)) = self.ops.get_mut(op) {
            return self.fail_set(now, op, error);
        }
        if let Some(Op::Refresh(_)) = self.ops.get_mut(op) {
            return self.close_refresh(now, op);
        }
        let Some(entry) = self.end_op(op) else { return };
        let answer = || Err(CallError::Cache(error.clone()));
        let outcome = match entry {
            Op::Read | Op::Fetch { .. } => Outcome::Answer(answer()),
            Op::Write => Outcome::Written(Err(error.clone())),
            Op::ReadMany(gather) => Outcome::Answers(gather.fill(answer)),
            Op::FetchMany(batch) => Outcome::Answers(batch.answers.fill(answer)),
            Op::Set(_) | Op::Refresh(_) => return,
            Op::WriteMany(gather) => Outcome::WrittenMany(gather.fill(|| Err(error.clone()))),
        };
        self.events.push_back(Event::Done { op, outcome });
    }

    /// The flights that a call is aboard, and as which of its keys.
    fn flights_of(&mut self, op: OpId) -> Vec<(FlightId, u32)> {
        match self.ops.get_mut(op) {
            Some(Op::Fetch { flight }) => vec![(*flight, 0)],
            Some(Op::FetchMany(batch)) => batch.open_flights(),
            Some(
                Op::Read
                | Op::ReadMany(_)
                | Op::Set(_)
                | Op::Refresh(_)
                | Op::Write
                | Op::WriteMany(_),
            )
            | None => Vec::new(),
        }
    }

    /// Takes a call off the table, and its deadline with it.
    pub(super) fn end_op(&mut self, op: OpId) -> Option<Op> {
        if let Some(Deadline { at, .. }) = self.ops.take_deadline(op) {
            self.timers.disarm(Timer::Deadline(op), at);
        }
        self.ops.remove(op)
    }
}
