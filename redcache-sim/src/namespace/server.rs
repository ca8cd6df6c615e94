//! The far ends of the links: servers read commands and answer.

use super::world::{Event, Link, World};
use crate::server::Event as ServerEvent;
use crate::state::pipe::Arrival;

impl World {
    pub(super) fn on_server_timeout(&mut self, node: usize) {
        if self.nodes[node].timer_at != Some(self.now) {
            return;
        }
        self.nodes[node].timer_at = None;
        let at = self.time();
        self.nodes[node].server.handle_timeout(at);
        self.apply_server_events(node);
    }

    pub(super) fn on_to_server(&mut self, link: usize) {
        let held_until = self.links[link].up.held_until;
        if self.now < held_until {
            self.schedule(held_until, Event::ToServer(link));
            return;
        }
        let Link { client: Some(client), node, .. } = self.links[link] else { return };
        match self.links[link].up.arrive(self.now) {
            Arrival::Nothing => {}
            Arrival::Bytes(bytes, _) => {
                if let Some(end) = self.links[link].up.end {
                    self.schedule(end, Event::ToServer(link));
                }
                let at = self.time();
                self.nodes[node].server.handle_bytes(at, client, &bytes);
                self.apply_server_events(node);
            }
            Arrival::End => {
                self.links[link].client = None;
                self.nodes[node].clients.remove(&client);
                self.nodes[node].server.disconnect(client);
            }
        }
    }

    /// Carry out all events of a server.
    pub(super) fn apply_server_events(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].server.poll_event() {
            match event {
                ServerEvent::Transmit { client, bytes } => {
                    if let Some(&link) = self.nodes[node].clients.get(&client) {
                        let at = self.now + self.delay();
                        let arrives = self.links[link].down.send(at, bytes);
                        self.schedule(arrives, Event::ToProcess(link));
                    }
                }
                ServerEvent::HangUp { client } => {
                    if let Some(link) = self.nodes[node].clients.remove(&client) {
                        self.links[link].client = None;
                        self.end_link(link);
                    }
                }
            }
        }
        let at = self.nodes[node].server.poll_timeout();
        let at = at.map(|at| self.when(at).max(self.now));
        if at != self.nodes[node].timer_at {
            self.nodes[node].timer_at = at;
            if let Some(at) = at {
                self.schedule(at, Event::ServerTimeout(node));
            }
        }
    }

    /// End a link at its server.
    pub(super) fn end_link(&mut self, link: usize) {
        let at = self.now + self.delay();
        let end = self.links[link].down.finish(at);
        self.schedule(end, Event::ToProcess(link));
        self.trace.line(self.now, || format!("link {link} is ended by the server"));
    }
}
