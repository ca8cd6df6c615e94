//! The wiring of a world: the engines of its processes, its servers, and the links between them.

use std::collections::BTreeMap;

use redcache_core::engine::{ConnId, Engine, Event as EngineEvent, Transmit};

use crate::clock::Micros;
use crate::invariant::{Checked, Invariant};
use crate::server::{ClientId, Event as ServerEvent, Server};
use crate::state::pipe::{Arrival, Pipe};
use crate::timeline::Timeline;

/// An event of the wiring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The engine of a process has a timeout.
    EngineTimeout(usize),
    /// A server has a timeout.
    ServerTimeout(usize),
    /// Bytes reach the far end of a link.
    ToFarEnd(usize),
    /// Bytes reach the process of a link.
    ToProcess(usize),
}

/// The engine of a process, and the links that it uses or dials.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) engine: Engine,
    pub(crate) links: Vec<usize>,
    timer_at: Option<Micros>,
}

impl Port {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, links: Vec::new(), timer_at: None }
    }
}

/// A server, and the links of its clients.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) clients: BTreeMap<ClientId, usize>,
    timer_at: Option<Micros>,
}

impl Host {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, clients: BTreeMap::new(), timer_at: None }
    }
}

/// A connection of a process, from the dial to its end on both sides.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) process: usize,
    pub(crate) conn: ConnId,
    /// The client at the server.
    pub(crate) client: Option<ClientId>,
    /// Whether the process still uses the connection.
    pub(crate) is_current: bool,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
}

impl Wire {
    pub(crate) fn new(process: usize, conn: ConnId) -> Self {
        let (up, down) = (Pipe::default(), Pipe::default());
        Self { process, conn, client: None, is_current: true, up, down }
    }
}

/// A world whose processes reach servers over links.
pub(crate) trait Wiring {
    type Event: From<Wake>;

    fn timeline(&mut self) -> &mut Timeline<Self::Event>;

    fn port(&mut self, process: usize) -> &mut Port;

    fn host(&mut self, server: usize) -> &mut Host;

    fn wire(&mut self, link: usize) -> &mut Wire;

    /// Return the time that the next bytes take.
    fn delay(&mut self) -> Micros;

    /// Carry out an event of an engine.
    fn on_event(&mut self, process: usize, event: EngineEvent) -> Checked;

    /// Check the bytes that a process sends.
    fn check_sent(&mut self, link: usize, bytes: &[u8]) -> Checked;

    /// Record that bytes have reached the process of a link, before the engine reads them.
    fn on_delivered(&mut self, link: usize);

    /// Have the far end of a link read the bytes that have reached it.
    fn on_to_far_end(&mut self, link: usize);

    /// Record that the far end of a link has ended it.
    fn on_ended(&mut self, link: usize);

    fn wake_at(&mut self, at: Micros, wake: Wake) {
        self.timeline().schedule(at, wake.into());
    }

    fn on_wake(&mut self, wake: Wake) -> Checked {
        match wake {
            Wake::EngineTimeout(process) => return self.on_engine_timeout(process),
            Wake::ToProcess(link) => return self.on_to_process(link),
            Wake::ServerTimeout(server) => self.on_server_timeout(server),
            Wake::ToFarEnd(link) => self.on_to_far_end(link),
        }
        Ok(())
    }

    fn on_engine_timeout(&mut self, process: usize) -> Checked {
        let (at, now) = (self.timeline().now, self.timeline().time());
        let port = self.port(process);
        if port.timer_at != Some(at) {
            return Ok(());
        }
        port.timer_at = None;
        port.engine.handle_timeout(now);
        self.drain(process)
    }

    /// Carry out all events and transmissions of an engine.
    fn drain(&mut self, process: usize) -> Checked {
        loop {
            while let Some(event) = self.port(process).engine.poll_event() {
                self.on_event(process, event)?;
            }
            let engine = &mut self.port(process).engine;
            let Some(Transmit { conn, .. }) = engine.transmits().next() else { break };
            let mut bytes = Vec::new();
            engine.take_transmit(conn, &mut bytes);
            let link = self.link_of(process, conn).ok_or_else(|| {
                Invariant::WholeFrames.broken(format!("p{process} writes on a closed connection"))
            })?;
            self.check_sent(link, &bytes)?;
            let text = || format!("p{process} ▶ link {link}: {}", bytes.escape_ascii());
            self.timeline().trace.bytes(&bytes);
            self.timeline().line(text);
            let at = self.timeline().now + self.delay();
            let arrives = self.wire(link).up.send(at, bytes);
            self.wake_at(arrives, Wake::ToFarEnd(link));
        }
        let at = self.port(process).engine.poll_timeout();
        let at = at.map(|at| self.timeline().when(at));
        let timer_at = &mut self.port(process).timer_at;
        if at != *timer_at {
            *timer_at = at;
            if let Some(at) = at {
                self.wake_at(at, Wake::EngineTimeout(process));
            }
        }
        Ok(())
    }

