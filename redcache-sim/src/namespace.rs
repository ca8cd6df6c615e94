//! One run of processes that share a namespace which they clear, on one server or on a cluster of
//! two shards.
//!
//! ```text
//!  callers ─▶ namespace call ─▶ engine ─▶ link ─▶ servers: the generation, and the keys under it
//!  loaders ─▶ database: a version per key
//! ```
//!
//! Each key has a version in a database. A commit raises it and then removes or inserts the key. A
//! clear raises all versions and then writes another generation. The checks compare the version of
//! each answer with the commits and clears that had ended one push before the call began.

mod call;
mod caller;
mod check;
mod inject;
mod plan;
mod process;
mod server;
mod world;

use crate::invariant::{Checked, Invariant};
use crate::options::Options;
use crate::run::Run;
use world::{Event, Phase, World};

/// More events than any run that makes progress.
const STEPS_MAX: u64 = 400_000;

/// Run the world of a seed to its end or to the first violation.
pub(crate) fn simulate(seed: u64, options: &Options) -> Run {
    let mut world = World::new(seed, options);
    let broken = world.run().err();
    world.trace.line(world.now, || match &broken {
        Some(it) => format!("BROKEN: {} ({})", it.invariant.description(), it.text),
        None => "nothing is left".to_owned(),
    });
    Run {
        seed,
        steps: world.steps,
        disturbed_steps: world.disturbed_steps,
        calls: world.calls_made,
        changes: 0,
        lasted: std::time::Duration::from_micros(world.now),
        hash: world.trace.hash(),
        tally: world.tally,
        violation: broken,
        trace: world.trace.into_lines(),
    }
}

impl World {
    fn run(&mut self) -> Checked {
        self.begin()?;
        while let Some(((at, turn), event)) = self.queue.pop_first() {
            self.now = at;
            self.steps += 1;
            self.trace.mix(&[at, turn]);
            self.step(event)?;
            match self.phase {
                Phase::Over => return Ok(()),
                Phase::Disturbed => {
                    self.disturbed_steps = self.steps;
                    if self.steps == self.disturbed_steps_max {
                        self.heal();
                    }
                }
                Phase::Healing | Phase::Probing => {}
            }
            Invariant::Liveness.holds(self.steps < STEPS_MAX, || {
                format!("still running after {STEPS_MAX} steps")
            })?;
        }
        Err(Invariant::Liveness.broken("the queue of events is empty"))
    }

    fn begin(&mut self) -> Checked {
        for process in 0..self.processes.len() {
            self.drain(process)?;
            for _ in 0..self.plan.callers {
                let at = self.rng.below(self.plan.think);
                self.schedule(at, Event::Act(process));
            }
        }
        for at in 0..self.plan.injections.len() {
            self.schedule(self.plan.injections[at].0, Event::Fault(at));
        }
        self.schedule(self.plan.disturbed, Event::Heal);
        Ok(())
    }

    fn step(&mut self, event: Event) -> Checked {
        match event {
            Event::EngineTimeout(process) => return self.on_engine_timeout(process),
            Event::Dialed(link) => return self.on_dialed(link),
            Event::ToProcess(link) => return self.on_to_process(link),
            Event::Act(process) => return self.act(process),
            Event::Loaded(call) => return self.end_load(call),
            Event::Deadline(call) => return self.check_deadline(call),
            Event::Probe => return self.probe(),
            Event::Rest => return self.rest(),
            Event::ServerTimeout(node) => self.on_server_timeout(node),
            Event::ToServer(link) => self.on_to_server(link),
            Event::Fault(at) => self.inject(at),
            Event::FailOver(shard) => self.fail_over(shard),
            Event::Heal => self.heal(),
        }
        Ok(())
    }
}
