//! The far ends of the links: servers read commands and answer.

use super::world::{Event, Link, World};
use crate::server::Event as ServerEvent;
use crate::state::pipe::Arrival;

impl World {
    pub(super) fn on_server_timeout(&mut self, node: usize) {
        if self.nodes[node].timer_at != Some(self.timeline.now) {
            return;
        }
        self.nodes[node].timer_at = None;
        let at = self.timeline.time();
        self.nodes[node].server.handle_timeout(at);
        self.apply_server_events(node);
    }

    pub(super) fn on_to_server(&mut self, link: usize) {
        let held_until = self.links[link].up.held_until;
        if self.timeline.now < held_until {
            self.timeline.schedule(held_until, Event::ToServer(link));
            return;
        }
        let Link { client: Some(client), node, .. } = self.links[link] else { return };
        match self.links[link].up.arrive(self.timeline.now) {
            Arrival::Nothing => {}
            Arrival::Bytes(bytes, _) => {
                if let Some(end) = self.links[link].up.end {
                    self.timeline.schedule(end, Event::ToServer(link));
                }
                let at = self.timeline.time();
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
                        let at = self.timeline.now + self.delay();
                        let arrives = self.links[link].down.send(at, bytes);
                        self.timeline.schedule(arrives, Event::ToProcess(link));
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
        let at = at.map(|at| self.timeline.when(at));
        if at != self.nodes[node].timer_at {
            self.nodes[node].timer_at = at;
            if let Some(at) = at {
                self.timeline.schedule(at, Event::ServerTimeout(node));
            }
        }
    }

    /// End a link at its server.
    pub(super) fn end_link(&mut self, link: usize) {
        let at = self.timeline.now + self.delay();
        let end = self.links[link].down.finish(at);
        self.timeline.schedule(end, Event::ToProcess(link));
        self.timeline.line(|| format!("link {link} is ended by the server"));
    }
}
