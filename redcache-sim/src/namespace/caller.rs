//! Callers: reads with a loader, commits with a removal, and clears.

use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_core::engine::{
    CallError, Engine, Generation, LoadOptions, NamespaceCall, NamespaceStep, NearHit, OpId,
    Outcome,
};
use redcache_core::{Answer, CallOptions, Error, Key, Loaded, Source};

use super::call::{Call, Kind, State};
use super::world::{Event, Phase, World};
use crate::fault::Fault;
use crate::history::Stamp;
use crate::invariant::{Checked, Invariant, Violation};
use crate::wiring::Wiring;

/// The TTL of values and generations, longer than any run.
const TTL: Duration = Duration::from_secs(3600);

/// Return the key of the generation.
pub(super) fn generation_key() -> Key {
    Key::from("n:%~generation")
}

/// Return the name of a key in a generation.
fn name(key: usize, generation: Generation) -> Key {
    [format!("n:{key}%~g").as_bytes(), generation.as_bytes()].concat().into()
}

/// Return the near value of a key, if it was known to be current within the limit.
fn near_value(
    engine: &Engine,
    key: &Key,
    limit: Option<Duration>,
    now: Instant,
) -> Option<Option<Bytes>> {
    let near = engine.near();
    near.get_and(key.as_bytes(), limit, || near.time_of(now), NearHit::into_value)
}

