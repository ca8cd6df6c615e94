//! The end of a flight: the answers of its callers, or their move to a later flight.

use std::time::Duration;

use super::call::FetchCall;
use super::fetch::{Fetch, Wanted};
use super::state::Fetches;
use crate::api::answer::{Answer, Source};
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::{AnswerEvent, LockLostEvent};
use crate::engine::env::{Cx, Env};
use crate::engine::stale::is_recent;
use crate::event::{Event, Outcome};
use crate::flow::call::Caller;
use crate::flow::flights::{Flight, FlightId, Member};
use crate::flow::get::{End, Found, Standing};
use crate::protocol::reply::Ttl;

impl Fetches {
    /// End a flight and answer its callers.
    pub(super) fn complete(&mut self, env: &mut Env, cx: Cx, id: FlightId, end: End) {
        self.set_timer(env, id, None, None);
        let Some(mut flight) = self.flights.end(id) else { return };
        env.observe_lock_wait(cx, flight.fetch.waiting_since);
        let is_error = matches!(end, End::LoadFailed(_) | End::Failed(_));
        let fetch = &flight.fetch;
        if is_error
            && !fetch.options.reload
            && let Some(answer) = env.stale_if_error(cx, &flight.key, fetch.absence)
            && self.answer_all_stale(env, cx, &mut flight, &answer)
        {
            return;
        }
        if let End::Outdated { .. } = end {
            env.stats.locks_lost += 1;
            env.observe(|| LockLostEvent::new(flight.key.clone()));
        }
        let mut late = if is_shared(env, &end) { Vec::new() } else { take_late(&mut flight) };
        if matches!(end, End::Hit { .. } | End::Loaded { .. } | End::Outdated { .. }) {
            late.append(&mut self.take_too_early(&mut flight));
        }
        let (result, source) = result(env, &flight.key, end);
        let fresh_as_of = flight.fetch.fresh_at.map(|at| cx.now.saturating_duration_since(at));
        self.answer_all(env, &mut flight, (result, source, fresh_as_of));
        for member in late {
            self.rejoin(env, cx, wanted_by_late(&flight), member.caller);
        }
    }

    /// Answer the callers of a flight that has ended.
    fn answer_all(
        &mut self,
        env: &mut Env,
        flight: &mut Flight<Fetch>,
        (result, source, fresh_as_of): (Result<Found, CallError>, Source, Option<Duration>),
    ) {
        for Member { caller, .. } in flight.take_followers() {
            if mutant!(FollowersForgotten) && matches!(result, Err(CallError::Load(_))) {
                break;
            }
            if self.is_here(caller) {
                let joined = result.clone().map(|found| answer(found, Source::Joined, fresh_as_of));
                env.stats.joined += 1;
                self.answer_caller(env, caller, joined);
            }
        }
        let Some(leader) = flight.leader() else { return };
        if source == Source::Redis && result.is_ok() {
            env.stats.redis_hits += 1;
        }
        let is_loader = flight.fetch.loaded_by == Some(leader) || mutant!(SuccessorTakenForLoader);
        let source = if source == Source::Loaded && !is_loader { Source::Joined } else { source };
        let result = result.map(|found| answer(found, source, fresh_as_of));
        self.answer_caller(env, leader, result);
    }

    /// Answer the callers of a flight that has failed with a stale entry, as far as it is recent
    /// enough for them. Return whether that answers all.
    fn answer_all_stale(
        &mut self,
        env: &mut Env,
        cx: Cx,
        flight: &mut Flight<Fetch>,
        stale: &Answer,
    ) -> bool {
        let calls = &self.calls;
        let is_enough = |member: &Member| {
            let call = calls.get(member.caller.op);
            is_recent(cx, stale, call.and_then(FetchCall::fresh_since))
        };
        let mut answered = flight.take_followers_if(is_enough);
        if let Some(leader) = flight.take_leader() {
            if is_enough(&leader) {
                answered.push(leader);
            } else {
                flight.restore_leader(leader);
            }
        }
        for member in answered {
            self.answer_stale(env, member.caller, stale.clone());
        }
        flight.leader().is_none() && !flight.has_followers()
    }

    /// Remove the callers for whose limit of staleness the flight has read too early.
    fn take_too_early(&self, flight: &mut Flight<Fetch>) -> Vec<Member> {
        let fresh_at = flight.fetch.fresh_at;
        let is_too_early = |member: &Member| {
            let call = self.calls.get(member.caller.op);
            let fresh_since = call.and_then(FetchCall::fresh_since);
            fresh_since.is_some() && fresh_at < fresh_since && !mutant!(JoinsUnbounded)
        };
        if !flight.members().any(is_too_early) {
            return Vec::new();
        }
        let mut early = flight.take_followers_if(is_too_early);
        if let Some(leader) = flight.take_leader() {
            if is_too_early(&leader) {
                early.insert(0, leader);
            } else {
                flight.restore_leader(leader);
            }
        }
        early
    }

    /// Move the callers that joined a superseded flight's load to the later flight of its key.
    pub(super) fn move_late_followers(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        if self.is_load_pending(id) {
            return;
        }
        let Some(flight) = self.flights.get_mut(id) else { return };
        let (late, wanted) = (flight.take_late_followers(), wanted_by_late(flight));
        for member in late {
            self.rejoin(env, cx, wanted.clone(), member.caller);
        }
    }

