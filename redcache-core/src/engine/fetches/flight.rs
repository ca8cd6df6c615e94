//! A flight's life: how callers join it, what its inputs do, what other writes mean for it.

use std::time::Instant;

use super::fetch::{Fetch, Wanted};
use super::state::Fetches;
use crate::api::config::OnRedisDown;
use crate::api::key::Key;
use crate::api::options::{LoadOptions, Reach};
use crate::engine::env::{Cx, Env};
use crate::engine::exchange::Exchange;
use crate::engine::sender::Sender;
use crate::flow::call::Caller;
use crate::flow::flights::{Flight, FlightId};
use crate::flow::get::{Context, Effects, End, FirstRead, Get, Input, Step};
use crate::flow::held::Held;
use crate::flow::timers::Timer;
use crate::protocol::command::Command;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;

impl Fetches {
    /// Join the flight of a key, or start one. Return the flight.
    pub(super) fn join_or_start(
        &mut self,
        env: &mut Env,
        cx: Cx,
        wanted: Wanted,
        caller: Caller,
    ) -> FlightId {
        if wanted.options.reload {
            self.supersede_for_reload(env, cx, &wanted.key);
        }
        let hash = self.flights.hash(wanted.key.as_bytes());
        if let Some(id) = self.flight_to_join(env, cx, hash, &wanted) {
            if mutant!(SingleFlightLost) {
                self.flights.unlist(id);
                return self.join_or_start(env, cx, wanted, caller);
            }
            self.join(env, id, caller);
            self.answer_stale_waiters(env, cx, id);
            return id;
        }
        let first = self.first_read(env, cx, hash, &wanted.options);
        let Wanted { key, options, waits_since } = wanted;
        let id = self.flights.start(hash, key, Fetch::new(options, waits_since), caller);
        let mut effects = Effects::default();
        if let Some((state, mut context)) = self.context(env, cx, id) {
            *state = Some(Get::start(&mut context, first, &mut effects));
        }
        self.count_reading(caller, 1);
        self.carry_out(env, cx, id, effects);
        id
    }

    /// Return the flight that a caller may join. A caller that may not read Redis joins no flight
    /// that may.
    fn flight_to_join(
        &mut self,
        env: &mut Env,
        cx: Cx,
        hash: u64,
        wanted: &Wanted,
    ) -> Option<FlightId> {
        let id = self.flights.find_hashed(hash, wanted.key.as_bytes())?;
        let fetch = &self.flights.get(id)?.fetch;
        if wanted.options.reach != Reach::Loader
            || fetch.options.reach == Reach::Loader
            || fetch.is_direct()
        {
            return Some(id);
        }
        self.supersede(env, cx, id);
        None
    }

    /// Choose what the first read of a flight asks for, whose key has this hash.
    fn first_read(&mut self, env: &Env, cx: Cx, hash: u64, options: &LoadOptions) -> FirstRead {
        let allows_locks = env.allows_locks(cx.now);
        let (coming, light_max) = (self.coming, self.light_traffic_max);
        let is_busy = || coming > light_max || env.router.is_busier_than(light_max);
        let takes_lock = allows_locks && self.speculation.is_worth_it(is_busy);
        let was_read = match &mut self.rereads {
            Some(rereads) => rereads.on_read(hash),
            // Without a near cache, only the caller needs the TTL.
            None => false,
        };
        let asks_ttl = was_read
            || options.asks_ttl
            || options.refreshed_by.is_some()
            // Stale answers need an entry.
            || env.allows_stale()
            // Without locks, only a TTL tells a missing key from one of another type.
            || !allows_locks
            || !is_busy();
        FirstRead { takes_lock, asks_ttl }
    }

