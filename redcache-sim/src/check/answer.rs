//! Answers of calls against the history of their keys.

use std::time::Duration;

use bytes::Bytes;
use redcache_core::engine::{CallError, OpId, Outcome};
use redcache_core::{Answer, Source};

use crate::clock::Micros;
use crate::history::{Origin, Stamp, Validity, decode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Given, Kind, State};
use crate::state::link::{Gate, Link};
use crate::state::world::World;

impl World {
    /// Handle the outcome of a call.
    pub(crate) fn on_done(&mut self, process: usize, op: OpId, outcome: Outcome) -> Checked {
        let Some(call) = self.processes[process].call(op) else {
            return Err(Invariant::CancelNeutrality
                .broken(format!("p{process} gets {outcome:?} for a finished call")));
        };
        self.trace.line(self.now, || format!("call {call} ends: {outcome:?}"));
        self.trace.mix(&[call as u64, self.now]);
        self.tally.cover(Invariant::Completion);
        if self.calls[call].kind == Kind::Refresh {
            return self.on_refreshed(process, call, &outcome);
        }
        self.check_outcome(call, &outcome)?;
        self.count_coverage(call);
        self.cover_hang_up(call);
        self.cover_oversized(call);
        self.cover_room(call);
        self.cover_load_timeout(call);
        self.note_deadline(call);
        self.processes[process].forget(op);
        self.end_call(call, State::Done);
        Ok(())
    }

    fn count_coverage(&mut self, call: usize) {
        if self.plan.is_healthy {
            self.tally.cover(Invariant::NoErrorWithoutCause);
        }
        let state = &self.calls[call];
        let is_foreign = |key: &usize| self.is_locked_by_strangers(*key);
        if state.kind.loads() && state.keys.iter().any(is_foreign) {
            self.tally.cover(Invariant::ForeignLock);
        }
    }

    fn check_outcome(&mut self, call: usize, outcome: &Outcome) -> Checked {
        let state = &self.calls[call];
        let (kind, keys) = (state.kind, state.keys.clone());
        let expected = match outcome {
            Outcome::Answer(_) | Outcome::Written(_) => 1,
            Outcome::Answers(all) => all.len(),
            Outcome::WrittenMany(all) => all.len(),
            Outcome::Stored(_) => 1,
            Outcome::StoredMany(all) => all.len(),
            other => return Err(Invariant::Pairing.broken(format!("unknown outcome {other:?}"))),
        };
        let fits = match outcome {
            Outcome::Answer(_) => matches!(kind, Kind::Get | Kind::GetWith),
            Outcome::Answers(_) => matches!(kind, Kind::GetMany | Kind::GetManyWith),
            Outcome::Written(_) => matches!(kind, Kind::Insert | Kind::Remove | Kind::Touch),
            Outcome::Stored(_) => kind == Kind::SetWith,
            Outcome::StoredMany(_) => matches!(kind, Kind::SetManyWith | Kind::Change),
            _ => matches!(kind, Kind::InsertMany | Kind::RemoveMany | Kind::TouchMany),
        };
        Invariant::Pairing.holds(fits && expected == keys.len(), || {
            format!("call {call}, {kind:?} of {} keys, ends with {outcome:?}", keys.len())
        })?;
        match outcome {
            Outcome::Answer(result) => self.check_result(call, 0, result),
            Outcome::Answers(all) => {
                (0..).zip(all).try_for_each(|(slot, result)| self.check_result(call, slot, result))
            }
            Outcome::Written(result) => self.check_written(call, 0, result),
            Outcome::WrittenMany(all) => {
                (0..).zip(all).try_for_each(|(slot, result)| self.check_written(call, slot, result))
            }
            Outcome::Stored(result) => self.check_stored(call, 0, result),
            Outcome::StoredMany(all) => {
                (0..).zip(all).try_for_each(|(slot, result)| self.check_stored(call, slot, result))
            }
            _ => Ok(()),
        }
    }

    fn check_result(
        &mut self,
        call: usize,
        slot: usize,
        result: &Result<Answer, CallError>,
    ) -> Checked {
        match result {
            Ok(answer) => self.check_answer(call, slot, answer),
            Err(CallError::Cache(error)) => self.check_error(call, slot, error),
            Err(CallError::Load(failure)) => self.check_failure(call, slot, &failure.to_string()),
        }
    }

