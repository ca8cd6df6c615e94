//! The end of a flight: the answers of its callers, or their move to a later flight.

use super::call::FetchCall;
use super::fetch::Fetch;
use super::state::Fetches;
use crate::api::answer::{Answer, Source};
use crate::api::error::Error;
use crate::api::key::Key;
use crate::api::load_error::CallError;
use crate::api::observer::{AnswerEvent, LockLostEvent};
use crate::api::options::LoadOptions;
use crate::engine::env::{Cx, Env};
use crate::event::{Event, Outcome};
use crate::flow::call::Caller;
use crate::flow::flights::{Flight, FlightId};
use crate::flow::get::{End, Found};
use crate::protocol::reply::Ttl;

impl Fetches {
    /// End a flight and answer all its callers.
    pub(super) fn complete(&mut self, env: &mut Env, cx: Cx, id: FlightId, end: End) {
        self.set_timer(env, id, None, None);
        let Some(flight) = self.flights.end(id) else { return };
        env.observe_lock_wait(cx, flight.fetch.waiting_since);
        if let End::Outdated { found } = end {
            return self.complete_outdated(env, cx, flight, &found);
        }
        let Flight { key, leader, followers, fetch, .. } = flight;
        let is_error = matches!(end, End::LoadFailed(_) | End::Failed(_));
        if is_error
            && !fetch.options.reload
            && let Some(answer) = env.stale_if_error(cx, &key, fetch.absence)
        {
            for caller in leader.into_iter().chain(followers) {
                self.answer_stale(env, caller, answer.clone());
            }
            return;
        }
        let (result, source) = result(env, &key, end);
        for follower in followers {
            if mutant!(FollowersForgotten) && matches!(result, Err(CallError::Load(_))) {
                break;
            }
            if self.is_here(follower) {
                let joined = result.clone().map(|found| answer(found, Source::Joined));
                env.stats.joined += 1;
                self.answer_caller(env, follower, joined);
            }
        }
        let Some(leader) = leader else { return };
        if source == Source::Redis && result.is_ok() {
            env.stats.redis_hits += 1;
        }
        let is_loader = fetch.loaded_by == Some(leader) || mutant!(SuccessorTakenForLoader);
        let source = if source == Source::Loaded && !is_loader { Source::Joined } else { source };
        self.answer_caller(env, leader, result.map(|found| answer(found, source)));
    }

    /// End a flight whose load has lost its lock. Only the caller that loaded gets the value.
    fn complete_outdated(&mut self, env: &mut Env, cx: Cx, flight: Flight<Fetch>, found: &Found) {
        let Flight { key, leader, followers, fetch, .. } = flight;
        env.stats.locks_lost += 1;
        env.observe(|| LockLostEvent::new(key.clone()));
        for caller in leader.into_iter().chain(followers) {
            if Some(caller) == fetch.loaded_by || mutant!(OutdatedShared) {
                self.answer_caller(env, caller, Ok(answer(found.clone(), Source::Loaded)));
            } else {
                self.rejoin(env, cx, (&key, fetch.options), caller);
            }
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
        let Some(flight) = self.flights.end(id) else { return };
        let Flight { key, leader, followers, fetch, .. } = flight;
        env.observe_lock_wait(cx, fetch.waiting_since);
        for caller in leader.into_iter().chain(followers) {
            self.rejoin(env, cx, (&key, fetch.options), caller);
        }
    }

    /// Have a caller fetch its key once more.
    fn rejoin(
        &mut self,
        env: &mut Env,
        cx: Cx,
        (key, options): (&Key, LoadOptions),
        caller: Caller,
    ) {
        if self.is_here(caller) {
            let id = self.join_or_start(env, cx, (key.clone(), options), caller);
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

fn result(env: &Env, key: &Key, end: End) -> (Result<Found, CallError>, Source) {
    match end {
        End::Hit { value, ttl } => {
            let ttl = match ttl {
                Ttl::Left(left) => Some(left),
                Ttl::Absent | Ttl::Endless => None,
            };
            let value = env.unmark(value.payload);
            (Ok(Found { value, ttl, age: None }), Source::Redis)
        }
        End::Loaded { found, stored } => {
            let ttl = found.ttl.filter(|_| stored);
            (Ok(Found { ttl, ..found }), Source::Loaded)
        }
        End::Outdated { found } => (Ok(found), Source::Loaded),
        End::LoadFailed(failure) => (Err(CallError::Load(failure)), Source::Loaded),
        End::Failed(error) => (Err(error.about(key).into()), Source::Redis),
        End::Abandoned => (Err(Error::closed().into()), Source::Redis),
    }
}

fn answer(found: Found, source: Source) -> Answer {
    Answer { value: found.value, source, ttl: found.ttl, age: found.age }
}
