//! The checks of a group: each process uses the server that a sentinel has named last, and only as
//! a primary.

use redcache_core::engine::Outcome;

use super::link::{Link, Role};
use super::process::probe_key;
use super::world::{Phase, World};
use crate::invariant::{Checked, Invariant};
use crate::request::{request_end, words};

impl World {
    /// Check that a process sends commands only to the primary that was named to it.
    pub(super) fn check_recipient(&mut self, link: usize, mut bytes: &[u8]) -> Checked {
        let (process, role) = (self.links[link].wire.process, self.links[link].known_role());
        let named = self.processes[process].named;
        while let Some(length) = request_end(bytes) {
            let (frame, rest) = bytes.split_at(length);
            bytes = rest;
            self.check_login(link, frame)?;
            let Some(server) = self.links[link].server() else { continue };
            let words = words(frame);
            if matches!(words[..], [b"HELLO" | b"AUTH" | b"CLIENT" | b"PING" | b"SELECT", ..]) {
                continue;
            }
            self.timeline.tally.cover(Invariant::NamedPrimary);
            let is_fit = named == Some(server) && role == Some(Role::Primary);
            Invariant::NamedPrimary.holds(is_fit, || {
                format!(
                    "p{process} sends {} to server {server}, which says {role:?}; the sentinels \
                     named {named:?}",
                    frame.escape_ascii()
                )
            })?;
        }
        Ok(())
    }

    /// Check the connections and the near caches of all processes.
    pub(super) fn check_processes(&mut self) -> Checked {
        for process in 0..self.processes.len() {
            let state = &self.processes[process];
            let servers = || state.port.links.iter().filter_map(|&link| self.links[link].server());
            let other = servers().find(|server| Some(*server) != state.named);
            Invariant::SwitchFollowed.holds(other.is_none(), || {
                format!("p{process} uses server {other:?}, and heard of {:?}", state.named)
            })?;
            self.check_near(process)?;
        }
        Ok(())
    }

    /// Check that near entries come from the named primary and equal its values.
    fn check_near(&mut self, process: usize) -> Checked {
        let (state, now) = (&self.processes[process], self.timeline.time());
        for key in &self.keys {
            let Some(hit) = state.port.engine.near().peek(key.as_bytes(), now) else { continue };
            self.timeline.tally.cover(Invariant::FailClosed);
            let links = state.port.links.iter().map(|&link| &self.links[link]);
            let source =
                |link: &&Link| link.server().is_some() && link.known_role() == Some(Role::Primary);
            let mut links = links.filter(source).peekable();
            let Some(link) = links.peek().copied() else {
                return Err(Invariant::FailClosed.broken(format!(
                    "p{process} serves {key} from near and has no connection to a primary"
                )));
            };
            let Some(node) = link.server().map(|server| &self.nodes[server]) else { continue };
            // The entry may come from either of two links to the primary.
            let is_quiet = links.all(|link| link.is_quiet() && link.wire.client.is_some());
            if !is_quiet || node.is_frozen || node.is_dead {
                continue;
            }
            self.timeline.tally.cover(Invariant::Tracked);
            let stored = node.host.server.value(0, key.as_bytes());
            let is_true = match (hit.value(), &stored) {
                (Some(value), Some(stored)) => stored.ends_with(value),
                (None, None) => true,
                (None, Some(_)) | (Some(_), None) => false,
            };
            Invariant::Tracked.holds(is_true, || {
                format!(
                    "p{process} serves {:?} for {key}, and the server has {stored:?}",
                    hit.value()
                )
            })?;
        }
        Ok(())
    }

    pub(super) fn check_deadline(&self, process: usize, number: u64) -> Checked {
        let calls = self.processes[process].calls.values();
        let is_open = calls.into_iter().any(|(_, call)| call.number == number);
        Invariant::Completion
            .holds(!is_open, || format!("call {number} of p{process} has not ended in time"))
    }

    /// Check that a process uses the primary once all faults have healed.
    pub(super) fn check_healed(&mut self, process: usize) -> Checked {
        self.timeline.tally.cover(Invariant::Liveness);
        let state = &self.processes[process];
        let is_well = state.port.engine.is_connected() && state.named == Some(self.primary);
        Invariant::Liveness.holds(is_well, || {
            format!(
                "p{process} is connected: {}, and heard of {:?}; the primary is {}",
                state.port.engine.is_connected(),
                state.named,
                self.primary
            )
        })
    }

    /// Check the outcome of a last call.
    pub(super) fn check_probe(&mut self, process: usize, outcome: &Outcome) -> Checked {
        let primary = &self.nodes[self.primary].host.server;
        let is_well = match outcome {
            Outcome::Written(result) => {
                let stored = primary.value(0, probe_key(process).as_bytes());
                result.is_ok() && stored.is_some_and(|stored| stored.ends_with(b"probe"))
            }
            Outcome::Answer(Ok(answer)) => {
                let stored = primary.value(0, self.keys[0].as_bytes());
                match (&answer.value, stored) {
                    (Some(value), Some(stored)) => stored.ends_with(value),
                    (value, stored) => value.is_none() && stored.is_none(),
                }
            }
            _ => false,
        };
        Invariant::Liveness
            .holds(is_well, || format!("a last call of p{process} ends with {outcome:?}"))?;
        self.processes[process].probed += 1;
        Ok(())
    }

    /// Check that nothing is left.
    pub(super) fn rest(&mut self) -> Checked {
        for (number, process) in self.processes.iter().enumerate() {
            self.timeline.tally.cover(Invariant::Rest);
            let stats = process.port.engine.stats();
            let left = (process.calls.len(), stats.calls, stats.timers);
            Invariant::Rest.holds(left == (0, 0, 0) && process.probed == 2, || {
                format!("p{number} is left with {left:?} calls, and {} probes", process.probed)
            })?;
        }
        self.phase = Phase::Over;
        Ok(())
    }
}
