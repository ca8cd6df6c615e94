//! The far ends of the links: servers and sentinels read commands and answer.

use super::link::{FarEnd, Link, Role};
use super::world::{Event, Node, World};
use crate::deque::pop_front_if;
use crate::request::{request_end, words};
use crate::state::pipe::Arrival;
use crate::wiring::{Host, Wake, Wiring};

impl World {
    pub(super) fn read_at_far_end(&mut self, link: usize) {
        let Link { to: Some(to), is_accepted: true, .. } = self.links[link] else { return };
        let is_frozen = matches!(to, FarEnd::Server(server) if self.nodes[server].is_frozen);
        if is_frozen {
            return;
        }
        match self.links[link].wire.up.arrive(self.timeline.now) {
            Arrival::Nothing => {}
            Arrival::Bytes(bytes, _) => {
                self.links[link].received.extend_from_slice(&bytes);
                if let Some(end) = self.links[link].wire.up.end {
                    self.wake_at(end, Wake::ToFarEnd(link));
                }
                while let Some(length) = request_end(&self.links[link].received) {
                    let rest = self.links[link].received.split_off(length);
                    let frame = std::mem::replace(&mut self.links[link].received, rest);
                    match to {
                        FarEnd::Server(server) => self.execute(link, server, &frame),
                        FarEnd::Sentinel(sentinel) => self.ask_sentinel(link, sentinel, &frame),
                    }
                }
            }
            Arrival::End => {
                self.links[link].is_accepted = false;
                self.links[link].is_subscribed = false;
                if let (FarEnd::Server(server), Some(client)) =
                    (to, self.links[link].wire.client.take())
                {
                    self.nodes[server].host.clients.remove(&client);
                    self.nodes[server].host.server.disconnect(client);
                }
            }
        }
    }

    /// Execute a command at a server.
    fn execute(&mut self, link: usize, server: usize, frame: &[u8]) {
        if self.nodes[server].is_dead {
            return;
        }
        let at = self.timeline.time();
        let Node { host: Host { server: model, clients, .. }, is_replica, .. } =
            &mut self.nodes[server];
        let client = *self.links[link].wire.client.get_or_insert_with(|| model.connect(at));
        clients.insert(client, link);
        let role = if *is_replica { Role::Replica } else { Role::Primary };
        model.handle_bytes(at, client, frame);
        self.apply_server_events(server);
        if words(frame).first() == Some(&&b"HELLO"[..]) {
            self.links[link].greeting = Some((self.links[link].wire.down.sent, role));
        }
        if server == self.primary {
            self.note_changes();
        }
    }

    fn ask_sentinel(&mut self, link: usize, sentinel: usize, frame: &[u8]) {
        let state = self.sentinels[sentinel];
        if state.is_dead || state.is_silent {
            return;
        }
        let words = words(frame);
        let login = self.login_at_sentinel(link, sentinel, &words);
        if let Err(refusal) = login {
            return self.send_to_process(link, refusal.to_vec());
        }
        let said = state.answer(&words);
        self.links[link].is_subscribed |= said.subscribes;
        self.send_to_process(link, said.bytes);
        if let Ok(Some(password)) = login {
            let end = self.links[link].wire.down.sent;
            self.links[link].accepted = Some((end, password.to_vec()));
        }
        if let Some(named) = said.named {
            let end = self.links[link].wire.down.sent;
            self.links[link].named.push_back((end, named));
        }
    }

    /// Publish at a sentinel that the primary has changed.
    pub(super) fn publish_switch(&mut self, sentinel: usize, old: usize) {
        let state = self.sentinels[sentinel];
        if state.is_dead || state.is_silent {
            return;
        }
        for link in 0..self.links.len() {
            let is_subscriber = self.links[link].to == Some(FarEnd::Sentinel(sentinel))
                && self.links[link].is_subscribed;
            if is_subscriber {
                self.send_to_process(link, state.switch(old));
                let end = self.links[link].wire.down.sent;
                self.links[link].named.push_back((end, Some(state.names())));
            }
        }
    }

    /// Send new changes of the primary to the replicas.
    fn note_changes(&mut self) {
        for key in 0..self.keys.len() {
            let name = self.keys[key].as_bytes();
            let copy = self.nodes[self.primary].host.server.copy_of(name);
            if self.sent[key] != copy {
                self.sent[key].clone_from(&copy);
                let at = self.timeline.now + self.plan.lag;
                self.under_way.push_back((at, key, copy));
                self.timeline.schedule(at, Event::Replicate);
            }
        }
    }

    /// Apply the changes that have reached the replicas.
    pub(super) fn replicate(&mut self) {
        let now = self.timeline.now;
        while let Some((_, key, copy)) = pop_front_if(&mut self.under_way, |(at, ..)| *at <= now) {
            for server in 0..self.nodes.len() {
                let Node { is_replica, is_dead, is_frozen, .. } = self.nodes[server];
                if is_replica && !is_dead && !is_frozen {
                    let name = self.keys[key].clone();
                    self.nodes[server].host.server.put_copy(name.as_bytes(), copy.clone());
                    self.apply_server_events(server);
                }
            }
        }
    }
}
