//! The wiring of a group: its processes reach servers and sentinels.

use redcache_core::engine::Event as EngineEvent;

use super::link::Link;
use super::process::far_end;
use super::world::{Event, World};
use crate::clock::Micros;
use crate::invariant::{Checked, Invariant};
use crate::timeline::Timeline;
use crate::wiring::{Host, Port, Wire, Wiring};

impl Wiring for World {
    type Event = Event;

    fn timeline(&mut self) -> &mut Timeline<Event> {
        &mut self.timeline
    }

    fn port(&mut self, process: usize) -> &mut Port {
        &mut self.processes[process].port
    }

    fn host(&mut self, server: usize) -> &mut Host {
        &mut self.nodes[server].host
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
                let link = self.links.len();
                self.links.push(Link::new(process, conn, far_end(&address)));
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
            EngineEvent::Login { login, .. } => self.ask_provider(process, login),
            EngineEvent::Done { op, outcome } => self.on_done(process, op, &outcome),
            EngineEvent::ConnectionChanged => Ok(()),
            other => Err(Invariant::Completion.broken(format!("an unknown event: {other:?}"))),
        }
    }

    fn check_sent(&mut self, link: usize, bytes: &[u8]) -> Checked {
        self.check_recipient(link, bytes)
    }

    fn on_delivered(&mut self, link: usize) {
        self.note_named(link);
    }

    fn on_to_far_end(&mut self, link: usize) {
        self.read_at_far_end(link);
    }

    fn on_ended(&mut self, link: usize) {
        self.links[link].is_accepted = false;
        self.links[link].is_subscribed = false;
    }
}