    /// Return the link of a connection that a process uses or dials.
    fn link_of(&mut self, process: usize, conn: ConnId) -> Option<usize> {
        let links = self.port(process).links.clone();
        links.into_iter().find(|&link| self.wire(link).conn == conn)
    }

    /// Close a connection of a process.
    fn close(&mut self, process: usize, conn: ConnId) {
        if let Some(link) = self.link_of(process, conn) {
            self.timeline().line(|| format!("p{process} closes link {link}"));
            let at = self.timeline().now + self.delay();
            let end = self.wire(link).up.finish(at);
            self.forget_link(link);
            self.wake_at(end, Wake::ToFarEnd(link));
        }
    }

    /// Record that the process no longer uses a link.
    fn forget_link(&mut self, link: usize) {
        let wire = self.wire(link);
        wire.is_current = false;
        let process = wire.process;
        self.port(process).links.retain(|&other| other != link);
    }

    fn on_to_process(&mut self, link: usize) -> Checked {
        let (at, now) = (self.timeline().now, self.timeline().time());
        let Wire { process, conn, is_current, ref mut down, .. } = *self.wire(link);
        if !is_current {
            return Ok(());
        }
        if at < down.held_until {
            let held_until = down.held_until;
            self.wake_at(held_until, Wake::ToProcess(link));
            return Ok(());
        }
        match down.arrive(at) {
            Arrival::Nothing => Ok(()),
            Arrival::Bytes(bytes, _) => {
                let text = || format!("link {link} ▶ p{process}: {}", bytes.escape_ascii());
                self.timeline().trace.bytes(&bytes);
                self.timeline().line(text);
                self.on_delivered(link);
                self.port(process).engine.handle_read(now, conn, &bytes);
                if let Some(end) = self.wire(link).down.end {
                    self.wake_at(end, Wake::ToProcess(link));
                }
                self.drain(process)
            }
            Arrival::End => {
                self.timeline().line(|| format!("link {link} ends for p{process}"));
                self.forget_link(link);
                self.port(process).engine.handle_disconnected(now, conn, "connection reset");
                self.drain(process)
            }
        }
    }

    fn on_server_timeout(&mut self, server: usize) {
        let (at, now) = (self.timeline().now, self.timeline().time());
        let host = self.host(server);
        if host.timer_at != Some(at) {
            return;
        }
        host.timer_at = None;
        host.server.handle_timeout(now);
        self.apply_server_events(server);
    }

    /// Carry out all events of a server.
    fn apply_server_events(&mut self, server: usize) {
        while let Some(event) = self.host(server).server.poll_event() {
            match event {
                ServerEvent::Transmit { client, bytes } => {
                    if let Some(&link) = self.host(server).clients.get(&client) {
                        self.send_to_process(link, bytes);
                    }
                }
                ServerEvent::HangUp { client } => {
                    if let Some(link) = self.host(server).clients.remove(&client) {
                        self.wire(link).client = None;
                        self.end_link(link);
                    }
                }
            }
        }
        let at = self.host(server).server.poll_timeout();
        let at = at.map(|at| self.timeline().when(at));
        let timer_at = &mut self.host(server).timer_at;
        if at != *timer_at {
            *timer_at = at;
            if let Some(at) = at {
                self.wake_at(at, Wake::ServerTimeout(server));
            }
        }
    }

    /// End a link at its far end.
    fn end_link(&mut self, link: usize) {
        self.on_ended(link);
        let at = self.timeline().now + self.delay();
        let end = self.wire(link).down.finish(at);
        self.wake_at(end, Wake::ToProcess(link));
        self.timeline().line(|| format!("link {link} is ended by the far end"));
    }

    fn send_to_process(&mut self, link: usize, bytes: Vec<u8>) {
        let at = self.timeline().now + self.delay();
        let arrives = self.wire(link).down.send(at, bytes);
        self.wake_at(arrives, Wake::ToProcess(link));
    }
}
