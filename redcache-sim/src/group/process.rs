//! The adapters of the processes, and their callers.

use std::time::Duration;

use redcache_core::engine::{OpId, Outcome};
use redcache_core::{Address, CallOptions, Key};

use super::link::{FarEnd, Link};
use super::plan::{SENTINEL_HOST, SENTINELS, SERVER_HOST, port_of};
use super::world::{Call, Event, Phase, SERVERS, World};
use crate::deque::pop_front_if;
use crate::invariant::{Checked, Invariant};
use crate::wiring::{Wire, Wiring};

/// The TTL of values, longer than any run.
const TTL: Duration = Duration::from_secs(3600);

impl World {
    pub(super) fn on_dialed(&mut self, link: usize) -> Checked {
        let Link { wire: Wire { process, conn, is_current, .. }, to, .. } = self.links[link];
        if !is_current {
            return Ok(());
        }
        let now = self.timeline.time();
        let is_there = match to {
            Some(FarEnd::Server(server)) => !self.nodes[server].is_dead,
            Some(FarEnd::Sentinel(sentinel)) => !self.sentinels[sentinel].is_dead,
            None => false,
        };
        let engine = &mut self.processes[process].port.engine;
        if is_there {
            self.links[link].is_accepted = true;
            engine.handle_connected(now, conn);
        } else {
            engine.handle_disconnected(now, conn, "connection refused");
            self.forget_link(link);
        }
        self.timeline.line(|| format!("link {link} is made: {is_there}"));
        self.drain(process)
    }

    /// Record the servers that a sentinel has named to the process.
    pub(super) fn note_named(&mut self, link: usize) {
        let Link { ref mut named, wire: Wire { process, ref down, .. }, .. } = self.links[link];
        let mut last = None;
        while let Some((_, name)) = pop_front_if(named, |(end, _)| *end <= down.delivered) {
            match name {
                Some(name) => last = Some(name),
                // The process leaves the sentinel and reads no further.
                None => named.clear(),
            }
        }
        let before = self.processes[process].named;
        if let Some(name) = last.filter(|name| before != Some(*name)) {
            if before.is_some() {
                self.timeline.tally.cover(Invariant::SwitchFollowed);
            }
            self.processes[process].named = Some(name);
            self.timeline.line(|| format!("p{process} has heard of server {name}"));
        }
    }

    /// Make the next call of a process.
    pub(super) fn act(&mut self, process: usize) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        let at = self.timeline.now + 1 + self.rng.below(self.plan.think);
        self.timeline.schedule(at, Event::Act(process));
        let key = self.keys[self.rng.index(self.keys.len())].clone();
        let now = self.timeline.time();
        let number = self.timeline.calls;
        let engine = &mut self.processes[process].port.engine;
        let op = match self.rng.weighted(&[(6, 'g'), (3, 'i'), (1, 'r')]) {
            'g' if engine.near().peek(key.as_bytes(), now).is_some() => {
                self.timeline.calls += 1;
                return Ok(());
            }
            'g' => engine.get(now, key, CallOptions::new()),
            'i' => engine.insert(now, key, format!("value:{number}").into(), TTL),
            _ => engine.remove(now, key),
        };
        if let Ok(op) = op {
            self.begin_call(process, op, false);
        }
        self.drain(process)
    }

    fn begin_call(&mut self, process: usize, op: OpId, is_probe: bool) {
        let call = Call { number: self.timeline.calls, is_probe };
        self.timeline.calls += 1;
        let limit = 3 * self.plan.command;
        let limit = u64::try_from(limit.as_micros()).unwrap_or(0) + 20 * self.plan.one_way();
        self.timeline.schedule(self.timeline.now + limit, Event::Deadline(process, call.number));
        self.processes[process].calls.insert(op.index(), (op, call));
    }

    pub(super) fn on_done(&mut self, process: usize, op: OpId, outcome: &Outcome) -> Checked {
        let state = &mut self.processes[process];
        let Some((_, call)) = state.calls.remove(&op.index()).filter(|(of, _)| *of == op) else {
            return Err(Invariant::CancelNeutrality
                .broken(format!("p{process} gets {outcome:?} for a finished call")));
        };
        self.timeline.tally.cover(Invariant::Completion);
        self.timeline.line(|| format!("call {} ends: {outcome:?}", call.number));
        if call.is_probe {
            return self.check_probe(process, outcome);
        }
        Ok(())
    }

    /// Make the last calls.
    pub(super) fn probe(&mut self) -> Checked {
        self.phase = Phase::Probing;
        let now = self.timeline.time();
        for process in 0..self.processes.len() {
            self.check_healed(process)?;
            let name = probe_key(process);
            let insert = self.processes[process].port.engine.insert(now, name, "probe".into(), TTL);
            let (key, options) = (self.keys[0].clone(), CallOptions::new());
            let read = self.processes[process].port.engine.get(now, key, options);
            for op in [insert, read].into_iter().flatten() {
                self.begin_call(process, op, true);
            }
            self.drain(process)?;
        }
        let span = u64::try_from(self.plan.command.as_micros()).unwrap_or(0);
        self.timeline
            .schedule(self.timeline.now + 3 * span + 60 * self.plan.one_way(), Event::Rest);
        Ok(())
    }
}

/// Return the key that a process writes at the end.
pub(super) fn probe_key(process: usize) -> Key {
    Key::from(format!("probe:{process}"))
}

pub(super) fn far_end(address: &Address) -> Option<FarEnd> {
    let Address::Tcp { host, port } = address else { return None };
    let number = |count: usize| (0..count).find(|&number| port_of(number) == *port);
    match host.as_str() {
        SERVER_HOST => number(SERVERS).map(FarEnd::Server),
        SENTINEL_HOST => number(SENTINELS).map(FarEnd::Sentinel),
        _ => None,
    }
}