impl World {
    /// Make the next call of a process.
    pub(super) fn act(&mut self, process: usize) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        let at = self.timeline.now + 1 + self.rng.below(self.plan.think);
        self.timeline.schedule(at, Event::Act(process));
        let kind = self.rng.weighted(&[(20, Kind::Read), (4, Kind::Commit), (1, Kind::Clear)]);
        self.call(process, kind, false)
    }

    pub(super) fn call(&mut self, process: usize, kind: Kind, is_probe: bool) -> Checked {
        let now = self.timeline.time();
        let key = self.rng.index(self.plan.keys);
        let is_fresh = kind == Kind::Read && self.rng.chance(200);
        let options = CallOptions::new();
        let options = if is_fresh { options.max_staleness(Duration::ZERO) } else { options };
        let machine = match kind {
            Kind::Read => NamespaceCall::read(options),
            Kind::Commit | Kind::Clear => NamespaceCall::write(now),
        };
        let raised = match kind {
            Kind::Read => 0..0,
            Kind::Commit => key..key + 1,
            Kind::Clear => 0..self.plan.keys,
        };
        let raises = raised.map(|key| {
            self.database[key] += 1;
            (key, self.database[key])
        });
        let raises = raises.collect();
        let call = self.calls.len();
        self.timeline.calls += 1;
        self.calls.push(Call {
            process,
            kind,
            key,
            state: State::LookingUp,
            machine,
            is_fresh,
            is_probe,
            started_at: self.timeline.now,
            raises,
            load: None,
        });
        self.timeline.line(|| format!("call {call} of p{process}: {kind:?} {key}"));
        self.timeline.schedule(self.timeline.now + self.plan.call_lasts(), Event::Deadline(call));
        if kind == Kind::Clear {
            let generation = Generation::of_number(self.rng.next());
            let stamp = self.next_stamp();
            self.cleared.insert(generation, stamp);
            self.calls[call].state = State::Running(generation);
            let text = Bytes::copy_from_slice(generation.as_bytes());
            let op = self.processes[process].port.engine.insert(now, generation_key(), text, TTL);
            self.remember(call, op)?;
        } else {
            self.step_call(call, NamespaceStep::LookUp)?;
        }
        self.drain(process)
    }

    /// Carry out the next steps of a call, until it waits for the engine.
    fn step_call(&mut self, call: usize, mut step: NamespaceStep) -> Checked {
        loop {
            step = match step {
                NamespaceStep::LookUp => match self.look_up(call)? {
                    Some(step) => step,
                    None => return Ok(()),
                },
                NamespaceStep::Run(generation) => return self.run_call(call, generation),
                // No call of the simulation loads without Redis.
                NamespaceStep::Load(_) => return self.end_call(call, false),
                NamespaceStep::Remove(generation) => {
                    self.calls[call].state = State::Removing;
                    return self.remove(call, generation);
                }
                NamespaceStep::Keep(generation) => return self.keep(call, generation),
                NamespaceStep::Done => return self.end_call(call, true),
            };
        }
    }

    /// Look up the generation. Return the next step if it is near.
    fn look_up(&mut self, call: usize) -> Result<Option<NamespaceStep>, Violation> {
        let now = self.timeline.time();
        let state = &mut self.calls[call];
        let options = match state.state {
            State::Running(_) => state.machine.repeated_lookup_options(now),
            State::LookingUp | State::Removing | State::Keeping | State::Over => {
                state.machine.lookup_options()
            }
        };
        state.state = State::LookingUp;
        let process = &mut self.processes[state.process];
        let key = generation_key();
        if options.asks_near()
            && let Some(value) =
                near_value(&process.port.engine, &key, options.staleness_max(), now)
        {
            return Ok(Some(state.machine.on_found(value.as_deref(), &process.last)));
        }
        let op = if state.machine.creates() {
            process.port.engine.get_with(now, key, LoadOptions::new(TTL, options))
        } else {
            process.port.engine.get(now, key, options)
        };
        self.remember(call, op)?;
        Ok(None)
    }

    /// Run a call under a generation.
    fn run_call(&mut self, call: usize, generation: Generation) -> Checked {
        let now = self.timeline.time();
        let state = &mut self.calls[call];
        state.state = State::Running(generation);
        if state.kind == Kind::Commit {
            return self.remove(call, generation);
        }
        let engine = &mut self.processes[state.process].port.engine;
        let limit = state.is_fresh.then_some(Duration::ZERO);
        let name = name(state.key, generation);
        if let Some(value) = near_value(engine, &name, limit, now) {
            self.check_answer(call, generation, value.as_ref())?;
            return self.end_call(call, true);
        }
        let options = CallOptions::new();
        let options = limit.map_or(options, |limit| options.max_staleness(limit));
        let op = engine.get_with(now, name, LoadOptions::new(TTL, options));
        self.remember(call, op)
    }

    fn remove(&mut self, call: usize, generation: Generation) -> Checked {
        let (state, now) = (&self.calls[call], self.timeline.time());
        let name = name(state.key, generation);
        let op = self.processes[state.process].port.engine.remove(now, name);
        self.remember(call, op)
    }

    /// Keep the removal of a commit that has failed.
    fn keep(&mut self, call: usize, generation: Generation) -> Checked {
        self.calls[call].state = State::Keeping;
        let (state, now) = (&self.calls[call], self.timeline.time());
        let names = vec![name(state.key, generation)];
        let op = self.processes[state.process].port.engine.keep_removals(now, names);
        self.remember(call, op)
    }

    fn remember(&mut self, call: usize, op: Result<OpId, Error>) -> Checked {
        let op = op.map_err(|error| {
            Invariant::NoErrorWithoutCause.broken(format!("call {call} is refused: {error}"))
        })?;
        self.processes[self.calls[call].process].calls.insert(op, call);
        Ok(())
    }

    /// Start the loader of a call. A loader of a generation ends at once.
    pub(super) fn begin_load(&mut self, process: usize, op: OpId) -> Checked {
        let Some(&call) = self.processes[process].calls.get(&op) else {
            return Err(Invariant::CancelNeutrality.broken("a load for an unknown call"));
        };
        let begins = self.processes[process].port.engine.begin_load(op);
        Invariant::Completion.holds(begins, || "the load of another call".to_owned())?;
        if self.calls[call].state == State::LookingUp {
            let (random, now) = (self.rng.next(), self.timeline.time());
            let process = &mut self.processes[process];
            let generation = process.last.successor(random);
            let loaded = Loaded::value(Bytes::copy_from_slice(generation.as_bytes()));
            process.port.engine.handle_loaded(now, op, Ok(loaded));
            return Ok(());
        }
        let (key, stamp) = (self.calls[call].key, self.next_stamp());
        let value = Bytes::from(format!("{key}:{}:{stamp}", self.database[key]));
        self.calls[call].load = Some((op, value));
        let lasts = self.rng.below(self.plan.load_lasts);
        if lasts > 5_000 {
            self.timeline.tally.fault(Fault::LoaderSlow);
        }
        self.timeline.schedule(self.timeline.now + lasts, Event::Loaded(call));
        Ok(())
    }

    /// End the loader of a call.
    pub(super) fn end_load(&mut self, call: usize) -> Checked {
        let (process, now) = (self.calls[call].process, self.timeline.time());
        let Some((op, value)) = self.calls[call].load.take() else { return Ok(()) };
        let engine = &mut self.processes[process].port.engine;
        engine.handle_loaded(now, op, Ok(Loaded::value(value)));
        self.drain(process)
    }

    /// Continue the call whose operation has ended.
    pub(super) fn on_done(&mut self, process: usize, op: OpId, outcome: Outcome) -> Checked {
        let Some(call) = self.processes[process].calls.remove(&op) else {
            return Err(Invariant::CancelNeutrality
                .broken(format!("p{process} gets {outcome:?} for a finished call")));
        };
        self.calls[call].load = None;
        self.timeline.line(|| format!("call {call} gets {outcome:?}"));
        match (self.calls[call].state, outcome) {
            (State::LookingUp, Outcome::Answer(Ok(answer))) => self.on_generation(call, &answer),
            (State::LookingUp, Outcome::Answer(Err(CallError::Cache(error)))) => {
                let last = &self.processes[process].last;
                match self.calls[call].machine.on_failed(&error, last) {
                    Some(step) => self.step_call(call, step),
                    None => self.end_call(call, false),
                }
            }
            (State::Running(generation), Outcome::Answer(Ok(answer))) => {
                self.check_answer(call, generation, answer.value.as_ref())?;
                self.end_call(call, true)
            }
            (State::Running(_), Outcome::Written(Ok(_)))
                if self.calls[call].kind != Kind::Clear =>
            {
                let step = self.calls[call].machine.on_ran();
                self.step_call(call, step)
            }
            (_, Outcome::Written(Ok(_))) => self.end_call(call, true),
            (State::Keeping, Outcome::WrittenMany(_))
            | (_, Outcome::Written(Err(_)) | Outcome::Answer(Err(_))) => self.end_call(call, false),
            (state, outcome) => {
                Err(Invariant::Pairing
                    .broken(format!("call {call} is {state:?} and gets {outcome:?}")))
            }
        }
    }

    fn on_generation(&mut self, call: usize, answer: &Answer) -> Checked {
        let now = self.timeline.time();
        let state = &mut self.calls[call];
        let process = &self.processes[state.process];
        let value = answer.value.as_deref();
        let key = generation_key();
        // A generation that was loaded but not stored is not in use.
        let is_stored = answer.source == Source::Redis
            || process.port.engine.near().peek(key.as_bytes(), now).is_some();
        let step = state.machine.on_found(value, &process.last);
        if let (Some(value), true) = (value, is_stored) {
            process.last.record(Generation::of_stored(Some(value)));
        }
        self.step_call(call, step)
    }

    fn end_call(&mut self, call: usize, succeeds: bool) -> Checked {
        self.timeline.tally.cover(Invariant::Completion);
        self.calls[call].state = State::Over;
        self.timeline.line(|| format!("call {call} ends well: {succeeds}"));
        let is_fine = succeeds || !self.plan.injections.is_empty();
        self.timeline.tally.cover(Invariant::NoErrorWithoutCause);
        Invariant::NoErrorWithoutCause.holds(is_fine, || format!("call {call} fails"))?;
        if self.calls[call].is_probe {
            self.probes_left -= 1;
            Invariant::Liveness.holds(succeeds, || format!("the last call {call} fails"))?;
        }
        if succeeds {
            self.note_floor(call);
        } else if self.calls[call].kind == Kind::Commit {
            let process = self.calls[call].process;
            self.processes[process].failed.push((call, self.timeline.now));
        }
        Ok(())
    }

    /// Return the key and the version of a value, and the stamp at which its load began.
    pub(super) fn parse(value: &Bytes) -> Option<(usize, u64, Stamp)> {
        let text = std::str::from_utf8(value).ok()?;
        let mut numbers = text.split(':');
        let key = numbers.next()?.parse().ok()?;
        let version = numbers.next()?.parse().ok()?;
        Some((key, version, numbers.next()?.parse().ok()?))
    }
}