    fn check_answer(&mut self, call: usize, slot: usize, answer: &Answer) -> Checked {
        self.check_reloaded(call, slot, answer)?;
        self.check_fresh_answer(call, slot, answer)?;
        if answer.source == Source::Stale {
            return self.check_stale(call, slot, answer);
        }
        let state = &self.calls[call];
        let key = state.keys[slot];
        let mut given = state.given.iter().filter(|(of, _)| *of == key).map(|(_, given)| given);
        if answer.source == Source::Loaded {
            let fits = given.any(|given| *given == Given::Value(answer.value.clone()));
            self.tally.cover(Invariant::LoadedIsReturned);
            return Invariant::LoadedIsReturned.holds(fits, || {
                format!("call {call} got {answer:?} for key {key} and loaded {:?}", state.given)
            });
        }
        // A key that occurs twice in a batch may be loaded once and joined or read once.
        let is_repeated = state.keys.iter().filter(|&&other| other == key).count() > 1;
        Invariant::LoadedIsReturned.holds(is_repeated || given.next().is_none(), || {
            format!("call {call} got {answer:?} for key {key} and loaded {:?}", state.given)
        })?;
        self.tally.cover(Invariant::Pairing);
        if let Some(value) = &answer.value {
            self.check_spelling(key, value)?;
        }
        match answer.source {
            Source::Redis => self.check_read(call, slot, answer.value.as_ref()),
            Source::Joined => self.check_joined(call, slot, answer.value.as_ref()),
            source => Err(Invariant::LoadedIsReturned
                .broken(format!("call {call} ends with {source:?} and loaded nothing"))),
        }
    }

    /// Check that a value belongs to the key and is byte for byte what was written.
    pub(crate) fn check_spelling(&mut self, key: usize, value: &Bytes) -> Checked {
        let named = decode_value(value);
        Invariant::Pairing.holds(named.is_some_and(|(other, _)| other == key), || {
            format!("key {key} was answered with {value:?}")
        })?;
        let version = named.and_then(|(_, number)| self.versions.get(number));
        self.tally.cover(Invariant::Opaque);
        Invariant::Opaque
            .holds(version.is_some_and(|it| it.payload.as_ref() == Some(value)), || {
                format!("key {key} was answered with {value:?}, which was never written")
            })
    }

    /// Return the earliest time at which the answer of a call that joined others may have been
    /// true.
    pub(super) fn joined_since(&self, call: usize) -> Micros {
        let state = &self.calls[call];
        let process = &self.processes[state.process];
        // A publication without a reply ends with the command timeout, for which the process runs.
        let patience = process.clock.stretch(self.plan.times.command) + self.one_way();
        process.pauses.running_since(state.started_at, patience)
    }

    fn check_read(&mut self, call: usize, slot: usize, value: Option<&Bytes>) -> Checked {
        let state = &self.calls[call];
        let key = state.keys[slot];
        let is_read = matches!(state.kind, Kind::Get | Kind::GetMany);
        let since = if is_read { state.started_at } else { self.joined_since(call) };
        let period = if is_read || value.is_some() {
            self.keys[key].seen(value, since)
        } else {
            self.keys[key].seen_not_found(since)
        };
        self.tally.cover(Invariant::BoundedStaleness);
        let Some(period) = period else {
            return Err(Invariant::BoundedStaleness.broken(format!(
                "call {call} of {} µs got {value:?} for key {key}, not true since {since} µs",
                state.started_at
            )));
        };
        let (from, to) = (period.from, period.to);
        self.check_floors(call, slot, value, to, is_read)?;
        if is_read {
            self.check_commit_seen(call, slot, value)?;
            self.learn(call, slot, from);
        }
        Ok(())
    }

    fn check_joined(&mut self, call: usize, slot: usize, value: Option<&Bytes>) -> Checked {
        let state = &self.calls[call];
        let key = state.keys[slot];
        // A failover may lose a write and bring back the value it replaced.
        let floor = state.own_floors[slot];
        let came_back = |begun: &Stamp| self.cluster.is_some() && *begun < floor;
        if let Some(begun) = self.joined_load(call, key, value).filter(|begun| !came_back(begun)) {
            self.check_unstored(call, slot, (value, begun))?;
            self.tally.cover(Invariant::OwnWrites);
            return Invariant::OwnWrites.holds(value.is_none() || begun >= floor, || {
                format!("call {call} joined a load of key {key} older than a write of its process")
            });
        }
        self.check_read(call, slot, value)
    }

    /// Check that a call joins no load that began before an acknowledged write, unless the value
    /// was stored: Redis stores no value that is older than a write.
    fn check_unstored(
        &mut self,
        call: usize,
        slot: usize,
        (value, begun): (Option<&Bytes>, Stamp),
    ) -> Checked {
        let state = &self.calls[call];
        let (key, floor) = (state.keys[slot], state.join_floors[slot]);
        // A process without a connection cannot learn of the write. A batch reports all answers
        // together with the last.
        let since = if state.kind.is_batch() { state.started_at } else { self.now };
        let is_cut_off = self.was_cut_off(state.process, since);
        let is_stored = value.is_none() || self.keys[key].seen(value, 0).is_some();
        if is_stored || is_cut_off || self.cluster.is_some() {
            return Ok(());
        }
        self.tally.cover(Invariant::JoinedInTime);
        Invariant::JoinedInTime.holds(begun >= floor, || {
            format!(
                "call {call} joined a load of key {key} that began at {begun}; write at {floor}"
            )
        })
    }

