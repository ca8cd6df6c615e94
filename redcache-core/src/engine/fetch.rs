//! Flights under way: who boards, who leads, what each step asks for, how they end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ops::Op;
use super::{Engine, Sender};
use crate::api::answer::{Answer, Loaded, Source};
use crate::api::config::OnRedisDown;
use crate::api::key::Key;
use crate::api::load_error::{CallError, LoadFailure};
use crate::api::observer::Observed;
use crate::api::options::LoadOptions;
use crate::event::{Event, Notice, Outcome};
use crate::flow::flights::{Caller, Flight, FlightId, OpId};
use crate::flow::get::{End, Failure, Found, Get, Input, Load, Outbox, Scene, Step};
use crate::flow::held::Held;
use crate::flow::pace::Patience;
use crate::flow::timers::Timer;
use crate::near::Evidence;
use crate::protocol::command::Command;
use crate::protocol::reply::{Replaced, Ttl};

/// What is being done about a flight's key.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) state: Get,
    pub(super) patience: Patience,
    /// How long a loaded value is to live and whether to load in any case, as its first caller said.
    pub(super) options: LoadOptions,
    /// Since when it waits for the locks of others.
    pub(super) waiting_since: Option<Instant>,
    /// What Redis has said of the key, as far as it is no value.
    pub(super) evidence: Evidence,
    /// What its lock has replaced, and when.
    pub(super) replaced: Option<(Replaced, Instant)>,
    pub(super) timer: Option<(Timer, Instant)>,
    /// Whose loader made the value that is being published. A leader that left then has a successor that did not load.
    pub(super) loaded_by: Option<Caller>,
}

impl Course {
    /// It loads without a lock of Redis.
    fn is_direct(&self) -> bool {
        matches!(self.state, Get::Load { lock: None, .. })
    }

    /// An answer of Redis is all that keeps the flight from loading or ending.
    fn is_reading(&self) -> bool {
        matches!(self.state, Get::Read { .. } | Get::Lock { .. })
    }

    /// A value would end the flight, so whatever else Redis answers says that there is none.
    fn note_evidence(&mut self, input: &Input) {
        match input {
            Input::Read(_) | Input::Locked { .. } | Input::Effect(_) => {
                self.evidence = Evidence::NoValue;
            }
            Input::Failed(_) => self.evidence = Evidence::Nothing,
            Input::Refused(_)
            | Input::Loaded(_)
            | Input::LoadFailed(_)
            | Input::Abandoned
            | Input::Woken
            | Input::WaitOver
            | Input::LoadDue => {}
        }
    }

    /// Its load will begin after now, and begin in any case.
    fn will_reload(&self) -> bool {
        self.options.reload && (self.is_reading() || matches!(self.state, Get::Unlock))
    }
}

impl Engine {
    /// Joins the flight of `key`, or starts it.
    pub(super) fn board(
        &mut self,
        now: Instant,
        key: Key,
        caller: Caller,
        options: LoadOptions,
    ) -> FlightId {
        if options.reload {
            self.overrule_for_reload(now, &key);
        }
        if let Some(id) = self.flights.find(key.as_bytes()) {
            if mutant!(SingleFlightLost) {
                self.flights.unlist(id);
                return self.board(now, key, caller, options);
            }
            if let Some(flight) = self.flights.get_mut(id) {
                // A flight whose callers have all left still waits for an answer; the newcomer takes it over. What
                // is loaded already it only joins.
                let is_loaded = matches!(flight.course.state, Get::Publish { .. });
                if flight.leader.is_none() && !is_loaded {
                    flight.leader = Some(caller);
                    if flight.course.is_reading() {
                        self.count_reading(caller, 1);
                    }
                } else {
                    flight.followers.push(caller);
                }
            }
            self.relieve_waiting(now, id);
            return id;
        }
        let speculate = self.speculation.is_worth_it(|limit| self.router.is_busier_than(limit));
        let course = Course {
            state: Get::Unlock,
            patience: Patience::default(),
            options,
            waiting_since: None,
            evidence: Evidence::Nothing,
            replaced: None,
            timer: None,
            loaded_by: None,
        };
        let id = self.flights.start(key, course, caller);
        let mut out = Outbox::default();
        self.with_scene(now, id, |_, mut scene| (Get::start(&mut scene, speculate, &mut out), ()));
        self.count_reading(caller, 1);
        self.carry_out(now, id, out);
        id
    }