    fn join(&mut self, env: &mut Env, id: FlightId, caller: Caller) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        // A flight without callers still awaits a reply; the newcomer takes it over. A value that
        // is being published has a loader already.
        if flight.leader().is_some() || flight.fetch.is_publishing() {
            flight.follow(caller);
            return env.report_waiting(caller.op);
        }
        flight.lead(caller);
        if flight.fetch.is_reading() {
            self.count_reading(caller, 1);
        }
    }

    /// Return the caller that runs the flight's loader.
    pub(crate) fn leader(&self, id: FlightId) -> Option<Caller> {
        self.flights.get(id).and_then(Flight::leader)
    }

    /// Supersede the flight of a key for a reload, unless its load begins later. A reload joins
    /// only such a flight, and begins in any case.
    fn supersede_for_reload(&mut self, env: &mut Env, cx: Cx, key: &Key) {
        let Some(id) = self.flights.find(key.as_bytes()) else { return };
        let Some(flight) = self.flights.get_mut(id) else { return };
        let fetch = &mut flight.fetch;
        if fetch.is_waiting() {
            // No command is in flight, so it can become a reload.
            fetch.options.reload = true;
        }
        if !fetch.will_reload() && !mutant!(ReloadJoinsLoad) {
            self.supersede(env, cx, id);
        }
    }

    /// Hide the flight from later callers, and let later loads undo its lock.
    fn supersede(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        let Some(Flight { fetch, .. }) = self.flights.get(id) else { return };
        if let Some(held) = fetch.state.as_ref().and_then(Get::held)
            && let Some(replaced) = held.replaced.clone()
        {
            let held = Held { lock: held.lock, replaced: Some(replaced), since: held.since };
            env.superseded.add(cx.now, held, cx.now + env.lock_ttl());
        }
        self.flights.unlist(id);
    }

    /// Return a flight's fetch and the context of its next step.
    fn context<'a>(
        &'a mut self,
        env: &'a mut Env,
        cx: Cx,
        id: FlightId,
    ) -> Option<(&'a mut Option<Get>, Context<'a>)> {
        let loads_direct = env.config.on_redis_down == OnRedisDown::LoadDirect
            && self.direct_loads < env.config.direct_loads_max;
        let load_times = env.load_times();
        let allows_locks = env.allows_locks(cx.now);
        let flight = self.flights.get_mut(id)?;
        let loads_direct = loads_direct && flight.fetch.options.reach != Reach::Redis;
        let is_superseded = !flight.is_listed();
        let Flight { key, fetch, .. } = flight;
        let Fetch { state, patience, options, .. } = fetch;
        let context = Context {
            now: cx.now,
            key,
            patience,
            load_times,
            locks: &mut env.locks,
            rng: &mut env.rng,
            reload: options.reload,
            superseded: &mut env.superseded,
            is_superseded,
            tracked: cx.tracked,
            loads_direct,
            allows_locks,
        };
        Some((state, context))
    }

    /// Pass an input to a flight and carry out the effects.
    pub(crate) fn advance(&mut self, env: &mut Env, cx: Cx, id: FlightId, input: Input) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let leader = flight.leader();
        let fetch = &mut flight.fetch;
        let (was_reading, was_direct) = (fetch.is_reading(), fetch.is_direct());
        fetch.note_absence(&input);
        let mut effects = Effects::default();
        let Some((state, mut context)) = self.context(env, cx, id) else { return };
        let Some(before) = state.take() else { return };
        let end = match before.handle(input, &mut context, &mut effects) {
            Step::Next(next) => {
                *state = Some(next);
                None
            }
            Step::Done(end) => Some(end),
        };
        self.count_change(id, was_reading, was_direct);
        let end = end.or_else(|| {
            // No caller is left that a lock or a wait could serve.
            (leader.is_none() && effects.goes_on_before_loading()).then_some(End::Abandoned)
        });
        if let Some(end) = end {
            env.send_detached(cx, effects.send_detached);
            self.complete(env, cx, id, end);
        } else if self.is_to_rejoin(id) {
            env.send_detached(cx, effects.send_detached);
            self.rejoin_all(env, cx, id);
        } else {
            self.carry_out(env, cx, id, effects);
            self.answer_stale_waiters(env, cx, id);
        }
        if let Some(leader) = leader {
            self.start_batch_if_ready(env, cx, leader.op);
        }
    }

    /// Note as of when a reply shows the value with which a flight may end, and the TTL of a value
    /// that is published.
    pub(crate) fn note_freshness(&mut self, id: FlightId, exchange: &Exchange) {
        let Some(Flight { fetch, .. }) = self.flights.get_mut(id) else { return };
        let is_current = match &exchange.reply {
            Reply::Read(_) => true,
            Reply::Effect(is_done) => *is_done && fetch.is_publishing(),
            Reply::Raw(_) | Reply::WriteLock(_) | Reply::Refused(_) => false,
        };
        if is_current {
            fetch.fresh_at = Some(exchange.issued.sent_at);
            if let Command::Publish { ttl, .. } = &exchange.issued.command {
                fetch.on_published(*ttl);
            }
        }
    }

    /// Update the counts that depend on a flight's state.
    fn count_change(&mut self, id: FlightId, was_reading: bool, was_direct: bool) {
        let Some(flight) = self.flights.get(id) else { return };
        self.direct_loads += usize::from(flight.fetch.is_direct());
        self.direct_loads -= usize::from(was_direct);
        let is_reading = flight.fetch.is_reading();
        if let Some(leader) = flight.leader()
            && was_reading != is_reading
        {
            self.count_reading(leader, if is_reading { 1 } else { -1 });
        }
    }

    fn carry_out(&mut self, env: &mut Env, cx: Cx, id: FlightId, effects: Effects) {
        env.send_detached(cx, effects.send_detached);
        let leader = self.leader(id);
        if let Some(command) = effects.send {
            let reach = self.flights.get(id).map(|flight| flight.fetch.options.reach);
            if reach == Some(Reach::Loader) {
                env.fail_unsent(Sender::Flight(id), command);
            } else {
                leader.inspect(|leader| env.report_sent(leader.op, &command));
                env.send(cx, Sender::Flight(id), command);
            }
        }
        self.set_timer(env, id, effects.wait_until, effects.load_due_at);
        let Some(Flight { fetch, .. }) = self.flights.get_mut(id) else { return };
        if effects.wait_until.is_some() {
            env.stats.lock_waits += 1;
            leader.inspect(|leader| env.report_waiting(leader.op));
            fetch.waiting_since.get_or_insert(cx.now);
        }
        if effects.start_load {
            env.observe_lock_wait(cx, fetch.waiting_since.take());
            self.start_load(env, cx, id);
        }
    }

    pub(super) fn set_timer(
        &mut self,
        env: &mut Env,
        id: FlightId,
        wait_until: Option<Instant>,
        load_due_at: Option<Instant>,
    ) {
        let Some(Flight { fetch, .. }) = self.flights.get_mut(id) else { return };
        let wanted = match (wait_until, load_due_at) {
            (Some(at), _) => Some((Timer::FlightWait(id), at)),
            (None, Some(at)) => Some((Timer::FlightLoad(id), at)),
            (None, None) if fetch.is_loading() => return,
            (None, None) => None,
        };
        if let Some((timer, at)) = std::mem::replace(&mut fetch.timer, wanted) {
            env.timers.disarm(timer, at);
        }
        if let Some((timer, at)) = wanted {
            env.timers.arm(timer, at);
        }
    }

    /// Handle the deadline of a flight's wait.
    pub(crate) fn on_wait_over(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        self.forget_timer(id);
        self.advance(env, cx, id, Input::WaitOver);
    }

    /// Handle a timer of a flight's load, which needs its lock renewed or has reached its timeout.
    pub(crate) fn on_load_due(&mut self, env: &mut Env, cx: Cx, id: FlightId) {
        self.forget_timer(id);
        self.start_due_batch(env, cx, id);
        self.pass_load_on(env, cx, id);
        self.advance(env, cx, id, Input::LoadDue);
    }

    fn forget_timer(&mut self, id: FlightId) {
        if let Some(flight) = self.flights.get_mut(id) {
            flight.fetch.timer = None;
        }
    }

    /// Handle a write of this process that has changed the key. If it `replaces` the value, callers
    /// that come later may not join a fetch that may end with an older one.
    pub(crate) fn on_own_write(&mut self, env: &mut Env, cx: Cx, key: &Key, replaces: bool) {
        let Some(id) = self.flights.find(key.as_bytes()) else { return };
        let Some(Flight { fetch, .. }) = self.flights.get(id) else { return };
        if fetch.is_waiting() {
            return self.advance(env, cx, id, Input::Woken);
        }
        let has_loaded =
            (fetch.is_loading() || fetch.is_publishing()) && !mutant!(OwnWriteJoinsLoad);
        // The read may be on its way to the slot's former owner. At a single server, the commands
        // of a key have one connection at a time, on which a read without a reply comes after the
        // write. A reload answers with no read: its load begins later.
        let reads_elsewhere =
            fetch.is_reading() && !fetch.will_reload() && env.config.servers.is_cluster();
        if replaces && (has_loaded || reads_elsewhere) {
            self.supersede(env, cx, id);
            self.move_late_followers(env, cx, id);
        }
    }

    /// Wake the flight that waits for a lock on `key`.
    pub(crate) fn wake(&mut self, env: &mut Env, cx: Cx, key: &Key) {
        if let Some(id) = self.flights.find(key.as_bytes())
            && self.flights.get(id).is_some_and(|flight| flight.fetch.is_waiting())
        {
            self.advance(env, cx, id, Input::Woken);
        }
    }

    /// Wake all flights that wait for a lock on a key of these slots.
    pub(crate) fn wake_all(&mut self, env: &mut Env, cx: Cx, slots: &SlotSet) {
        for id in self.flights.select(Fetch::is_waiting) {
            let flight = self.flights.get(id);
            if flight.is_some_and(|flight| slots.contains_key(flight.key.as_bytes())) {
                self.advance(env, cx, id, Input::Woken);
            }
        }
    }
}
