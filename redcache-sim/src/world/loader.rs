//! Loaders: their durations and their results.

use redcache_core::engine::LoadFailure;
use redcache_core::{Key, Loaded};

use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Origin, ValueShape, Version, encode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::{Given, Kind, Load, LoadEnd, State};
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

/// The behavior of a loader, chosen when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoaderBehavior {
    Plain,
    Does(Fault),
}

impl World {
    /// Start the loader of a call.
    pub(crate) fn start_load(&mut self, call: usize, keys: Vec<usize>, is_batch: bool) -> Checked {
        if self.calls[call].kind == Kind::Change {
            return self.start_commit(call, keys);
        }
        let state = &self.calls[call];
        let process = state.process;
        let is_refresh = state.kind == Kind::Refresh;
        let is_requested =
            (is_refresh || state.kind.loads()) && keys.iter().all(|key| state.keys.contains(key));
        Invariant::BatchExact.holds(is_requested && state.load.is_none(), || {
            format!("call {call} must load {keys:?} and requested {:?}", state.keys)
        })?;
        if is_batch {
            self.tally.cover(Invariant::BatchExact);
        }
        self.stamp += 1;
        for &key in &keys {
            if is_refresh {
                self.check_refresh_load(process, key)?;
                continue;
            }
            self.check_accounting(process, key)?;
            if self.calls[call].kind.is_set() {
                self.check_turn(process, key)?;
            } else if !is_batch && !self.calls[call].is_superseded {
                self.check_single_flight(process, key)?;
            }
            self.keys[key].loads += 1;
            let learned = &mut self.processes[process].learned[key];
            learned.loads += 1;
            learned.load_until = Micros::MAX;
            if !self.calls[call].kind.is_set() {
                self.keys[key].open_loads.push((process, self.now));
            }
        }
        let behavior = self.behavior(is_batch);
        let end = self.load_end(call, &keys, behavior, is_batch);
        let turn = self.calls[call].loads + 1;
        let takes = self.load_time(behavior);
        self.trace
            .line(self.now, || format!("call {call} loads {keys:?}: {behavior:?}, {takes} µs"));
        let (begun, begun_at) = (self.stamp, self.now);
        self.calls[call].loads = turn;
        self.calls[call].load = Some(Load { turn, keys, begun, begun_at, end });
        if behavior != LoaderBehavior::Does(Fault::LoaderNeverEnds) {
            self.queue.plan(self.now + takes, Event::Loaded(call, turn));
        }
        Ok(())
    }

    fn check_single_flight(&mut self, process: usize, key: usize) -> Checked {
        let learned = self.processes[process].learned[key];
        self.tally.cover(Invariant::SingleFlight);
        let running = self.waiting.iter().filter_map(|&call| {
            let call = &self.calls[call];
            let load = call.load.as_ref().filter(|load| load.keys.contains(&key))?;
            // A batch may start a load late that was requested before a write.
            let is_alone = call.process == process && !call.kind.is_batch() && !call.kind.is_set();
            // A call made after a write of the process joins no call from before it, even if the
            // load of that one begins later.
            (is_alone && !call.is_superseded).then_some(load.begun.min(call.started))
        });
        let oldest_valid = running.filter(|&begun| begun > learned.replaced).count();
        // Calls made before a write of the process still wait for a load of their own and may
        // inherit it.
        Invariant::SingleFlight.holds(oldest_valid == 0 || self.is_handing_over, || {
            format!("p{process} starts a second load of key {key}")
        })
    }

