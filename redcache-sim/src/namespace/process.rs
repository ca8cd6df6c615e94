//! The adapters of the processes.

use redcache_core::Address;
use redcache_core::engine::{ConnId, Event as EngineEvent};

use super::plan::port_of;
use super::world::{Event, Link, World};
use crate::invariant::{Checked, Invariant};
use crate::state::pipe::{Arrival, Pipe};

impl World {
    pub(super) fn on_engine_timeout(&mut self, process: usize) -> Checked {
        if self.processes[process].timer_at != Some(self.timeline.now) {
            return Ok(());
        }
        self.processes[process].timer_at = None;
        let now = self.timeline.time();
        self.processes[process].engine.handle_timeout(now);
        self.drain(process)
    }

    /// Carry out all events and transmissions of an engine.
    pub(super) fn drain(&mut self, process: usize) -> Checked {
        loop {
            while let Some(event) = self.processes[process].engine.poll_event() {
                self.on_event(process, event)?;
            }
            let engine = &mut self.processes[process].engine;
            let Some(conn) = engine.transmits().next() else { break };
            let mut bytes = Vec::new();
            engine.take_transmit(conn, &mut bytes);
            let link = self.link_of(process, conn).ok_or_else(|| {
                Invariant::WholeFrames.broken(format!("p{process} writes on a closed connection"))
            })?;
            self.timeline.trace.bytes(&bytes);
            self.timeline.line(|| format!("p{process} ▶ link {link}: {}", bytes.escape_ascii()));
            let at = self.timeline.now + self.delay();
            let arrives = self.links[link].up.send(at, bytes);
            self.timeline.schedule(arrives, Event::ToServer(link));
        }
        let at = self.processes[process].engine.poll_timeout();
        let at = at.map(|at| self.timeline.when(at));
        if at != self.processes[process].timer_at {
            self.processes[process].timer_at = at;
            if let Some(at) = at {
                self.timeline.schedule(at, Event::EngineTimeout(process));
            }
        }
        Ok(())
    }

    fn link_of(&self, process: usize, conn: ConnId) -> Option<usize> {
        let mut links = self.processes[process].links.iter().copied();
        links.find(|&link| self.links[link].conn == conn)
    }

    fn on_event(&mut self, process: usize, event: EngineEvent) -> Checked {
        match event {
            EngineEvent::Dial { conn, address } => {
                let Some(node) = self.node_at(&address) else {
                    let text = format!("p{process} dials {address}");
                    return Err(Invariant::NoErrorWithoutCause.broken(text));
                };
                let link = self.links.len();
                let (up, down) = (Pipe::default(), Pipe::default());
                let client = None;
                self.links.push(Link { process, conn, node, client, is_current: true, up, down });
                self.processes[process].links.push(link);
                let at = self.timeline.now + 2 * self.delay();
                self.timeline.schedule(at, Event::Dialed(link));
                self.timeline.line(|| format!("p{process} dials link {link} to {address}"));
                Ok(())
            }
            EngineEvent::HangUp { conn } => {
                if let Some(link) = self.link_of(process, conn) {
                    self.timeline.line(|| format!("p{process} closes link {link}"));
                    let at = self.timeline.now + self.delay();
                    let end = self.links[link].up.finish(at);
                    self.forget_link(link);
                    self.timeline.schedule(end, Event::ToServer(link));
                }
                Ok(())
            }
            EngineEvent::Load { op } => self.begin_load(process, op),
            EngineEvent::Done { op, outcome } => self.on_done(process, op, outcome),
            EngineEvent::ConnectionChanged => Ok(()),
            other => Err(Invariant::Completion.broken(format!("an unknown event: {other:?}"))),
        }
    }

    fn node_at(&self, address: &Address) -> Option<usize> {
        let Address::Tcp { port, .. } = address else { return None };
        (0..self.nodes.len()).find(|&node| port_of(node) == *port)
    }

    /// Remove a link from its process, which no longer uses it.
    fn forget_link(&mut self, link: usize) {
        self.links[link].is_current = false;
        let process = self.links[link].process;
        self.processes[process].links.retain(|&other| other != link);
    }

    pub(super) fn on_dialed(&mut self, link: usize) -> Checked {
        let Link { process, conn, is_current, node, .. } = self.links[link];
        if !is_current {
            return Ok(());
        }
        let now = self.timeline.time();
        let client = self.nodes[node].server.connect(now);
        self.nodes[node].clients.insert(client, link);
        self.links[link].client = Some(client);
        self.processes[process].engine.handle_connected(now, conn);
        self.apply_server_events(node);
        self.drain(process)
    }

    pub(super) fn on_to_process(&mut self, link: usize) -> Checked {
        if !self.links[link].is_current {
            return Ok(());
        }
        let held_until = self.links[link].down.held_until;
        if self.timeline.now < held_until {
            self.timeline.schedule(held_until, Event::ToProcess(link));
            return Ok(());
        }
        let (process, conn, now) =
            (self.links[link].process, self.links[link].conn, self.timeline.time());
        match self.links[link].down.arrive(self.timeline.now) {
            Arrival::Nothing => Ok(()),
            Arrival::Bytes(bytes, _) => {
                self.timeline.trace.bytes(&bytes);
                self.timeline
                    .line(|| format!("link {link} ▶ p{process}: {}", bytes.escape_ascii()));
                self.processes[process].engine.handle_read(now, conn, &bytes);
                if let Some(end) = self.links[link].down.end {
                    self.timeline.schedule(end, Event::ToProcess(link));
                }
                self.drain(process)
            }
            Arrival::End => {
                self.timeline.line(|| format!("link {link} ends for p{process}"));
                self.forget_link(link);
                self.processes[process].engine.handle_disconnected(now, conn, "connection reset");
                self.drain(process)
            }
        }
    }
}