    /// A flight that may end without a load, or whose load has begun, is no answer to who wants the key loaded anew.
    fn overrule_for_reload(&mut self, now: Instant, key: &Key) {
        let Some(id) = self.flights.find(key.as_bytes()) else { return };
        let Some(flight) = self.flights.get_mut(id) else { return };
        let course = &mut flight.course;
        if matches!(course.state, Get::Unlock) {
            // Nothing is under way, so it may as well reload.
            course.options.reload = true;
        }
        if !course.will_reload() && !mutant!(ReloadJoinsLoad) {
            self.overrule(now, id);
        }
    }

    /// Nobody finds the flight any more, and whoever finds its lock may give it back.
    pub(super) fn overrule(&mut self, now: Instant, id: FlightId) {
        let Some(Flight { course, .. }) = self.flights.get(id) else { return };
        if let (Some(lock), Some((replaced, since))) = (course.state.lock(), &course.replaced) {
            let held = Held { lock, replaced: Some(replaced.clone()), since: *since };
            self.overruled.add(now, held, now + self.config.lock_ttl);
        }
        self.flights.unlist(id);
    }

    /// Lends a flight's state and surroundings to a step of its flow.
    fn with_scene<T>(
        &mut self,
        now: Instant,
        id: FlightId,
        step: impl FnOnce(Get, Scene<'_>) -> (Get, T),
    ) -> Option<T> {
        let flight = self.flights.get_mut(id)?;
        let is_overruled = !flight.is_listed();
        let Flight { key, course, .. } = flight;
        let state = std::mem::replace(&mut course.state, Get::Unlock);
        let scene = Scene {
            now,
            key,
            patience: &mut course.patience,
            locks: &mut self.locks,
            rng: &mut self.rng,
            lock_ttl: self.config.lock_ttl,
            load_timeout: self.config.load_timeout,
            reload: course.options.reload,
            replaced: &mut course.replaced,
            overruled: &mut self.overruled,
            is_overruled,
            tracked: self.is_reported,
            loads_direct: self.config.on_redis_down == OnRedisDown::LoadDirect
                && self.direct_loads < self.config.direct_loads_max,
        };
        let (state, result) = step(state, scene);
        course.state = state;
        Some(result)
    }

    /// Tells a flight something and does what it asks for.
    pub(super) fn advance(&mut self, now: Instant, id: FlightId, input: Input) {
        let Some(flight) = self.flights.get(id) else {
            return;
        };
        let was_reading = flight.course.is_reading();
        let was_direct = flight.course.is_direct();
        let leader = flight.leader;
        if let Some(flight) = self.flights.get_mut(id) {
            flight.course.note_evidence(&input);
        }
        let mut out = Outbox::default();
        let end = self.with_scene(now, id, |state, mut scene| {
            match state.handle(input, &mut scene, &mut out) {
                Step::Next(next) => (next, None),
                // The flight is about to end; its state no longer matters.
                Step::Done(end) => (Get::Unlock, Some(end)),
            }
        });
        if let Some(flight) = self.flights.get(id) {
            self.direct_loads += usize::from(flight.course.is_direct());
            self.direct_loads -= usize::from(was_direct);
            let is_reading = flight.course.is_reading();
            if let Some(leader) = leader
                && was_reading != is_reading
            {
                self.count_reading(leader, if is_reading { 1 } else { -1 });
            }
        }
        match end.flatten() {
            Some(end) => {
                self.send_aside(now, &mut out);
                self.land(now, id, end);
            }
            None if leader.is_none() && out.goes_on_before_loading() => {
                // Nobody is left to wait for, or to lock for.
                self.send_aside(now, &mut out);
                self.land(now, id, End::Abandoned);
            }
            None if self.is_to_join(id) => {
                self.send_aside(now, &mut out);
                self.join_later_flight(now, id);
            }
            None => {
                self.carry_out(now, id, out);
                self.relieve_waiting(now, id);
            }
        }
        if let Some(leader) = leader {
            self.maybe_load_many(now, leader.op);
        }
    }

    fn carry_out(&mut self, now: Instant, id: FlightId, mut out: Outbox) {
        self.send_aside(now, &mut out);
        if let Some(command) = out.send {
            self.send(now, Sender::Flight(id).token(), command);
        }
        self.set_timer(id, out.wait_until, out.load_due_at);
        if out.wait_until.is_some() {
            self.stats.lock_waits += 1;
            if let Some(flight) = self.flights.get_mut(id) {
                flight.course.waiting_since.get_or_insert(now);
            }
        }
        if out.load {
            if let Some(flight) = self.flights.get_mut(id) {
                let since = flight.course.waiting_since.take();
                self.note_wait(now, since);
            }
            self.lead(now, id);
        }
    }

    /// The wait for the locks of others is over, if there was one.
    pub(super) fn note_wait(&mut self, now: Instant, since: Option<Instant>) {
        if let Some(since) = since {
            self.observed(|| Observed::LockWait(now - since));
        }
    }

    fn send_aside(&mut self, now: Instant, out: &mut Outbox) {
        if let Some(command) = out.send_aside.take() {
            self.send(now, Sender::Nobody.token(), command);
        }
    }

    fn set_timer(
        &mut self,
        id: FlightId,
        wait_until: Option<Instant>,
        load_due_at: Option<Instant>,
    ) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let course = &mut flight.course;
        let wanted = match (wait_until, load_due_at) {
            (Some(at), _) => Some((Timer::Wait(id), at)),
            (None, Some(at)) => Some((Timer::Load(id), at)),
            (None, None) if matches!(course.state, Get::Load { .. }) => return,
            (None, None) => None,
        };
        if let Some((timer, at)) = std::mem::replace(&mut course.timer, wanted) {
            self.timers.disarm(timer, at);
        }
        if let Some((timer, at)) = wanted {
            self.timers.arm(timer, at);
        }
    }

