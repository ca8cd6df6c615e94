//! Refresh-ahead: due hits, and the workers that run the registered loader.

use redcache_core::RefreshOptions;
use redcache_core::engine::NearHit;

use crate::invariant::{Checked, Invariant};
use crate::plan::RefreshAhead;
use crate::state::call::Kind;
use crate::state::call_style::CallStyle;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    /// Register a loader with a process that has just started.
    pub(crate) fn register(&mut self, process: usize) -> Checked {
        let Some(RefreshAhead { after, beta }) = self.plan.refresh else { return Ok(()) };
        let options =
            RefreshOptions::new(self.plan.ttl).refresh_at_fraction(after).refresh_beta(beta);
        let now = self.time_of(process);
        let state = &mut self.processes[process];
        let policy = state.engine.register_refresh(now, options);
        let policy = policy.map_err(|error| Invariant::Liveness.broken(error.to_string()))?;
        state.policy = Some(policy);
        Ok(())
    }

    /// Refresh the key of a hit if it is due, like an adapter.
    pub(crate) fn refresh_hit(&mut self, process: usize, key: usize, hit: &NearHit) {
        let (now, name) = (self.time_of(process), self.keys[key].name.clone());
        let state = &mut self.processes[process];
        let Some(policy) = &state.policy else { return };
        if policy.is_due(name.as_bytes(), hit, now) {
            let loader_id = policy.loader();
            state.engine.refresh(now, loader_id, name, now + hit.ttl);
        }
    }

    /// Schedule a refresh worker of a process.
    pub(crate) fn schedule_refresh_worker(&mut self, process: usize) {
        let at = self.now + self.style_rng.below(2_000);
        let life = self.processes[process].life;
        self.trace.line(self.now, || format!("p{process} requests a refresh worker"));
        self.queue.plan(at, Event::Work(process, life));
    }

    /// Start a refresh worker.
    pub(crate) fn start_refresh_worker(&mut self, process: usize, life: u32) -> Checked {
        let now = self.time_of(process);
        let state = &mut self.processes[process];
        let Some(loader_id) = state.loader_id().filter(|_| state.life == life) else {
            return Ok(());
        };
        if !state.is_open && state.closing_since.is_none() {
            return Ok(());
        }
        match state.engine.begin_refresh(now, loader_id) {
            Ok(op) => {
                let caller = process * self.plan.callers;
                let style = CallStyle::default();
                self.remember_call(caller, Kind::Refresh, Vec::new(), Vec::new(), op, style);
            }
            Err(_) => self.end_refresh_worker(process),
        }
        self.drain(process)
    }

    /// Report the end of a refresh worker.
    pub(crate) fn end_refresh_worker(&mut self, process: usize) {
        let now = self.time_of(process);
        let state = &mut self.processes[process];
        if let Some(loader_id) = state.loader_id() {
            state.engine.handle_refresh_over(now, loader_id);
        }
    }
}
