//! Injection of faults, and their end.

use super::link::FarEnd;
use super::plan::LoginPlan;
use super::world::{Event, Phase, World};
use crate::fault::Fault;
use crate::wiring::Wiring;

impl World {
    /// Inject a planned fault.
    pub(super) fn inject(&mut self, at: usize) {
        if self.phase != Phase::Disturbed {
            return;
        }
        let (_, fault) = self.plan.injections[at];
        self.timeline.trace.mix(&[fault as u64]);
        self.timeline.line(|| format!("FAULT: {}", fault.name()));
        match fault {
            Fault::SentinelLate
            | Fault::SentinelWrong
            | Fault::SentinelIgnorant
            | Fault::SentinelDead
            | Fault::SentinelSilent
            | Fault::SentinelRefuses => self.inject_sentinel(fault),
            Fault::CutAfter => self.cut_some_link(),
            _ => self.begin_switch(fault),
        }
    }

    fn inject_sentinel(&mut self, fault: Fault) {
        if fault == Fault::SentinelRefuses && self.plan.sentinel_login == LoginPlan::Open {
            return;
        }
        self.timeline.tally.fault(fault);
        let sentinel = self.rng.index(self.sentinels.len());
        let (servers, lasts) = (self.nodes.len(), self.rng.between(50_000, 1_500_000));
        let other = (self.sentinels[sentinel].primary + 1 + self.rng.index(servers - 1)) % servers;
        let state = &mut self.sentinels[sentinel];
        match fault {
            Fault::SentinelLate => state.is_late = true,
            Fault::SentinelIgnorant => state.is_ignorant = true,
            Fault::SentinelSilent => state.is_silent = true,
            Fault::SentinelRefuses => state.is_refusing = true,
            Fault::SentinelDead => {
                state.is_dead = true;
                self.end_links_to(sentinel);
            }
            _ => {
                let before = state.names();
                state.wrong = Some(other);
                if self.rng.chance(500) {
                    self.publish_switch(sentinel, before);
                }
            }
        }
        self.timeline.schedule(self.timeline.now + lasts, Event::ReviveSentinel(sentinel));
    }

    fn end_links_to(&mut self, sentinel: usize) {
        for link in 0..self.links.len() {
            let state = &self.links[link];
            if state.to == Some(FarEnd::Sentinel(sentinel)) && state.is_accepted {
                self.end_link(link);
            }
        }
    }

    fn cut_some_link(&mut self) {
        let links: Vec<usize> = (0..self.links.len())
            .filter(|&link| self.links[link].is_accepted && self.links[link].wire.is_current)
            .collect();
        if links.is_empty() {
            return;
        }
        self.timeline.tally.fault(Fault::CutAfter);
        let link = self.rng.pick(&links);
        if let (Some(FarEnd::Server(server)), Some(client)) =
            (self.links[link].to, self.links[link].wire.client.take())
        {
            self.nodes[server].host.clients.remove(&client);
            self.nodes[server].host.server.disconnect(client);
        }
        self.end_link(link);
    }

    /// End every fault of a sentinel. It learns of the primary at once.
    pub(super) fn revive_sentinel(&mut self, sentinel: usize) {
        let state = &mut self.sentinels[sentinel];
        state.wrong = None;
        state.is_ignorant = false;
        state.is_dead = false;
        state.is_silent = false;
        state.is_late = false;
        state.is_refusing = false;
        self.learn(sentinel, self.primary, self.epoch);
    }

    /// End the faults.
    pub(super) fn heal(&mut self) {
        if self.phase != Phase::Disturbed {
            return;
        }
        self.phase = Phase::Healing;
        self.timeline.line(|| "the faults have ended".to_owned());
        if let Some(switch) = self.switch {
            self.promote(switch);
        }
        for server in 0..self.nodes.len() {
            self.nodes[server].is_dead = false;
            self.resume(server);
            self.demote(server);
        }
        for sentinel in 0..self.sentinels.len() {
            self.revive_sentinel(sentinel);
        }
        self.timeline.schedule(self.timeline.now + self.plan.healing(), Event::Probe);
    }
}
