//! Callers: their calls, near hits before the calls, and dropped futures.

use bytes::Bytes;
use redcache_core::engine::OpId;
use redcache_core::{Error, ErrorKind, Key};

use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Origin, ValueShape, Version, encode_value};
use crate::invariant::{Checked, Invariant, Violation};
use crate::state::call::{Call, Kind, State};
use crate::state::call_style::CallStyle;
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

const KINDS: [(u64, Kind); 12] = [
    (42, Kind::GetWith),
    (12, Kind::Get),
    (10, Kind::GetManyWith),
    (4, Kind::GetMany),
    (9, Kind::SetWith),
    (5, Kind::SetManyWith),
    (9, Kind::Insert),
    (10, Kind::Remove),
    (5, Kind::Touch),
    (3, Kind::InsertMany),
    (3, Kind::RemoveMany),
    (2, Kind::TouchMany),
];

impl World {
    /// Make the next call of a caller.
    pub(crate) fn act(&mut self, caller: usize) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        let process = caller / self.plan.callers;
        let state = &self.processes[process];
        if !state.is_open && state.closing_since.is_none() {
            self.queue.plan(self.now + 10_000, Event::Act(caller));
            return Ok(());
        }
        let (kind, keys) = self.next_change().map_or_else(
            || {
                let kind = self.caller_rng.weighted(&KINDS);
                let count = if kind.is_batch() { self.caller_rng.index(5) } else { 1 };
                let keys = (0..count).map(|_| self.caller_rng.index(self.keys.len())).collect();
                (kind, keys)
            },
            |keys| (Kind::Change, keys),
        );
        let style = self.style(kind);
        self.call(caller, kind, keys, style)
    }

    /// Make a call like an adapter: near hits are answered without the engine.
    pub(crate) fn call(
        &mut self,
        caller: usize,
        kind: Kind,
        mut keys: Vec<usize>,
        style: CallStyle,
    ) -> Checked {
        let process = caller / self.plan.callers;
        let reads = matches!(kind, Kind::Get | Kind::GetMany | Kind::GetWith | Kind::GetManyWith);
        if reads && style.options().asks_near() {
            keys = self.answer_near(process, keys, style)?;
            if keys.is_empty() && !(kind.is_batch() && self.caller_rng.chance(100)) {
                self.calls_made += 1;
                self.next_act(caller);
                return Ok(());
            }
        }
        let versions = if matches!(kind, Kind::Insert | Kind::InsertMany) {
            let call = self.calls.len();
            keys.iter().map(|&key| self.new_version(key, Origin::Insert { call })).collect()
        } else {
            Vec::new()
        };
        let now = self.time_of(process);
        let op = self.ask(process, now, kind, &keys, &versions, style);
        let op = match op {
            Ok(op) => op,
            Err(error) => {
                let closed = self.processes[process].closing_since.is_some();
                let fits = closed && error.kind() == ErrorKind::Closed;
                Invariant::NoErrorWithoutCause
                    .holds(fits, || format!("{kind:?} is refused: {error:?}"))?;
                self.next_act(caller);
                return Ok(());
            }
        };
        if let Some(after) = style.deadline {
            self.processes[process].engine.set_timeout(now, op, after);
        }
        if style.reload && kind.loads() {
            self.supersede(process, &keys);
        }
        self.remember_call(caller, kind, keys, versions, op, style);
        self.drain(process)
    }

    fn answer_near(
        &mut self,
        process: usize,
        keys: Vec<usize>,
        style: CallStyle,
    ) -> Result<Vec<usize>, Violation> {
        let now = self.time_of(process);
        let mut far = Vec::with_capacity(keys.len());
        for key in keys {
            let near = self.processes[process].engine.near();
            let name = self.keys[key].name.as_bytes();
            match near.get_and(name, style.max_staleness, || near.time_of(now), |hit| hit) {
                Some(hit) => {
                    self.trace
                        .line(self.now, || format!("p{process} finds key {key} near: {hit:?}"));
                    self.trace.mix(&[process as u64, key as u64]);
                    Invariant::PastNear.holds(!style.is_past_near(), || {
                        format!("p{process} answers a call for key {key} from near: {style:?}")
                    })?;
                    self.check_hit(process, key, hit.value())?;
                    self.check_fresh_hit(process, key, &hit, style)?;
                    if style.is_refreshing {
                        self.refresh_hit(process, key, &hit);
                    }
                }
                None => far.push(key),
            }
        }
        if style.is_refreshing {
            self.drain(process)?;
        }
        Ok(far)
    }

    fn ask(
        &mut self,
        process: usize,
        now: std::time::Instant,
        kind: Kind,
        keys: &[usize],
        versions: &[usize],
        style: CallStyle,
    ) -> Result<OpId, Error> {
        let ttl = self.plan.ttl;
        let names: Vec<Key> = keys.iter().map(|&key| self.keys[key].name.clone()).collect();
        let first = names.first().cloned();
        let values: Vec<Bytes> =
            versions.iter().filter_map(|&version| self.versions[version].payload.clone()).collect();
        let loader_id = self.processes[process].loader_id();
        let engine = &mut self.processes[process].engine;
        let value = values.first().cloned().unwrap_or_default();
        let one = first.unwrap_or_else(|| Key::from(""));
        match kind {
            Kind::Get => engine.get(now, one, style.options()),
            Kind::GetMany => engine.get_many(now, names, style.options()),
            Kind::GetWith => engine.get_with(now, one, style.load(ttl, loader_id)),
            Kind::GetManyWith => engine.get_many_with(now, names, style.load(ttl, loader_id)),
            Kind::SetWith => engine.insert_with(now, one, ttl),
            Kind::SetManyWith => engine.insert_many_with(now, names, ttl),
            Kind::Insert => engine.insert(now, one, value, ttl),
            Kind::InsertMany => {
                engine.insert_many(now, names.into_iter().zip(values).collect(), ttl)
            }
            Kind::Remove => engine.remove(now, one),
            Kind::RemoveMany => engine.remove_many(now, names),
            Kind::Touch => engine.touch(now, one, ttl),
            Kind::TouchMany => engine.touch_many(now, names, ttl),
            Kind::Change => engine.change(now, names),
            Kind::Refresh => unreachable!("a refresh worker is not started by a caller"),
        }
    }

    pub(crate) fn remember_call(
        &mut self,
        caller: usize,
        kind: Kind,
        keys: Vec<usize>,
        versions: Vec<usize>,
        op: OpId,
        style: CallStyle,
    ) {
        let process = caller / self.plan.callers;
        let call = self.calls.len();
        self.calls_made += 1;
        self.trace.line(self.now, || {
            format!("call {call}: caller {caller} of p{process} {kind:?} {keys:?}")
        });
        self.trace.mix(&[call as u64, kind as u64]);
        let is_superseded = self.inherits_reload(process, kind, &keys);
        let state = &mut self.processes[process];
        for &key in &keys {
            match kind {
                Kind::Remove | Kind::RemoveMany => state.removes[key].asked += 1,
                Kind::Touch | Kind::TouchMany => state.touches[key].asked += 1,
                _ if kind.loads() => state.learned[key].waiting += 1,
                _ => {}
            }
        }
        state.remember(op, call);
        self.calls.push(Call {
            process,
            life: state.life,
            caller,
            kind,
            op,
            own_floors: keys.iter().map(|&key| state.learned[key].own_write).collect(),
            join_floors: keys.iter().map(|&key| self.keys[key].acknowledged).collect(),
            commit_floors: keys.iter().map(|&key| self.keys[key].committed).collect(),
            commit: None,
            seen_floors: keys.iter().map(|&key| state.learned[key].seen).collect(),
            keys,
            state: State::Waiting,
            started: self.stamp,
            started_at: self.now,
            versions,
            load: None,
            loads: 0,
            given: Vec::new(),
            unstored: Vec::new(),
            unstorable: Vec::new(),
            style,
            is_superseded,
            is_stalled: false,
        });
        self.waiting.push(call);
        let deadline = self.deadline(process, kind);
        // No deadline ends a commit that runs.
        let bound = self.bound(process, style).filter(|_| kind != Kind::Change);
        let bound = bound.map(|bound| bound + 1_000);
        let deadline = bound.unwrap_or(deadline).min(deadline);
        if style.is_past_near() {
            self.tally.cover(Invariant::PastNear);
        }
        self.queue.plan(self.now + deadline, Event::Deadline(call));
        if !style.is_probe
            && self.plan.faults.has(Fault::CallerDropped)
            && self.caller_rng.chance(300)
        {
            let soon = [0, self.plan.latency, 4 * self.plan.latency, 50_000];
            let bound = self.caller_rng.pick(&soon);
            let at = self.now + self.caller_rng.below(bound + 1);
            self.queue.plan(at, Event::Drop(call));
        }
    }

    /// Return the time that a call may take. A call without a loader is limited by the command
    /// timeout; one with a loader may wait for the loads and locks of every other caller first.
    fn deadline(&self, process: usize, kind: Kind) -> Micros {
        let clock = &self.processes[process].clock;
        let command = clock.stretch(self.plan.times.command);
        if kind == Kind::Refresh {
            return 3 * clock.stretch(self.plan.times.load) + 8 * command;
        }
        if !kind.loads() {
            return command + 1_000;
        }
        let load = clock.stretch(self.plan.times.load) + clock.stretch(self.plan.times.lock);
        (self.plan.callers as u64 + 2) * (2 * load + 4 * command)
    }

    pub(crate) fn new_version(&mut self, key: usize, origin: Origin) -> usize {
        let number = self.versions.len();
        let shape = match self.loader_rng.below(12) {
            0 => ValueShape::EnvelopeLike,
            1 => ValueShape::Framed,
            2 => ValueShape::LockLike,
            3 => ValueShape::Padded(100),
            _ => ValueShape::Plain,
        };
        let payload = Some(encode_value(shape, key, number));
        let (executed, ttl, was_deleted) = (None, self.plan.ttl, false);
        self.versions.push(Version { key, payload, origin, executed, ttl, was_deleted });
        number
    }

    /// Drop the future of a waiting call.
    pub(crate) fn drop_call(&mut self, call: usize) -> Checked {
        let state = &self.calls[call];
        if state.state != State::Waiting {
            return Ok(());
        }
        let (process, op) = (state.process, state.op);
        let is_loading = state.load.is_some();
        self.tally.fault(if is_loading {
            Fault::CallerDroppedLoading
        } else {
            Fault::CallerDropped
        });
        self.tally.cover(Invariant::CancelNeutrality);
        self.trace.line(self.now, || format!("call {call} is dropped"));
        self.end_load(call);
        self.processes[process].forget(op);
        self.note_dropped_write(call);
        self.end_call(call, State::Dropped);
        let now = self.time_of(process);
        self.processes[process].engine.cancel(now, op);
        self.is_handing_over = true;
        if self.calls[call].kind == Kind::Refresh {
            self.end_refresh_worker(process);
        }
        let drained = self.drain(process);
        self.is_handing_over = false;
        drained
    }

    /// Record that a call has ended and schedule the caller's next.
    pub(crate) fn end_call(&mut self, call: usize, end: State) {
        self.end_load(call);
        self.count_wake_up(call);
        self.calls[call].state = end;
        let state = &self.calls[call];
        let process = &mut self.processes[state.process];
        let (of, reloads) = (state.process, state.style.reload && state.kind.loads());
        if state.kind.loads() && state.life == process.life {
            for &key in &state.keys {
                let learned = &mut process.learned[key];
                learned.waiting -= 1;
                learned.idle_since = self.now;
                if state.is_superseded || state.is_stalled {
                    learned.reloaded_at = self.now;
                }
            }
        }
        if let Some(at) = self.waiting.iter().position(|&other| other == call) {
            self.waiting.swap_remove(at);
        }
        if reloads {
            let keys = self.calls[call].keys.clone();
            self.supersede(of, &keys);
        }
        let caller = self.calls[call].caller;
        if self.calls[call].kind != Kind::Refresh {
            self.next_act(caller);
        }
    }

    fn next_act(&mut self, caller: usize) {
        if self.phase == Phase::Disturbed {
            let pause = self.caller_rng.below(self.plan.think);
            self.queue.plan(self.now + pause, Event::Act(caller));
        }
    }
}