    /// Return whether a flight that a reload has superseded would now wait. A wake-up finds only
    /// listed flights, so its callers have to move.
    pub(super) fn is_to_rejoin(&self, id: FlightId) -> bool {
        let flight = self.flights.get(id);
        flight.is_some_and(|flight| !flight.is_listed() && flight.fetch.is_waiting())
            && !mutant!(SupersededForgotten)
    }

    /// End a flight and move all its callers to the later flight of its key.
    pub(super) fn rejoin_all(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        self.set_timer(env, id, None, None);
        let Some(mut flight) = self.flights.end(id) else { return };
        env.observe_lock_wait(cx, flight.fetch.waiting_since);
        let callers = flight.take_leader().into_iter().chain(flight.take_followers());
        for member in callers {
            self.rejoin(env, cx, wanted(&flight), member.caller);
        }
    }

    /// Have a caller fetch its key once more.
    fn rejoin(&mut self, env: &mut Env, cx: Cx, wanted: Wanted, caller: Caller) {
        if self.is_here(caller) {
            let id = self.join_or_start(env, cx, wanted, caller);
            if let Some(call) = self.calls.get_mut(caller.op) {
                call.set_flight(caller, id);
            }
        }
    }

    /// Answer one key of a call. The call ends with its last answer.
    pub(super) fn answer_caller(
        &mut self,
        env: &mut Env,
        caller: Caller,
        result: Result<Answer, CallError>,
    ) {
        let Some(call) = self.calls.get_mut(caller.op) else { return };
        if let Ok(answer) = &result {
            let source = answer.source;
            env.observe(|| AnswerEvent::new(source));
        }
        let outcome = match call {
            FetchCall::One { .. } => Outcome::Answer(result),
            FetchCall::Many(batch) => match batch.answers.put(caller.slot, result) {
                Some(all) => Outcome::Answers(all),
                None => return,
            },
        };
        if mutant!(DoneTwice)
            && let Outcome::Answer(result) = &outcome
        {
            env.push(Event::Done { op: caller.op, outcome: Outcome::Answer(result.clone()) });
        }
        self.calls.remove(caller.op);
        env.finish(caller.op, outcome);
    }
}

/// Return what the callers of a flight want from the next.
fn wanted(flight: &Flight<Fetch>) -> Wanted {
    let Flight { key, fetch, .. } = flight;
    let waits_since = fetch.patience.since();
    Wanted { key: key.clone(), options: fetch.options, waits_since }
}

/// Return what the callers that began after the load or the read want from the next flight. Their
/// waits for the locks of others count from its start at the earliest.
fn wanted_by_late(flight: &Flight<Fetch>) -> Wanted {
    let wanted = wanted(flight);
    let begun = flight.fetch.fresh_at;
    Wanted {
        waits_since: wanted.waits_since.map(|since| begun.map_or(since, |at| at.max(since))),
        ..wanted
    }
}

/// Return whether the end answers all callers. A value that was not stored may be older than a
/// write that ended before a late caller began. Without a connection it is the best answer that
/// there is.
fn is_shared(env: &Env, end: &End) -> bool {
    match end {
        End::Outdated { .. } => mutant!(OutdatedShared),
        End::Loaded { standing: Standing::Unstored, .. } => mutant!(UnstoredShared),
        End::Loaded { standing: Standing::CutOff, .. } => {
            !env.router.is_whole() || mutant!(CutOffShared)
        }
        End::Loaded { standing: Standing::Stored, .. }
        | End::Hit { .. }
        | End::LoadFailed(_)
        | End::Failed(_)
        | End::Abandoned => true,
    }
}

/// Remove the callers that joined after the load began, a successor of its leader among them.
fn take_late(flight: &mut Flight<Fetch>) -> Vec<Member> {
    let leader = flight.take_leader();
    let mut late = flight.take_late_followers();
    match leader {
        Some(member) if flight.is_early(member) => flight.restore_leader(member),
        Some(member) => late.insert(0, member),
        None => {}
    }
    late
}

fn result(env: &Env, key: &Key, end: End) -> (Result<Found, CallError>, Source) {
    match end {
        End::Hit { value, ttl } => {
            let ttl = match ttl {
                Ttl::Left(left) => Some(left),
                Ttl::Absent | Ttl::Endless | Ttl::Unknown => None,
            };
            let value = env.unmark(value.payload);
            (Ok(Found { value, ttl, age: None }), Source::Redis)
        }
        End::Loaded { found, standing } => {
            let ttl = found.ttl.filter(|_| standing == Standing::Stored);
            (Ok(Found { ttl, ..found }), Source::Loaded)
        }
        End::Outdated { found } => (Ok(found), Source::Loaded),
        End::LoadFailed(failure) => (Err(CallError::Load(failure)), Source::Loaded),
        End::Failed(error) => (Err(error.about(key).into()), Source::Redis),
        End::Abandoned => (Err(Error::closed().into()), Source::Redis),
    }
}

fn answer(found: Found, source: Source, fresh_as_of: Option<Duration>) -> Answer {
    let Found { value, ttl, age } = found;
    Answer { value, source, ttl, age, fresh_as_of }
}