    /// Check that the process runs no other write of the key.
    pub(super) fn check_turn(&mut self, process: usize, key: usize) -> Checked {
        self.tally.cover(Invariant::Turns);
        let is_taken = self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            let is_loading = call.load.as_ref().is_some_and(|load| load.keys.contains(&key));
            call.process == process && call.kind.is_set() && is_loading
        });
        Invariant::Turns
            .holds(!is_taken, || format!("p{process} starts a second write of key {key}"))
    }

    pub(super) fn check_accounting(&mut self, process: usize, key: usize) -> Checked {
        let patience = self.plan.times.load + self.plan.times.lock;
        let patience = self.processes[process].clock.stretch(patience);
        let is_impatient = self.waiting.iter().any(|&call| {
            let call = &self.calls[call];
            call.process == process
                && call.keys.contains(&key)
                && call.started_at + patience <= self.now + 1_000
        });
        let limit = self.processes[process].clock.stretch(self.plan.times.load);
        let model = &mut self.keys[key];
        let is_over =
            |load: &(usize, Micros)| load.0 == process && load.1 + limit <= self.now + 1_000;
        // A load that has reached its limit passes to another call, with its lock.
        let passed_on = model.open_loads.iter().position(is_over);
        let is_passed_on = passed_on.map(|at| model.open_loads.swap_remove(at)).is_some();
        // A call that writers kept waiting this long loads without a lock.
        model.grants += u64::from(is_impatient || is_passed_on);
        if self.plan.is_undisturbed && self.phase == Phase::Disturbed {
            self.tally.cover(Invariant::Accounting);
            Invariant::Accounting.holds(model.loads < model.grants, || {
                format!("load {} of key {key}, locked {} times", model.loads + 1, model.grants)
            })?;
        }
        Ok(())
    }

    fn behavior(&mut self, is_batch: bool) -> LoaderBehavior {
        if self.phase != Phase::Disturbed {
            return LoaderBehavior::Plain;
        }
        let faults = self.plan.faults;
        let single = [
            Fault::LoaderSlow,
            Fault::LoaderSlowerThanLock,
            Fault::LoaderFails,
            Fault::LoaderPanics,
            Fault::LoaderNeverEnds,
            Fault::LoaderNotFound,
            Fault::LoaderTooLarge,
            Fault::LoaderOwnTtl,
            Fault::LoaderUnstored,
            Fault::LoaderLockLike,
        ];
        let batch = [Fault::LoaderExtraKey, Fault::LoaderOmitsKey];
        let choices: Vec<Fault> = single
            .into_iter()
            .chain(batch.into_iter().filter(|_| is_batch))
            .filter(|&fault| faults.has(fault))
            .collect();
        if choices.is_empty() || self.loader_rng.chance(400) {
            return LoaderBehavior::Plain;
        }
        let fault = self.loader_rng.pick(&choices);
        self.tally.fault(fault);
        LoaderBehavior::Does(fault)
    }

    fn load_time(&mut self, behavior: LoaderBehavior) -> Micros {
        let lock = u64::try_from(self.plan.times.lock.as_micros()).unwrap_or(u64::MAX);
        match behavior {
            LoaderBehavior::Does(Fault::LoaderSlow) => {
                self.loader_rng.between(5_000, lock / 2 + 5_000)
            }
            LoaderBehavior::Does(Fault::LoaderSlowerThanLock) => {
                self.loader_rng.between(lock + 1_000, 2 * lock + 50_000)
            }
            LoaderBehavior::Plain | LoaderBehavior::Does(_) => match self.loader_rng.below(3) {
                0 => 0,
                1 => self.loader_rng.below(500),
                _ => self.loader_rng.below(8_000),
            },
        }
    }

    fn load_end(
        &mut self,
        call: usize,
        keys: &[usize],
        behavior: LoaderBehavior,
        is_batch: bool,
    ) -> LoadEnd {
        match behavior {
            LoaderBehavior::Does(Fault::LoaderFails) => {
                self.failures.push((call, Micros::MAX));
                LoadEnd::Failure(self.failures.len() as u64 - 1)
            }
            LoaderBehavior::Does(Fault::LoaderPanics) => LoadEnd::Panic,
            LoaderBehavior::Does(Fault::LoaderNeverEnds) => LoadEnd::Never,
            _ => self.load_values(call, keys, behavior, is_batch),
        }
    }

    fn load_values(
        &mut self,
        call: usize,
        keys: &[usize],
        behavior: LoaderBehavior,
        is_batch: bool,
    ) -> LoadEnd {
        let omits = behavior == LoaderBehavior::Does(Fault::LoaderOmitsKey);
        let mut versions = Vec::with_capacity(keys.len());
        for &key in keys {
            let version = self.load_version(call, key, behavior);
            if omits && (versions.is_empty() || self.loader_rng.chance(300)) {
                self.versions[version].payload = None;
            }
            versions.push(Some(version));
        }
        let extra = (is_batch && behavior == LoaderBehavior::Does(Fault::LoaderExtraKey))
            .then(|| (0..self.keys.len()).find(|key| !keys.contains(key)))
            .flatten();
        let ttl = (behavior == LoaderBehavior::Does(Fault::LoaderOwnTtl))
            .then(|| if self.loader_rng.chance(200) { 0 } else { self.loader_rng.between(1, 60) });
        LoadEnd::Values {
            versions,
            extra,
            ttl,
            store: behavior != LoaderBehavior::Does(Fault::LoaderUnstored),
        }
    }

    fn load_version(&mut self, call: usize, key: usize, behavior: LoaderBehavior) -> usize {
        let Self { stamp, .. } = *self;
        let (process, life) = (self.calls[call].process, self.calls[call].life);
        let origin = Origin::Load { call, process, life, begun: stamp, ended_at: Micros::MAX };
        let number = match behavior {
            LoaderBehavior::Does(Fault::LoaderTooLarge) => {
                self.new_shaped_version(ValueShape::Padded(self.plan.value_max), key, origin)
            }
            LoaderBehavior::Does(Fault::LoaderLockLike) => {
                self.new_shaped_version(ValueShape::LockLike, key, origin)
            }
            _ => self.new_version(key, origin),
        };
        if behavior == LoaderBehavior::Does(Fault::LoaderNotFound) {
            self.versions[number].payload = None;
        }
        number
    }

    fn new_shaped_version(&mut self, shape: ValueShape, key: usize, origin: Origin) -> usize {
        let number = self.versions.len();
        let payload = Some(encode_value(shape, key, number));
        let (executed, ttl, was_deleted) = (None, self.plan.ttl, false);
        self.versions.push(Version { key, payload, origin, executed, ttl, was_deleted });
        number
    }

    /// End the loader of a call, if the call still waits for this load.
    pub(crate) fn on_load_ended(&mut self, call: usize, turn: u32) -> Checked {
        let state = &self.calls[call];
        if state.state != State::Waiting || state.load.as_ref().is_none_or(|it| it.turn != turn) {
            return Ok(());
        }
        let (process, op, is_batch) = (state.process, state.op, state.kind.is_batch());
        let Some(load) = self.end_load(call) else { return Ok(()) };
        if self.now - load.begun_at > u64::try_from(self.plan.times.lock.as_micros()).unwrap_or(0) {
            self.tally.cover(Invariant::LoadedIsReturned);
        }
        self.note_commit_ended(call, &load);
        for &key in &load.keys {
            let open_loads = &mut self.keys[key].open_loads;
            let ended = open_loads.iter().position(|open| *open == (process, load.begun_at));
            ended.map(|at| open_loads.swap_remove(at));
        }
        let now = self.time_of(process);
        match load.end {
            LoadEnd::Committed => {
                self.processes[process].engine.handle_loaded_many(now, op, Ok(Vec::new()));
            }
            LoadEnd::Panic => return self.drop_call(call),
            LoadEnd::Never => {}
            LoadEnd::Failure(number) => {
                self.failures[usize::try_from(number).unwrap_or(0)].1 = self.now;
                for &key in &load.keys {
                    self.calls[call].given.push((key, Given::Failure(number)));
                }
                let failure = LoadFailure::new(format!("failure {number}"));
                let engine = &mut self.processes[process].engine;
                if is_batch {
                    engine.handle_loaded_many(now, op, Err(failure));
                } else {
                    engine.handle_loaded(now, op, Err(failure));
                }
            }
            LoadEnd::Values { versions, extra, ttl, store } => {
                let mut found = Vec::with_capacity(load.keys.len());
                for (&key, version) in load.keys.iter().zip(versions) {
                    found.push(self.give(call, key, version, ttl, store));
                }
                let engine = &mut self.processes[process].engine;
                if is_batch {
                    let mut found: Vec<(Key, Loaded)> = found.into_iter().flatten().collect();
                    if let Some(extra) = extra {
                        let stray = Loaded::value(format!("|{extra}|stray"));
                        found.push((self.keys[extra].name.clone(), stray));
                    }
                    engine.handle_loaded_many(now, op, Ok(found));
                } else if let Some(Some((_, loaded))) = found.pop() {
                    engine.handle_loaded(now, op, Ok(loaded));
                } else {
                    engine.handle_loaded(now, op, Ok(Loaded::not_found()));
                }
            }
        }
        self.drain(process)
    }

    /// Return the result of a loader for one key; `None` if it omits the key.
    fn give(
        &mut self,
        call: usize,
        key: usize,
        version: Option<usize>,
        ttl: Option<u64>,
        store: bool,
    ) -> Option<(Key, Loaded)> {
        let number = version?;
        let version = &mut self.versions[number];
        if let Origin::Load { ended_at, .. } = &mut version.origin {
            *ended_at = self.now;
        }
        if let Some(ttl) = ttl {
            version.ttl = std::time::Duration::from_millis(ttl);
        }
        let payload = version.payload.clone();
        let state = &mut self.calls[call];
        state.given.push((key, Given::Value(payload.clone())));
        let leaves_out = payload.is_none() && self.plan.faults.has(Fault::LoaderOmitsKey);
        if state.kind.is_set() {
            state.versions.push(number);
            let is_too_large =
                payload.as_ref().is_some_and(|payload| payload.len() > self.plan.value_max);
            if !store || leaves_out && state.kind.is_batch() {
                state.unstored.push(key);
            } else if is_too_large || ttl == Some(0) {
                state.unstorable.push(key);
            }
        }
        let mut loaded = payload.map_or_else(Loaded::not_found, Loaded::value);
        if let Some(ttl) = ttl {
            loaded = loaded.with_ttl(std::time::Duration::from_millis(ttl));
        }
        if !store {
            loaded = loaded.do_not_store();
        }
        (!leaves_out).then(|| (self.keys[key].name.clone(), loaded))
    }

    /// Record that the loader of a call has ended.
    pub(crate) fn end_load(&mut self, call: usize) -> Option<Load> {
        let load = self.calls[call].load.take()?;
        self.note_commit_cut_off(call);
        let process = &mut self.processes[self.calls[call].process];
        if process.life == self.calls[call].life && self.calls[call].kind != Kind::Refresh {
            for &key in &load.keys {
                let learned = &mut process.learned[key];
                learned.loads -= 1;
                if learned.loads == 0 {
                    learned.load_until = self.now;
                }
            }
        }
        Some(load)
    }
}
