//! One run of a simulated server or cluster.
//!
//! Each process runs a real [`redcache_core::engine::Engine`], the server is the model in
//! [`crate::server`], and the simulator provides links, callers, loaders, faults and time. Every
//! step is followed by checks of both sides. Finally the faults stop, and everything must come to
//! rest.
//!
//! ```text
//!  callers, loaders ─▶ engine ─▶ link ─▶ server
//!         ▲              ▲  ▼      ▲        ▲
//!         └── outcomes ──┘  near   └ faults ┘
//! ```

use std::time::Duration;

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant};
use crate::options::Options;
use crate::run::Run;
use crate::state::call::Kind;
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

/// Run the world of a seed to its end or to the first violation.
pub(crate) fn simulate_servers(seed: u64, options: &Options) -> Run {
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
        changes: world.calls.iter().filter(|call| call.kind == Kind::Change).count() as u64,
        lasted: Duration::from_micros(world.now),
        hash: world.trace.hash(),
        tally: world.tally,
        violation: broken,
        trace: world.trace.into_lines(),
    }
}

/// The largest number of events, more than any run that makes progress needs.
const STEPS_MAX: u64 = 400_000;

impl World {
    fn run(&mut self) -> Checked {
        self.begin()?;
        while let Some((at, event)) = self.queue.next() {
            self.now = self.now.max(at);
            if self.postpone(event) {
                continue;
            }
            self.steps += 1;
            self.trace.mix(&[at, self.stamp]);
            self.step(event)?;
            self.check_near()?;
            self.check_wake_ups()?;
            if self.phase == Phase::Over {
                return Ok(());
            }
            if self.phase == Phase::Disturbed {
                self.disturbed_steps = self.steps;
                if self.steps == self.disturbed_steps_max {
                    self.quiesce()?;
                }
            }
            Invariant::Liveness.holds(self.steps < STEPS_MAX, || {
                format!("still running after {STEPS_MAX} steps")
            })?;
        }
        Err(Invariant::Liveness.broken("the queue of events is empty"))
    }

    fn begin(&mut self) -> Checked {
        if self.plan.faults.has(Fault::SkewedClock) {
            self.tally.fault(Fault::SkewedClock);
        }
        for node in 0..self.nodes.len() {
            self.replace_server(node);
        }
        let permanent = [
            Fault::NoTracking,
            Fault::NoProto,
            Fault::HelloHangUp,
            Fault::PartialShards,
            Fault::NativeForbidden,
            Fault::UntrackingForbidden,
        ];
        for fault in permanent {
            if self.plan.faults.has(fault) {
                self.tally.fault(fault);
            }
        }
        self.trace.line(0, || "the run starts".to_owned());
        for process in 0..self.plan.processes {
            self.start_process(process)?;
            for caller in 0..self.plan.callers {
                let at = self.caller_rng.below(self.plan.think);
                self.queue.plan(at, Event::Act(process * self.plan.callers + caller));
            }
        }
        for at in 0..self.plan.injections.len() {
            self.queue.plan(self.plan.injections[at].0, Event::Fault(at));
        }
        self.queue.plan(self.plan.disturbed, Event::Quiesced);
        Ok(())
    }

    /// Postpone an event of a paused process. Return whether it was postponed.
    fn postpone(&mut self, event: Event) -> bool {
        let process = match event {
            Event::EngineTimeout(process) | Event::Work(process, _) => process,
            Event::Dialed(link) | Event::ToClient(link) => self.links[link].process,
            Event::Act(caller) => caller / self.plan.callers,
            Event::Drop(call)
            | Event::Polled(call)
            | Event::Loaded(call, _)
            | Event::Deadline(call) => self.calls[call].process,
            Event::Silence(link) => self.links[link].process,
            Event::Credentials(login) => match &self.provider {
                Some(provider) => provider.asker(login).process,
                None => return false,
            },
            Event::ServerTimeout(_)
            | Event::Commit(_)
            | Event::Replicate(_)
            | Event::MoveKey(_)
            | Event::EndMove(_)
            | Event::Trim(..)
            | Event::Promote(_)
            | Event::Reread(_)
            | Event::Chatter(_)
            | Event::ToServer(_)
            | Event::Fault(_)
            | Event::Recover(..)
            | Event::Expiry(_)
            | Event::Resume(_)
            | Event::Restart(_)
            | Event::Quiesced
            | Event::Healed
            | Event::Rest => return false,
        };
        let until = self.processes[process].paused_until;
        if until <= self.now {
            return false;
        }
        if let Event::EngineTimeout(process) = event {
            let timer = &mut self.processes[process].timer_at;
            if *timer != Some(self.now) {
                return true;
            }
            *timer = Some(until);
        }
        let slack = match event {
            // Events held back by the pause come first.
            Event::Deadline(_) | Event::Silence(_) => 2 * self.one_way(),
            _ => 0,
        };
        self.queue.plan(until + slack, event);
        true
    }

    fn step(&mut self, event: Event) -> Checked {
        match event {
            Event::EngineTimeout(process) => self.on_engine_timeout(process),
            Event::ServerTimeout(node) => self.on_server_timeout(node),
            Event::Dialed(link) => self.on_dialed(link),
            Event::ToServer(link) => self.on_to_server(link),
            Event::ToClient(link) => self.on_to_client(link),
            Event::Act(caller) => self.act(caller),
            Event::Work(process, life) => self.start_refresh_worker(process, life),
            Event::Drop(call) => self.drop_call(call),
            Event::Polled(call) => self.begin_load(call),
            Event::Loaded(call, turn) => self.on_load_ended(call, turn),
            Event::Commit(call) => self.on_commit(call),
            Event::Deadline(call) => self.check_deadline(call),
            Event::Chatter(link) => {
                self.chatter(link);
                Ok(())
            }
            Event::Silence(link) => self.check_silence(link),
            Event::Credentials(login) => self.answer_login(login),
            Event::Expiry(login) => self.check_renewal(login),
            Event::Fault(inject) => self.inject(inject),
            Event::Recover(node, fault) => self.recover(node, fault),
            Event::Replicate(shard) => self.replicate(shard, self.now),
            Event::MoveKey(key) => self.move_key(key),
            Event::EndMove(key) => self.end_move(key),
            Event::Trim(node, key) => self.trim(node, key),
            Event::Promote(shard) => self.promote_replica_if_due(shard),
            Event::Reread(link) => self.check_reread(link),
            Event::Resume(_) => Ok(()),
            Event::Restart(process) => self.restart_process(process),
            Event::Quiesced => self.quiesce(),
            Event::Healed => self.healed(),
            Event::Rest => self.rest(),
        }
    }
}
