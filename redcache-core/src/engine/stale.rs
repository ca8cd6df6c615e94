//! Outdated copies in place of errors and of waits, as far as the settings allow.

use std::time::{Duration, Instant};

use super::Engine;
use crate::api::answer::Answer;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::flow::flights::{Caller, FlightId};
use crate::flow::get::{Get, Input};
use crate::near::{Evidence, Staleness};

impl Engine {
    /// The outdated copy that is better than an error.
    pub(super) fn stale_for_error(
        &self,
        now: Instant,
        key: &Key,
        evidence: Evidence,
    ) -> Option<Answer> {
        self.stale(now, key, self.config.stale_if_error, evidence)
    }

    fn stale(&self, now: Instant, key: &Key, max: Duration, evidence: Evidence) -> Option<Answer> {
        let staleness = Staleness { max, lost_at: self.lost_at };
        self.near.stale(key.as_bytes(), now, staleness, evidence)
    }

    /// What those who fetch a key for themselves are given when Redis cannot be asked for it.
    pub(super) fn or_stale(
        &mut self,
        now: Instant,
        key: &Key,
        result: Result<Answer, CallError>,
    ) -> Result<Answer, CallError> {
        let Err(error) = result else { return result };
        let stale = self.stale_for_error(now, key, Evidence::Nothing);
        self.stats.stale += u64::from(stale.is_some());
        stale.ok_or(error)
    }

    /// The outdated copy that is better than to wait for the flight.
    pub(super) fn stale_for_wait(&self, now: Instant, id: FlightId) -> Option<Answer> {
        let flight = self.flights.get(id)?;
        let course = &flight.course;
        let waits = matches!(course.state, Get::Load { .. } | Get::Unlock);
        if !waits || course.options.reload {
            return None;
        }
        self.stale(now, &flight.key, self.config.stale_while_revalidate, course.evidence)
    }

    /// Lets those go with an outdated copy who would have to wait for the load of somebody else. Without anybody left,
    /// a flight that waits for another process is over.
    pub(super) fn relieve_waiting(&mut self, now: Instant, id: FlightId) {
        let Some(answer) = self.stale_for_wait(now, id) else { return };
        let Some(flight) = self.flights.get_mut(id) else { return };
        let mut relieved = std::mem::take(&mut flight.followers);
        let is_over = matches!(flight.course.state, Get::Unlock);
        if is_over {
            relieved.extend(flight.leader.take());
        }
        for caller in relieved {
            self.relieve(caller, answer.clone());
        }
        if is_over {
            self.advance(now, id, Input::Abandoned);
        }
    }

    pub(super) fn relieve(&mut self, caller: Caller, answer: Answer) {
        if self.ops.contains(caller.op) {
            self.stats.stale += 1;
            self.settle(caller, Ok(answer));
        }
    }
}
