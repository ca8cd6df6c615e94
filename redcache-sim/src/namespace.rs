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
//! each answer with the commits and clears that had ended one push before the call began. A commit
//! that failed ends when its process keeps no removal any longer.

mod call;
mod caller;
mod check;
mod inject;
mod plan;
mod wired;
mod world;

use crate::invariant::Checked;
use crate::options::Options;
use crate::run::Run;
use crate::wiring::Wiring;
use world::{Event, Phase, World};

/// Run the world of a seed to its end or to the first violation.
pub(crate) fn simulate(seed: u64, options: &Options) -> Run {
    let mut world = World::new(seed, options);
    let ended = world.run();
    world.timeline.end(seed, ended)
}

impl World {
    fn run(&mut self) -> Checked {
        self.begin()?;
        loop {
            let event = self.timeline.next()?;
            self.step(event)?;
            self.note_repeated_removals();
            match self.phase {
                Phase::Over => return Ok(()),
                Phase::Disturbed => {
                    if self.timeline.is_last_disturbed() {
                        self.heal();
                    }
                }
                Phase::Healing | Phase::Probing => {}
            }
        }
    }

    fn begin(&mut self) -> Checked {
        for process in 0..self.processes.len() {
            self.drain(process)?;
            for _ in 0..self.plan.callers {
                let at = self.rng.below(self.plan.think);
                self.timeline.schedule(at, Event::Act(process));
            }
        }
        for at in 0..self.plan.injections.len() {
            self.timeline.schedule(self.plan.injections[at].0, Event::Fault(at));
        }
        self.timeline.schedule(self.plan.disturbed, Event::Heal);
        Ok(())
    }

    fn step(&mut self, event: Event) -> Checked {
        match event {
            Event::Dialed(link) => return self.on_dialed(link),
            Event::Wiring(wake) => return self.on_wake(wake),
            Event::Act(process) => return self.act(process),
            Event::Loaded(call) => return self.end_load(call),
            Event::Deadline(call) => return self.check_deadline(call),
            Event::Probe => return self.probe(),
            Event::Rest => return self.rest(),
            Event::Fault(at) => self.inject(at),
            Event::FailOver(shard) => self.fail_over(shard),
            Event::Heal => self.heal(),
        }
        Ok(())
    }
}
