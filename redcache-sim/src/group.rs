//! One run of a group under Redis Sentinel: processes, a primary and two replicas, and three
//! sentinels, which may be late, wrong, dead or silent, and may disagree.
//!
//! ```text
//!  callers ─▶ engine ─▶ link ─▶ servers: one is the primary, and a demoted one may not know it
//!                │
//!                └────▶ link ─▶ sentinels: each names the primary that it knows of
//! ```
//!
//! The world is smaller than that of a single server: it has no loaders and no locks. All its
//! checks concern the server that a process uses. A process may use only the server that a sentinel
//! has named to it last, and only if that server reports itself as a primary.

mod check;
mod failover;
mod inject;
mod link;
mod login;
mod plan;
mod process;
mod sentinel;
mod server;
mod wired;
mod world;

use crate::invariant::Checked;
use crate::options::Options;
use crate::run::Run;
use crate::wiring::Wiring;
use world::{Event, Phase, World};

/// Run the group of a seed to its end or to the first violation.
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
            self.check_processes()?;
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
            let at = self.rng.below(self.plan.think);
            self.timeline.schedule(at, Event::Act(process));
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
            Event::Deadline(process, call) => return self.check_deadline(process, call),
            Event::Credentials(login) => return self.answer_login(login),
            Event::Expiry(login) => return self.check_renewal(login),
            Event::Probe => return self.probe(),
            Event::Rest => return self.rest(),
            Event::Replicate => self.replicate(),
            Event::Fault(at) => self.inject(at),
            Event::Promote(switch) => self.promote(switch),
            Event::Learn { sentinel, primary, epoch } => self.learn(sentinel, primary, epoch),
            Event::Demote(server) => self.demote(server),
            Event::Resume(server) => self.resume(server),
            Event::Return(server) => self.come_back(server),
            Event::ReviveSentinel(sentinel) => self.revive_sentinel(sentinel),
            Event::Heal => self.heal(),
        }
        Ok(())
    }
}
