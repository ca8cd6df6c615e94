//! Injection of faults, and their end.

use super::caller::generation_key;
use super::world::{Event, Phase, World};
use crate::fault::Fault;
use crate::wiring::{Wake, Wiring};

impl World {
    /// Inject a planned fault.
    pub(super) fn inject(&mut self, at: usize) {
        if self.phase != Phase::Disturbed {
            return;
        }
        let (_, fault) = self.plan.injections[at];
        self.timeline.tally.fault(fault);
        self.timeline.trace.mix(&[fault as u64]);
        self.timeline.line(|| format!("FAULT: {}", fault.name()));
        let shard = self.rng.index(self.plan.shards);
        match fault {
            Fault::FlushAll => self.flush(shard),
            Fault::Eviction => {
                let key = generation_key();
                let home = self.home(key.as_bytes());
                self.nodes[home].server.evict(0, key.as_bytes());
                self.apply_server_events(home);
            }
            Fault::Failover => {
                self.copy_shard(shard);
                self.fail_over(shard);
            }
            Fault::FailoverLossy => {
                self.copy_shard(shard);
                self.timeline.schedule(self.timeline.now + self.plan.lag, Event::FailOver(shard));
            }
            _ => self.disturb_link(fault),
        }
    }

    fn flush(&mut self, shard: usize) {
        let (node, at) = (self.primaries[shard], self.timeline.time());
        let server = &mut self.nodes[node].server;
        let client = server.connect(at);
        server.handle_bytes(at, client, b"*1\r\n$8\r\nFLUSHALL\r\n");
        server.disconnect(client);
        self.apply_server_events(node);
    }

    fn disturb_link(&mut self, fault: Fault) {
        let process = self.rng.index(self.processes.len());
        let links = self.processes[process].port.links.clone();
        if links.is_empty() {
            return;
        }
        let link = self.rng.pick(&links);
        let until = self.timeline.now + self.rng.below(500_000);
        let state = &mut self.links[link];
        match fault {
            Fault::Stall => (state.wire.up.held_until, state.wire.down.held_until) = (until, until),
            Fault::DeadBothWays => (state.wire.up.dead, state.wire.down.dead) = (true, true),
            _ => {
                let (node, client) = (state.node, state.wire.client);
                if let Some(client) = client {
                    self.nodes[node].server.hang_up(client);
                    self.apply_server_events(node);
                }
            }
        }
    }

    /// Let the replica of a shard receive a copy of everything.
    pub(super) fn copy_shard(&mut self, shard: usize) {
        self.copies[shard] = self.nodes[self.primaries[shard]].server.copies();
    }

    /// Let the replica of a shard take over with the copies that it has. A single server loses its
    /// connections instead.
    pub(super) fn fail_over(&mut self, shard: usize) {
        let old = self.primaries[shard];
        let before = self.nodes[old].server.copies();
        if before != self.copies[shard] {
            self.lost_at = Some(self.timeline.now);
            self.floors.clear();
        }
        let at = self.timeline.time();
        let copies = std::mem::take(&mut self.copies[shard]);
        let new = if self.plan.shards == 1 {
            self.nodes[old].server.restart(at, false);
            old
        } else {
            self.nodes[old].server.drop_all();
            (old + self.plan.shards) % self.nodes.len()
        };
        for (key, copy) in copies {
            self.nodes[new].server.put_copy(&key, Some(copy));
        }
        self.timeline.line(|| format!("n{new} takes over from n{old}"));
        self.primaries[shard] = new;
        if new != old {
            for node in &mut self.nodes {
                let Some(view) = node.server.cluster_mut() else { continue };
                view.member_mut(new).replica_of = None;
                view.member_mut(old).replica_of = Some(new);
                for (first, last) in view.ranges_of(old) {
                    view.assign_range(first, last, Some(new));
                }
                let epoch = view.epoch() + 1;
                view.set_epoch(epoch);
                view.member_mut(new).epoch = epoch;
            }
        }
        self.apply_server_events(old);
        self.apply_server_events(new);
    }

    /// End the faults.
    pub(super) fn heal(&mut self) {
        if self.phase != Phase::Disturbed {
            return;
        }
        self.phase = Phase::Healing;
        self.timeline.line(|| "the faults end".to_owned());
        for link in 0..self.links.len() {
            let state = &mut self.links[link];
            (state.wire.up.held_until, state.wire.down.held_until) = (0, 0);
            self.wake_at(self.timeline.now, Wake::ToFarEnd(link));
            self.wake_at(self.timeline.now, Wake::ToProcess(link));
        }
        let at = self.timeline.now + self.plan.healing().max(self.plan.call_lasts());
        self.timeline.schedule(at, Event::Probe);
    }
}
