//! Switches of the primary: a replica takes over, the sentinels learn of the switch, and the old
//! primary learns of it at once, later, or when it resumes.

use super::link::FarEnd;
use super::world::{Event, Node, Switch, World};
use crate::clock::Micros;
use crate::fault::Fault;
use crate::wiring::{Wake, Wiring};

impl World {
    /// Begin a switch, unless one is in progress or no replica can take over.
    pub(super) fn begin_switch(&mut self, fault: Fault) {
        let can_take_over = |node: &Node| node.is_replica && !node.is_dead && !node.is_frozen;
        let servers = 0..self.nodes.len();
        let replicas: Vec<usize> =
            servers.filter(|&server| can_take_over(&self.nodes[server])).collect();
        if replicas.is_empty() || self.switch.is_some() {
            return;
        }
        self.timeline.tally.fault(fault);
        let (old, new) = (self.primary, self.rng.pick(&replicas));
        let by_command = fault == Fault::SwitchByCommand;
        let switch = Switch { old, new, loses: !by_command && self.rng.chance(500) };
        let down_after = self.rng.between(100_000, 400_000);
        let later = self.rng.between(50_000, 1_500_000);
        let promoted_at = match fault {
            Fault::SwitchByCommand => {
                let at = self.timeline.now + self.rng.below(20_000);
                self.timeline.schedule(at, Event::Demote(old));
                self.timeline.now
            }
            Fault::OldPrimaryUnaware => {
                self.timeline.schedule(self.timeline.now + later, Event::Demote(old));
                self.timeline.now
            }
            Fault::OldPrimaryKilled => {
                self.kill(old);
                self.timeline.schedule(self.timeline.now + down_after + later, Event::Return(old));
                self.timeline.now + down_after
            }
            Fault::OldPrimaryFrozen => {
                self.nodes[old].is_frozen = true;
                self.timeline.schedule(self.timeline.now + down_after + later, Event::Resume(old));
                self.timeline.now + down_after
            }
            // The sentinels name the replica before it is a primary.
            _ => {
                self.tell_sentinels(new);
                self.timeline.schedule(self.timeline.now + later, Event::Demote(old));
                self.timeline.now + self.rng.between(20_000, 200_000)
            }
        };
        self.switch = Some(switch);
        self.timeline.line(|| format!("{} will take the place of {}", new, old));
        self.timeline.schedule(promoted_at, Event::Promote(switch));
    }

    /// Let the replica of a switch take over.
    pub(super) fn promote(&mut self, switch: Switch) {
        if self.switch != Some(switch) {
            return;
        }
        self.switch = None;
        let Switch { new, loses, .. } = switch;
        if loses {
            self.under_way.clear();
        } else {
            for (at, ..) in &mut self.under_way {
                *at = self.timeline.now;
            }
            self.replicate();
        }
        self.primary = new;
        self.set_replica(new, false);
        self.timeline.line(|| format!("server {new} is the primary"));
        for server in 0..self.nodes.len() {
            if self.nodes[server].is_replica {
                self.synchronize(server);
            }
        }
        for key in 0..self.keys.len() {
            let name = self.keys[key].as_bytes();
            self.sent[key] = self.nodes[new].host.server.copy_of(name);
        }
        self.tell_sentinels(new);
    }

    /// Let every sentinel learn of the primary, each in its own time.
    fn tell_sentinels(&mut self, primary: usize) {
        self.epoch += 1;
        for sentinel in 0..self.sentinels.len() {
            let at = self.timeline.now + self.rng.below(20_000);
            self.timeline.schedule(at, Event::Learn { sentinel, primary, epoch: self.epoch });
        }
    }

    /// Let a sentinel learn that the service has this primary, unless it knows of a later one.
    pub(super) fn learn(&mut self, sentinel: usize, primary: usize, epoch: u64) {
        let state = &mut self.sentinels[sentinel];
        if state.is_late || epoch < state.epoch {
            return;
        }
        state.epoch = epoch;
        if state.primary == primary {
            return;
        }
        let old = std::mem::replace(&mut state.primary, primary);
        self.timeline.line(|| format!("sentinel {sentinel} learns of server {primary}"));
        self.publish_switch(sentinel, old);
    }

    /// Let a server learn that it is a replica. A sentinel ends the connections of its clients.
    pub(super) fn demote(&mut self, server: usize) {
        let node = &self.nodes[server];
        let is_unreachable = node.is_dead || node.is_frozen;
        let is_chosen = self.switch.is_some_and(|switch| switch.new == server);
        if server == self.primary || is_unreachable || is_chosen || node.is_replica {
            return;
        }
        self.timeline.line(|| format!("server {server} learns that it is a replica"));
        self.set_replica(server, true);
        self.synchronize(server);
        if self.rng.chance(700) {
            let clients: Vec<_> = self.nodes[server].host.server.clients().collect();
            clients.into_iter().for_each(|client| self.nodes[server].host.server.hang_up(client));
        }
        self.apply_server_events(server);
    }

    fn set_replica(&mut self, server: usize, is_replica: bool) {
        self.nodes[server].is_replica = is_replica;
        self.nodes[server].host.server.set_read_only(is_replica);
    }

    /// Give a server the keys of the primary.
    fn synchronize(&mut self, server: usize) {
        if server == self.primary {
            return;
        }
        for key in self.keys.clone() {
            let copy = self.nodes[self.primary].host.server.copy_of(key.as_bytes());
            self.nodes[server].host.server.put_copy(key.as_bytes(), copy);
        }
        self.apply_server_events(server);
    }

    fn kill(&mut self, server: usize) {
        let at = self.timeline.time();
        self.nodes[server].is_dead = true;
        self.nodes[server].host.server.restart(at, false);
        self.apply_server_events(server);
        // Connections that the server has not yet seen end as well.
        for link in 0..self.links.len() {
            let state = &self.links[link];
            if state.to == Some(FarEnd::Server(server)) && state.is_accepted {
                self.end_link(link);
            }
        }
    }

    /// Start a killed server again, as the primary that it was.
    pub(super) fn come_back(&mut self, server: usize) {
        if self.nodes[server].is_dead {
            self.nodes[server].is_dead = false;
            self.timeline.line(|| format!("server {server} is back"));
            let at = self.timeline.now + self.rng.below(500_000);
            self.timeline.schedule(at, Event::Demote(server));
        }
    }

    /// Resume a frozen server, as the primary that it was.
    pub(super) fn resume(&mut self, server: usize) {
        if std::mem::take(&mut self.nodes[server].is_frozen) {
            self.nodes[server].resumed_at = Some(self.timeline.now);
            self.timeline.line(|| format!("server {server} goes on"));
            let at: Micros = self.timeline.now + self.rng.below(500_000);
            self.timeline.schedule(at, Event::Demote(server));
            for link in 0..self.links.len() {
                if self.links[link].to == Some(FarEnd::Server(server)) {
                    self.wake_at(self.timeline.now, Wake::ToFarEnd(link));
                }
            }
        }
    }
}