    /// Return whether a process was without a connection at some time since then. It may have left
    /// a link just now.
    pub(super) fn was_cut_off(&self, process: usize, since: Micros) -> bool {
        let process = &self.processes[process];
        let has_lasted = |&link: &usize| {
            let Link { gate, passed_at, .. } = self.links[link];
            gate == Gate::Passed && passed_at <= since
        };
        !process.engine.is_connected() || !process.links.iter().any(has_lasted)
    }

    /// Return when the load began that a call joined for this value, if it joined one.
    fn joined_load(&self, call: usize, key: usize, value: Option<&Bytes>) -> Option<Stamp> {
        let state = &self.calls[call];
        // A load that has ended can still be joined while it is being published.
        let since = self.joined_since(call);
        let is_joined = |origin: &Origin| match *origin {
            // The load of a write or a refresh is never joined, only read.
            Origin::Load { call, .. }
                if self.calls[call].kind.is_set() || self.calls[call].kind == Kind::Refresh =>
            {
                None
            }
            Origin::Load { process, life, ended_at, begun, .. } => ((process, life)
                == (state.process, state.life)
                && ended_at >= since
                && ended_at <= self.now)
                .then_some(begun),
            Origin::Insert { .. } | Origin::Foreign => None,
        };
        match value {
            Some(value) => {
                let (_, number) = decode_value(value)?;
                is_joined(&self.versions.get(number)?.origin)
            }
            None => {
                let mut empty = self
                    .versions
                    .iter()
                    .rev()
                    .filter(|version| version.key == key && version.payload.is_none());
                empty.find_map(|version| is_joined(&version.origin))
            }
        }
    }

    /// Check that an answer true until `to` is no older than what the process knew at the call.
    fn check_floors(
        &mut self,
        call: usize,
        slot: usize,
        value: Option<&Bytes>,
        to: Stamp,
        is_read: bool,
    ) -> Checked {
        let state = &self.calls[call];
        let (key, own, seen) = (state.keys[slot], state.own_floors[slot], state.seen_floors[slot]);
        if own > 0 {
            self.tally.cover(Invariant::OwnWrites);
            Invariant::OwnWrites.holds(to > own, || {
                format!(
                    "call {call} got {value:?} for key {key}, true until {to}; own write at {own}"
                )
            })?;
        }
        if seen > 0 && is_read {
            self.tally.cover(Invariant::Monotonic);
            Invariant::Monotonic.holds(to > seen, || {
                format!("call {call} got {value:?} for key {key}, true until {to}; at {seen} newer")
            })?;
        }
        Ok(())
    }

    fn learn(&mut self, call: usize, slot: usize, from: Stamp) {
        let state = &self.calls[call];
        let learned = &mut self.processes[state.process].learned[state.keys[slot]];
        learned.seen = learned.seen.max(from);
    }

    /// Check a hit in the near cache.
    pub(crate) fn check_hit(
        &mut self,
        process: usize,
        key: usize,
        value: Option<&Bytes>,
    ) -> Checked {
        self.tally.cover(Invariant::BoundedStaleness);
        if let Some(value) = value {
            self.check_spelling(key, value)?;
        }
        let state = &self.processes[process];
        let heartbeat = state.clock.stretch(self.plan.times.heartbeat);
        // A slot that moved is noticed by the next discovery at the latest.
        let asking = self.plan.cluster.as_ref().map_or(Duration::ZERO, |cluster| {
            2 * cluster.refresh + 4 * self.plan.times.command + Duration::from_secs(1)
        });
        let asking = state.clock.stretch(asking);
        let bound = 2 * heartbeat + 4 * self.one_way() + self.longest_hold() + asking;
        // A paused process reads nothing.
        let since = state.pauses.running_since(self.now, bound);
        let period = match value {
            Some(_) => self.keys[key].seen(value, since),
            None => self.keys[key].seen_not_found(since),
        };
        let Some(Validity { from, to }) = period else {
            return Err(Invariant::BoundedStaleness.broken(format!(
                "p{process} has {value:?} for key {key} near, not true recently"
            )));
        };
        let learned = state.learned[key];
        if learned.own_write > 0 {
            self.tally.cover(Invariant::OwnWrites);
        }
        Invariant::OwnWrites.holds(to > learned.own_write, || {
            format!(
                "p{process} has {value:?} for key {key} near; own write at {}",
                learned.own_write
            )
        })?;
        if learned.seen > 0 {
            self.tally.cover(Invariant::Monotonic);
        }
        Invariant::Monotonic.holds(to > learned.seen, || {
            format!("p{process} has {value:?} for key {key} near; at {} newer", learned.seen)
        })?;
        self.processes[process].learned[key].seen = learned.seen.max(from);
        Ok(())
    }
}
