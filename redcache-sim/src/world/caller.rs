//! Callers: what they ask for, what they do with the near cache before, and how they leave.

use bytes::Bytes;
use redcache_core::{Error, ErrorKind, Key, OpId};

use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Flavour, Origin, Version, spell};
use crate::invariant::{Checked, Invariant, Violation};
use crate::state::call::{Call, Kind, State};
use crate::state::call_style::Manner;
use crate::state::queue::Happening;
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
    /// Lets a caller make its next call.
    pub(crate) fn act(&mut self, caller: usize) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        let process = caller / self.plan.callers;
        let state = &self.processes[process];
        if !state.is_open && state.closing_since.is_none() {
            self.queue.plan(self.now + 10_000, Happening::Act(caller));
            return Ok(());
        }
        let kind = self.caller_dice.weighted(&KINDS);
        let count = if kind.is_batch() { self.caller_dice.index(5) } else { 1 };
        let keys = (0..count).map(|_| self.caller_dice.index(self.keys.len())).collect();
        let manner = self.manner(kind);
        self.call(caller, kind, keys, manner)
    }

    /// Makes a call the way an adapter does: what is near is answered without the engine.
    pub(crate) fn call(
        &mut self,
        caller: usize,
        kind: Kind,
        mut keys: Vec<usize>,
        manner: Manner,
    ) -> Checked {
        let process = caller / self.plan.callers;
        let reads = matches!(kind, Kind::Get | Kind::GetMany | Kind::GetWith | Kind::GetManyWith);
        if reads && manner.options().asks_near() {
            keys = self.answer_near(process, keys, manner)?;
            if keys.is_empty() && !(kind.is_batch() && self.caller_dice.chance(100)) {
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
        let op = self.ask(process, now, kind, &keys, &versions, manner);
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
        if let Some(after) = manner.deadline {
            self.processes[process].engine.set_timeout(now, op, after);
        }
        if manner.reload && kind.loads() {
            self.supersede(process, &keys);
        }
        self.remember_call(caller, kind, keys, versions, op, manner);
        self.drain(process)
    }

    fn answer_near(
        &mut self,
        process: usize,
        keys: Vec<usize>,
        manner: Manner,
    ) -> Result<Vec<usize>, Violation> {
        let now = self.time_of(process);
        let mut far = Vec::with_capacity(keys.len());
        for key in keys {
            let near = self.processes[process].engine.near();
            match near.get(self.keys[key].name.as_bytes(), || now) {
                Some(hit) => {
                    self.trace
                        .line(self.now, || format!("p{process} finds key {key} near: {hit:?}"));
                    self.trace.mix(&[process as u64, key as u64]);
                    Invariant::PastNear.holds(!manner.is_past_near(), || {
                        format!("p{process} answers a call for key {key} from near: {manner:?}")
                    })?;
                    self.check_hit(process, key, hit.value.as_ref())?;
                    if manner.is_refreshing {
                        self.refresh_hit(process, key, &hit);
                    }
                }
                None => far.push(key),
            }
        }
        if manner.is_refreshing {
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
        manner: Manner,
    ) -> Result<OpId, Error> {
        let ttl = self.plan.ttl;
        let names: Vec<Key> = keys.iter().map(|&key| self.keys[key].name.clone()).collect();
        let first = names.first().cloned();
        let values: Vec<Bytes> =
            versions.iter().filter_map(|&version| self.versions[version].payload.clone()).collect();
        let family = self.processes[process].family();
        let engine = &mut self.processes[process].engine;
        let value = values.first().cloned().unwrap_or_default();
        let one = first.unwrap_or_else(|| Key::from(""));
        match kind {
            Kind::Get => engine.get(now, one),
            Kind::GetMany => engine.get_many(now, names),
            Kind::GetWith => engine.get_with(now, one, manner.load(ttl, family)),
            Kind::GetManyWith => engine.get_many_with(now, names, manner.load(ttl, family)),
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
            Kind::Refresh => unreachable!("workers begin by themselves"),
        }
    }

    pub(crate) fn remember_call(
        &mut self,
        caller: usize,
        kind: Kind,
        keys: Vec<usize>,
        versions: Vec<usize>,
        op: OpId,
        manner: Manner,
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
            manner,
            is_superseded,
        });
        self.waiting.push(call);
        let deadline = self.deadline(process, kind);
        let bound = self.bound(process, manner).map(|bound| bound + 1_000);
        let deadline = bound.unwrap_or(deadline).min(deadline);
        if manner.is_past_near() {
            self.tally.premise(Invariant::PastNear);
        }
        self.queue.plan(self.now + deadline, Happening::Deadline(call));
        if !manner.is_probe
            && self.plan.faults.has(Fault::CallerDropped)
            && self.caller_dice.chance(300)
        {
            let soon = [0, self.plan.latency, 4 * self.plan.latency, 50_000];
            let bound = self.caller_dice.pick(&soon);
            let at = self.now + self.caller_dice.below(bound + 1);
            self.queue.plan(at, Happening::Drop(call));
        }
    }

    /// How long a call may take. A step that does not load waits for Redis for as long as the configuration says; one
    /// that loads may have to wait for every other caller's load and lock before.
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
        let flavour = match self.loader_dice.below(12) {
            0 => Flavour::EnvelopeLike,
            1 => Flavour::Framed,
            2 => Flavour::LockLike,
            3 => Flavour::Padded(100),
            _ => Flavour::Plain,
        };
        let payload = Some(spell(flavour, key, number));
        self.versions.push(Version { key, payload, origin, executed: None });
        number
    }

    /// Drops the future of a call that still waits.
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
        self.tally.premise(Invariant::CancelNeutrality);
        self.trace.line(self.now, || format!("call {call} is dropped"));
        self.end_load(call);
        self.processes[process].forget(op);
        self.end_call(call, State::Dropped);
        let now = self.time_of(process);
        self.processes[process].engine.cancel(now, op);
        self.is_handing_over = true;
        if self.calls[call].kind == Kind::Refresh {
            self.end_work(process);
        }
        let drained = self.drain(process);
        self.is_handing_over = false;
        drained
    }

    /// Notes that a call is over; its caller makes another.
    pub(crate) fn end_call(&mut self, call: usize, end: State) {
        self.end_load(call);
        self.count_wake_up(call);
        self.calls[call].state = end;
        let state = &self.calls[call];
        let process = &mut self.processes[state.process];
        let (of, reloads) = (state.process, state.manner.reload && state.kind.loads());
        if state.kind.loads() && state.life == process.life {
            for &key in &state.keys {
                let learned = &mut process.learned[key];
                learned.waiting -= 1;
                learned.idle_since = self.now;
                if state.is_superseded {
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
            let pause = self.caller_dice.below(self.plan.think);
            self.queue.plan(self.now + pause, Happening::Act(caller));
        }
    }
}
