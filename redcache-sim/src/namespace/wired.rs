//! The wiring of a namespace: its processes reach the nodes.

use redcache_core::Address;
use redcache_core::engine::Event as EngineEvent;

use super::plan::port_of;
use super::world::{Event, Link, World};
use crate::clock::Micros;
use crate::invariant::{Checked, Invariant};
use crate::state::pipe::Arrival;
use crate::timeline::Timeline;
use crate::wiring::{Host, Port, Wake, Wire, Wiring};

impl Wiring for World {
    type Event = Event;

    fn timeline(&mut self) -> &mut Timeline<Event> {
        &mut self.timeline
    }

    fn port(&mut self, process: usize) -> &mut Port {
        &mut self.processes[process].port
    }

    fn host(&mut self, server: usize) -> &mut Host {
        &mut self.nodes[server]
    }

    fn wire(&mut self, link: usize) -> &mut Wire {
        &mut self.links[link].wire
    }

    fn delay(&mut self) -> Micros {
        self.plan.latency + self.rng.below(self.plan.jitter + 1)
    }

    fn on_event(&mut self, process: usize, event: EngineEvent) -> Checked {
        match event {
            EngineEvent::Dial { conn, address } => {
                let Some(node) = self.node_at(&address) else {
                    let text = format!("p{process} dials {address}");
                    return Err(Invariant::NoErrorWithoutCause.broken(text));
                };
                let link = self.links.len();
                self.links.push(Link { wire: Wire::new(process, conn), node });
                self.processes[process].port.links.push(link);
                let at = self.timeline.now + 2 * self.delay();
                self.timeline.schedule(at, Event::Dialed(link));
                self.timeline.line(|| format!("p{process} dials link {link} to {address}"));
                Ok(())
            }
            EngineEvent::HangUp { conn } => {
                self.close(process, conn);
                Ok(())
            }
            EngineEvent::Load { op } => self.begin_load(process, op),
            EngineEvent::Done { op, outcome } => self.on_done(process, op, outcome),
            EngineEvent::ConnectionChanged => Ok(()),
            other => Err(Invariant::Completion.broken(format!("an unknown event: {other:?}"))),
        }
    }

    fn check_sent(&mut self, _: usize, _: &[u8]) -> Checked {
        Ok(())
    }

    fn on_delivered(&mut self, _: usize) {}

    fn on_to_far_end(&mut self, link: usize) {
        let held_until = self.links[link].wire.up.held_until;
        if self.timeline.now < held_until {
            self.wake_at(held_until, Wake::ToFarEnd(link));
            return;
        }
        let Link { wire: Wire { client: Some(client), .. }, node } = self.links[link] else {
            return;
        };
        match self.links[link].wire.up.arrive(self.timeline.now) {
            Arrival::Nothing => {}
            Arrival::Bytes(bytes, _) => {
                if let Some(end) = self.links[link].wire.up.end {
                    self.wake_at(end, Wake::ToFarEnd(link));
                }
                let at = self.timeline.time();
                self.nodes[node].server.handle_bytes(at, client, &bytes);
                self.apply_server_events(node);
            }
            Arrival::End => {
                self.links[link].wire.client = None;
                self.nodes[node].clients.remove(&client);
                self.nodes[node].server.disconnect(client);
            }
        }
    }

    fn on_ended(&mut self, _: usize) {}
}

impl World {
    fn node_at(&self, address: &Address) -> Option<usize> {
        let Address::Tcp { port, .. } = address else { return None };
        (0..self.nodes.len()).find(|&node| port_of(node) == *port)
    }

    pub(super) fn on_dialed(&mut self, link: usize) -> Checked {
        let Link { wire: Wire { process, conn, is_current, .. }, node } = self.links[link];
        if !is_current {
            return Ok(());
        }
        let now = self.timeline.time();
        let client = self.nodes[node].server.connect(now);
        self.nodes[node].clients.insert(client, link);
        self.links[link].wire.client = Some(client);
        self.processes[process].port.engine.handle_connected(now, conn);
        self.apply_server_events(node);
        self.drain(process)
    }
}
