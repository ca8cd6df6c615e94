//! The end of a run: faults stop, the world heals, the last calls are made, and no state may be
//! left.

use std::time::Duration;

use crate::clock::Micros;
use crate::fault::{Fault, REFUSABLE};
use crate::invariant::Checked;
use crate::state::call::Kind;
use crate::state::call_style::CallStyle;
use crate::state::executed::Cause;
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

impl World {
    /// End the faults.
    pub(crate) fn quiesce(&mut self) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        self.phase = Phase::Quiesced;
        self.trace.line(self.now, || "the faults have ended".to_owned());
        self.heal_cluster()?;
        for node in 0..self.nodes.len() {
            self.heal(node)?;
        }
        for key in 0..self.keys.len() {
            // Until somebody removes it, the value would fail its readers.
            if self.is_oversized(key) {
                let name = self.keys[key].name.clone();
                self.execute_at_home(key, &[b"DEL", name.as_bytes()])?;
            }
        }
        for link in &mut self.links {
            link.up.held_until = link.up.held_until.min(self.now);
            link.down.held_until = link.down.held_until.min(self.now);
        }
        for link in 0..self.links.len() {
            self.queue.plan(self.now, Event::ToServer(link));
            self.queue.plan(self.now, Event::ToClient(link));
        }
        let pauses = self.processes.iter().map(|process| process.paused_until);
        let latest = pauses.max().unwrap_or(0).max(self.now);
        self.queue.plan(latest + self.healing(), Event::Healed);
        self.observe_keys(&Cause::Fault)?;
        (0..self.nodes.len()).try_for_each(|node| self.apply_server_events(node, None))
    }

    /// End every fault of a server.
    fn heal(&mut self, node: usize) -> Checked {
        let state = &mut self.nodes[node];
        state.refused_until = 0;
        state.hanging_until = 0;
        state.server.set_loading(false);
        state.server.set_read_only(false);
        state.server.set_out_of_memory(false);
        state.server.set_busy(false);
        state.server.set_fatal(None);
        let (forbidden, hello) = (self.plan.server.forbidden.clone(), self.plan.server.hello);
        state.server.configure(|config| {
            config.forbidden = forbidden;
            config.hello = hello;
            config.hangs_up_at_scripts = false;
            config.clients_max = 10_000;
            config.tracking_keys_max = 1_000_000;
        });
        for _ in 0..std::mem::take(&mut state.rejections) {
            // Use up pending refusals; the command itself has too few arguments to run.
            for command in REFUSABLE.into_iter().chain(["getrange"]) {
                self.execute_foreign(node, &[command.as_bytes()])?;
            }
        }
        Ok(())
    }

    /// Return the time within which every process must be connected again: notice the dead
    /// connection, back off, dial, and restart after closing.
    fn healing(&self) -> Micros {
        let times = &self.plan.times;
        let mut span = 2 * times.heartbeat + 2 * times.connect + times.reconnect;
        if self.plan.faults.has(Fault::HelloHangUp) {
            // Further attempts show that the server does not know `HELLO`.
            span += 4 * times.reconnect;
        }
        if self.plan.faults.has(Fault::HangUp) {
            // A command on which the server has hung up fails at once for this long.
            span += Duration::from_secs(10);
        }
        if self.plan.faults.has(Fault::ScriptsLost) {
            // No script is sent for this long, and no lock is taken.
            span += Duration::from_secs(60);
        }
        if self.plan.large_value_bytes > 0 && self.plan.only_unread {
            // A load that never ends delays the other keys of its batch.
            span += 2 * times.load;
        }
        let restart = 1_200_000;
        // A stale slot map is queried again, and a node without one is skipped.
        let map = self.plan.cluster.as_ref().map_or(Duration::ZERO, |cluster| {
            2 * cluster.refresh + 4 * times.command + Duration::from_secs(2)
        });
        self.slowest(span + map) + restart + 20 * self.one_way()
    }

    /// Return a span on the slowest clock.
    pub(crate) fn slowest(&self, span: Duration) -> Micros {
        self.processes.iter().map(|process| process.clock.stretch(span)).max().unwrap_or(0)
    }

    /// Make the last calls, one per process and key.
    pub(crate) fn healed(&mut self) -> Checked {
        if self.awaits_hello() {
            self.queue.plan(self.now + self.one_way(), Event::Healed);
            return Ok(());
        }
        self.check_healed()?;
        self.phase = Phase::Probing;
        self.trace.line(self.now, || "the last calls".to_owned());
        for process in 0..self.processes.len() {
            for key in 0..self.keys.len() {
                // A lock left by another client without a TTL blocks writers.
                let is_open = !self.is_locked_by_strangers(key);
                let kind = self.caller_rng.weighted(&[(2, Kind::GetWith), (1, Kind::SetWith)]);
                let kind = if is_open { kind } else { Kind::GetWith };
                let caller = process * self.plan.callers;
                let probe = CallStyle { is_probe: true, ..CallStyle::default() };
                self.call(caller, kind, vec![key], probe)?;
            }
        }
        let times = &self.plan.times;
        let span = 3 * times.load + 3 * times.lock + 4 * times.command;
        self.queue.plan(self.now + self.slowest(span) + 60 * self.one_way(), Event::Rest);
        Ok(())
    }

    /// Check that no state is left.
    pub(crate) fn rest(&mut self) -> Checked {
        (0..self.nodes.len()).try_for_each(|node| self.advance_server(node))?;
        if self.check_rest()? {
            self.check_refreshable()?;
            self.phase = Phase::Over;
        } else {
            self.rest_checks += 1;
            self.queue.plan(self.now + self.one_way() / 2 + 100, Event::Rest);
        }
        Ok(())
    }

    pub(crate) fn rest_checks(&self) -> u32 {
        self.rest_checks
    }
}
