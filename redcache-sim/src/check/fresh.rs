//! The freshness of answers: what each says of its own age must be true, and within its limits.

use std::time::Duration;

use bytes::Bytes;
use redcache_core::engine::NearHit;
use redcache_core::{Answer, Source};

use crate::check::near::drift;
use crate::clock::Micros;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::state::call_style::CallStyle;
use crate::state::world::World;

/// The rounding between a process's clock and that of the world.
const ROUNDING: Micros = 5;

impl World {
    /// Check the freshness of a near hit.
    pub(crate) fn check_fresh_hit(
        &mut self,
        process: usize,
        key: usize,
        hit: &NearHit,
        style: CallStyle,
    ) -> Checked {
        let own = style.max_staleness.unwrap_or(Duration::MAX);
        let of_cache = self.plan.near_staleness_max;
        let of_cache = if of_cache.is_zero() { Duration::MAX } else { of_cache };
        if own.min(of_cache) < Duration::MAX {
            self.tally.cover(Invariant::StalenessMax);
        }
        Invariant::StalenessMax.holds(hit.fresh_as_of <= own.min(of_cache), || {
            format!("p{process} finds {hit:?} for key {key}, the limits are {own:?}, {of_cache:?}")
        })?;
        self.check_fresh(process, key, (hit.value(), hit.fresh_as_of), self.now)
    }

    /// Check the freshness of the answer of a call.
    pub(crate) fn check_fresh_answer(
        &mut self,
        call: usize,
        slot: usize,
        answer: &Answer,
    ) -> Checked {
        let state = &self.calls[call];
        let (process, key) = (state.process, state.keys[slot]);
        let clock = self.processes[process].clock;
        let age = answer.fresh_as_of.ok_or_else(|| {
            Invariant::FreshAsOf
                .broken(format!("call {call} does not know how fresh {answer:?} is"))
        })?;
        // A batch reports all answers together with the last, each with its age at its own time.
        let at = if state.kind.is_batch() { state.started_at } else { self.now };
        if let Some(max) = state.style.max_staleness {
            self.tally.cover(Invariant::StalenessMax);
            let (since, age) = (state.started_at, clock.stretch(age));
            let begun = self.now.saturating_sub(age) + clock.stretch(max) + 2 * ROUNDING;
            Invariant::StalenessMax.holds(begun >= since, || {
                format!("call {call} of {since} µs gets {answer:?}, the limit is {max:?}")
            })?;
        }
        let value = answer.value.as_ref();
        // A value that is not in Redis is as old as its load.
        let is_of_redis = match answer.source {
            Source::Redis | Source::Stale => true,
            _ => value.is_some() && self.keys[key].seen(value, 0).is_some(),
        };
        if !is_of_redis {
            return Ok(());
        }
        self.check_fresh(process, key, (value, age), at)
    }

    /// Check that the engine finds no difference between its near hits and the server.
    pub(crate) fn check_audits(&mut self, process: usize) -> Checked {
        if self.plan.near_audit_every == 0 {
            return Ok(());
        }
        let stats = self.processes[process].engine.stats();
        if stats.audits > 0 {
            self.tally.cover(Invariant::Audit);
        }
        Invariant::Audit.holds(stats.audit_differences == 0, || {
            format!("p{process} has checked {} hits and finds differences", stats.audits)
        })
    }

    fn check_fresh(
        &mut self,
        process: usize,
        key: usize,
        (value, age): (Option<&Bytes>, Duration),
        at: Micros,
    ) -> Checked {
        if self.is_untold_of_owner(process, key) {
            return Ok(());
        }
        let age = self.processes[process].clock.stretch(age);
        let mut slack = ROUNDING;
        // An expiry is no write: an entry ends by the clock of its process.
        if self.plan.faults.has(Fault::Expiry) || self.plan.faults.has(Fault::ForeignExpire) {
            slack += 2_000;
            if self.plan.faults.has(Fault::SkewedClock) {
                slack += drift(self.now);
            }
        }
        let since = at.saturating_sub(age + slack);
        self.tally.cover(Invariant::FreshAsOf);
        Invariant::FreshAsOf.holds(self.keys[key].seen(value, since).is_some(), || {
            format!("p{process} gets {value:?} for key {key}, not true since {since} µs")
        })
    }

    /// Return whether the slot of a key has an owner of which the process was not told.
    fn is_untold_of_owner(&self, process: usize, key: usize) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let (version, state) = (cluster.versions[key], &self.processes[process]);
        let knows = |&link: &usize| self.links[link].knows_owner(key, version);
        !state.map.knows_owner(key, version) && !state.links.iter().any(knows)
    }
}