    /// Has the leader run its loader; without a leader, the next follower that is still there takes over.
    fn lead(&mut self, now: Instant, id: FlightId) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        let Some(leader) = flight.leader else {
            return self.advance(now, id, Input::Abandoned);
        };
        match self.ops.get_mut(leader.op) {
            Some(Op::Fetch { .. } | Op::Read) => {
                self.stats.loads += 1;
                self.events.push_back(Event::Load { op: leader.op });
            }
            Some(Op::FetchMany(batch)) => batch.to_load.push(leader.slot),
            Some(Op::ReadMany(_) | Op::Set(_) | Op::Refresh(_) | Op::Write | Op::WriteMany(_))
            | None => {
                debug_assert!(false, "only calls with a loader lead flights");
            }
        }
    }

    /// A caller is gone. If it led, the next in line leads, with the lock if there is one.
    pub(super) fn leave(&mut self, now: Instant, id: FlightId, caller: Caller) {
        let Some(flight) = self.flights.get_mut(id) else {
            return;
        };
        if mutant!(LeaderWithoutHandover) && matches!(flight.course.state, Get::Load { .. }) {
            return;
        }
        if flight.leader != Some(caller) {
            let ops = &self.ops;
            return flight.on_departed(|op| ops.contains(op));
        }
        let next = flight.followers.iter().position(|other| self.ops.contains(other.op));
        flight.leader = next.and_then(|at| flight.followers.drain(..=at).next_back());
        let Some(leader) = flight.leader else {
            flight.followers.clear();
            return self.advance(now, id, Input::Abandoned);
        };
        let reading = flight.course.is_reading();
        let loading = if let Get::Load { since, .. } = &mut flight.course.state {
            // The new leader's load has all its time before it.
            *since = now;
            true
        } else {
            false
        };
        if reading {
            self.count_reading(leader, 1);
        }
        if loading {
            self.lead(now, id);
            self.maybe_load_many(now, leader.op);
        }
    }

    /// Ends a flight whose callers have been told already.
    pub(super) fn abandon(&mut self, now: Instant, id: FlightId) {
        if let Some(flight) = self.flights.get_mut(id) {
            flight.leader = None;
            flight.followers.clear();
        }
        self.advance(now, id, Input::Abandoned);
    }

    /// Keeps count of the answers that a batch must have before it loads.
    fn count_reading(&mut self, leader: Caller, change: isize) {
        if let Some(Op::FetchMany(batch)) = self.ops.get_mut(leader.op) {
            batch.reading = batch.reading.saturating_add_signed(change);
        }
    }

    /// Starts the load of a batch once all that it reads is answered and no load of it runs.
    fn maybe_load_many(&mut self, now: Instant, op: OpId) {
        if let Some(Op::FetchMany(batch)) = self.ops.get_mut(op)
            && batch.reading == 0
        {
            self.load_many(now, op);
        }
    }

    /// Looks after a load. If its batch still reads other keys, it goes ahead: its time is for the loader, and its
    /// lock keeps everybody else from the key.
    pub(super) fn on_load_due(&mut self, now: Instant, id: FlightId) {
        let leader = self.flights.get(id).and_then(|flight| flight.leader);
        if let Some(Caller { op, slot }) = leader
            && let Some(Op::FetchMany(batch)) = self.ops.get_mut(op)
            && batch.to_load.contains(&slot)
        {
            self.load_many(now, op);
        }
        self.advance(now, id, Input::LoadDue);
    }

    /// Starts the load of a batch for all that is to be loaded by now, unless a load of it runs.
    fn load_many(&mut self, now: Instant, op: OpId) {
        let Some(Op::FetchMany(batch)) = self.ops.get_mut(op) else {
            return;
        };
        if batch.to_load.is_empty() || !batch.loading.is_empty() {
            return;
        }
        let slots = std::mem::take(&mut batch.to_load);
        let mut loading = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(id) = self.loading(Caller { op, slot }) else { continue };
            let Some(flight) = self.flights.get_mut(id) else { continue };
            if let Get::Load { since, .. } = &mut flight.course.state {
                // What came before was waiting for company, not the loader.
                *since = now;
            }
            loading.push((flight.key.clone(), slot));
        }
        if loading.is_empty() {
            return;
        }
        let Some(Op::FetchMany(batch)) = self.ops.get_mut(op) else {
            return;
        };
        batch.loading = loading;
        batch.load_started = Some(now);
        let keys: Vec<_> = batch.loading.iter().map(|(key, _)| key.clone()).collect();
        self.stats.loads += keys.len() as u64;
        self.events.push_back(Event::LoadMany { op, keys });
    }

    pub(super) fn on_loaded(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Loaded, LoadFailure>,
    ) {
        let Some(Op::Fetch { flight: id }) = self.ops.get_mut(op) else {
            return;
        };
        let id = *id;
        let Some(Flight { course, key, .. }) = self.flights.get(id) else {
            return;
        };
        let Get::Load { since, .. } = course.state else {
            return;
        };
        let (ttl, key) = (course.options.ttl, key.clone());
        let (took, is_ok) = (now - since, loaded.is_ok());
        self.observed(|| Observed::Load { keys: 1, took, is_ok });
        let input = match loaded {
            Ok(loaded) => {
                self.note_loader(id);
                Input::Loaded(self.storable(&key, loaded, ttl, now - since))
            }
            Err(failure) => self.load_failed(failure),
        };
        self.advance(now, id, input);
    }

    pub(super) fn on_loaded_many(
        &mut self,
        now: Instant,
        op: OpId,
        loaded: Result<Vec<(Key, Loaded)>, LoadFailure>,
    ) {
        let Some(Op::FetchMany(batch)) = self.ops.get_mut(op) else {
            return;
        };
        let loading = std::mem::take(&mut batch.loading);
        let elapsed = batch.load_started.take().map_or(Duration::ZERO, |since| now - since);
        let (keys, took, is_ok) = (loading.len(), elapsed, loaded.is_ok());
        self.observed(|| Observed::Load { keys, took, is_ok });
        match loaded {
            Err(failure) => {
                for (_, slot) in loading {
                    let Some(id) = self.loading(Caller { op, slot }) else { continue };
                    let input = self.load_failed(failure.clone());
                    self.advance(now, id, input);
                }
            }
            Ok(found) => {
                let shared = u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
                let mut found: BTreeMap<Key, Loaded> = found.into_iter().collect();
                for (key, slot) in loading {
                    if mutant!(MissingKeyForgotten) && !found.contains_key(&key) {
                        continue;
                    }
                    let one = found.remove(&key).unwrap_or_else(Loaded::not_found);
                    let Some(id) = self.loading(Caller { op, slot }) else { continue };
                    let ttl =
                        self.flights.get(id).map_or(Duration::ZERO, |it| it.course.options.ttl);
                    self.note_loader(id);
                    let input = Input::Loaded(self.storable(&key, one, ttl, elapsed / shared));
                    self.advance(now, id, input);
                }
                if mutant!(ExtraKeyStored) {
                    for (key, extra) in &found {
                        let payload = extra.value.clone().unwrap_or_default();
                        let ttl = Duration::from_secs(9);
                        let insert = Command::Insert { key: key.clone(), payload, ttl };
                        self.send(now, Sender::Nobody.token(), insert);
                    }
                }
                self.stats.extra_keys += found.len() as u64;
            }
        }
        self.maybe_load_many(now, op);
    }

    /// The flight that a caller of a batch loads for. Its time may have been over before the loader was, and then its
    /// number may be that of another flight.
    fn loading(&mut self, caller: Caller) -> Option<FlightId> {
        let Some(Op::FetchMany(batch)) = self.ops.get_mut(caller.op) else {
            return None;
        };
        let id = *batch.flights.get(caller.slot as usize)?;
        let flight = self.flights.get(id)?;
        let loads = matches!(flight.course.state, Get::Load { .. });
        (flight.leader == Some(caller) && loads).then_some(id)
    }

    fn note_loader(&mut self, id: FlightId) {
        if let Some(flight) = self.flights.get_mut(id) {
            flight.course.loaded_by = flight.leader;
        }
    }

    fn load_failed(&mut self, failure: LoadFailure) -> Input {
        self.stats.load_failures += 1;
        Input::LoadFailed(Failure(failure))
    }

    /// What of a loader's result goes to Redis. What cannot be stored is still given to the callers.
    fn storable(
        &mut self,
        key: &Key,
        loaded: Loaded,
        ttl: Duration,
        compute_time: Duration,
    ) -> Load {
        let reason = self.unstorable_load(&loaded, ttl);
        let Loaded { value, ttl: own_ttl, mut store } = loaded;
        let ttl = own_ttl.unwrap_or(ttl);
        if let (true, Some(reason)) = (store, reason) {
            store = false;
            self.notice(Notice::NotStored { key: key.clone(), reason });
        }
        let payload = value.clone().unwrap_or_else(|| self.config.not_found_marker.clone());
        Load { value, payload, compute_time, ttl, store }
    }

    /// Ends a flight and answers everybody aboard.
    fn land(&mut self, now: Instant, id: FlightId, end: End) {
        self.set_timer(id, None, None);
        let Some(flight) = self.flights.end(id) else {
            return;
        };
        let Flight { key, leader, followers, course, .. } = flight;
        self.note_wait(now, course.waiting_since);
        if let End::Outdated { found } = end {
            self.stats.locks_lost += 1;
            self.observed(|| Observed::LockLost(key.clone()));
            for caller in leader.into_iter().chain(followers) {
                if Some(caller) == course.loaded_by || mutant!(OutdatedShared) {
                    self.settle(caller, Ok(answer(found.clone(), Source::Loaded)));
                } else {
                    self.reboard(now, &key, caller, course.options);
                }
            }
            return;
        }
        let is_error = matches!(end, End::LoadFailed(_) | End::Failed(_));
        if is_error
            && !course.options.reload
            && let Some(answer) = self.stale_for_error(now, &key, course.evidence)
        {
            for caller in leader.into_iter().chain(followers) {
                self.relieve(caller, answer.clone());
            }
            return;
        }
        if let (Some(family), End::Hit { value, ttl: Ttl::Left(left) }) =
            (course.options.refreshed_by, &end)
        {
            self.refresh_if_due(now, family, &key, *left, value.compute_time);
        }
        let (result, mut source) = self.result(&key, end);
        if source == Source::Loaded
            && leader != course.loaded_by
            && !mutant!(SuccessorTakenForLoader)
        {
            source = Source::Joined;
        }
        for follower in followers {
            if mutant!(FollowersForgotten) && matches!(result, Err(CallError::Load(_))) {
                break;
            }
            if self.ops.contains(follower.op) {
                let joined = result.clone().map(|found| answer(found, Source::Joined));
                self.stats.joined += 1;
                self.settle(follower, joined);
            }
        }
        if let Some(leader) = leader {
            if source == Source::Redis && result.is_ok() {
                self.stats.redis_hits += 1;
            }
            self.settle(leader, result.map(|found| answer(found, source)));
        }
    }

    fn result(&self, key: &Key, end: End) -> (Result<Found, CallError>, Source) {
        match end {
            End::Hit { value, ttl } => {
                let ttl = match ttl {
                    Ttl::Left(left) => Some(left),
                    Ttl::Absent | Ttl::Endless => None,
                };
                (Ok(Found { value: self.unmark(value.payload), ttl, age: None }), Source::Redis)
            }
            End::Loaded { found, stored } => {
                let ttl = found.ttl.filter(|_| stored);
                (Ok(Found { ttl, ..found }), Source::Loaded)
            }
            End::Outdated { found } => (Ok(found), Source::Loaded),
            End::LoadFailed(Failure(failure)) => (Err(CallError::Load(failure)), Source::Loaded),
            End::Failed(error) => (Err(error.about(key).into()), Source::Redis),
            End::Abandoned => {
                let closed = crate::api::error::Error::closed();
                (Err(closed.into()), Source::Redis)
            }
        }
    }

    /// A reload has overruled a flight that would now wait. Whoever changes the key does not know of it any more.
    fn is_to_join(&self, id: FlightId) -> bool {
        let is_waiting = |flight: &Flight<Course>| {
            !flight.is_listed() && matches!(flight.course.state, Get::Unlock)
        };
        self.flights.get(id).is_some_and(is_waiting) && !mutant!(OverruledForgotten)
    }

    fn join_later_flight(&mut self, now: Instant, id: FlightId) {
        self.set_timer(id, None, None);
        let Some(flight) = self.flights.end(id) else { return };
        self.note_wait(now, flight.course.waiting_since);
        for caller in flight.leader.into_iter().chain(flight.followers) {
            self.reboard(now, &flight.key, caller, flight.course.options);
        }
    }

    /// Sends a follower on: its flight ended with a value that may be older than its question.
    fn reboard(&mut self, now: Instant, key: &Key, follower: Caller, options: LoadOptions) {
        if !self.ops.contains(follower.op) {
            return;
        }
        let id = self.board(now, key.clone(), follower, options);
        match self.ops.get_mut(follower.op) {
            Some(Op::Fetch { flight }) => *flight = id,
            Some(Op::FetchMany(batch)) => {
                if let Some(flight) = batch.flights.get_mut(follower.slot as usize) {
                    *flight = id;
                }
            }
            Some(
                Op::Read
                | Op::ReadMany(_)
                | Op::Set(_)
                | Op::Refresh(_)
                | Op::Write
                | Op::WriteMany(_),
            )
            | None => {}
        }
    }

    pub(super) fn settle(&mut self, caller: Caller, result: Result<Answer, CallError>) {
        if let Ok(answer) = &result
            && self.ops.contains(caller.op)
        {
            self.observed(|| Observed::Answer(answer.source));
        }
        let outcome = match self.ops.get_mut(caller.op) {
            Some(Op::FetchMany(batch)) => match batch.answers.put(caller.slot, result) {
                Some(all) => Outcome::Answers(all),
                None => return,
            },
            Some(Op::Fetch { .. } | Op::Read) => Outcome::Answer(result),
            Some(Op::ReadMany(_) | Op::Set(_) | Op::Refresh(_) | Op::Write | Op::WriteMany(_))
            | None => return,
        };
        if mutant!(DoneTwice)
            && let Outcome::Answer(result) = &outcome
        {
            let again = Outcome::Answer(result.clone());
            self.events.push_back(Event::Done { op: caller.op, outcome: again });
        }
        self.end_op(caller.op);
        self.events.push_back(Event::Done { op: caller.op, outcome });
    }

    /// A payload as the application sees it: the marker is no value.
    pub(super) fn unmark(&self, payload: Bytes) -> Option<Bytes> {
        (payload != self.config.not_found_marker).then_some(payload)
    }
}

fn answer(found: Found, source: Source) -> Answer {
    Answer { value: found.value, source, ttl: found.ttl, age: found.age }
}
