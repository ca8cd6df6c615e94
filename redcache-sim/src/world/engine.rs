//! The adapters of the simulated processes: they carry bytes, time and events between engines and
//! links.

use redcache_core::Address;
use redcache_core::engine::{ConnId, Engine, Event as EngineEvent, OpId, Transmit};

use crate::clock::{Micros, SkewedClock};
use crate::deque::pop_front_if;
use crate::fault::Fault;
use crate::invariant::{Checked, Invariant, Violation};
use crate::plan::Cuts;
use crate::plan::cluster::{HOST, port_of};
use crate::request::{request_end, words};
use crate::state::call::Kind;
use crate::state::link::{Gate, Link};
use crate::state::pipe::Arrival;
use crate::state::process::Process;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    /// Start a process, for the first time or again.
    pub(crate) fn start_process(&mut self, process: usize) -> Checked {
        let clock = SkewedClock::new(self.start, self.plan.skews[process + 1]);
        let seed = self.caller_rng.engine_seed();
        let config =
            self.plan.config().map_err(|error| Invariant::Liveness.broken(error.to_string()))?;
        let mut engine = Engine::new(clock.at(self.now), &seed, config);
        engine.expect_load(self.plan.light_traffic_max, self.plan.reread_keys);
        if let Some(max) = self.plan.unanswered_max {
            engine.limit_unanswered(usize::try_from(max).unwrap_or(usize::MAX));
        }
        let life = self.processes.get(process).map_or(0, |before| before.life + 1);
        let fresh = Process::new(engine, clock, life, self.keys.len());
        if process < self.processes.len() {
            self.processes[process] = fresh;
        } else {
            self.processes.push(fresh);
        }
        self.processes[process].disrupted_at = self.now;
        self.register(process)?;
        self.trace.line(self.now, || format!("p{process} starts, life {life}"));
        self.drain(process)
    }

    pub(crate) fn on_engine_timeout(&mut self, process: usize) -> Checked {
        let now = self.time_of(process);
        let state = &mut self.processes[process];
        if state.timer_at != Some(self.now) {
            return Ok(());
        }
        state.timer_at = None;
        state.engine.handle_timeout(now);
        let drained = self.drain(process);
        self.is_handing_over = false;
        drained
    }

    /// Carry out all events and transmissions of an engine.
    pub(crate) fn drain(&mut self, process: usize) -> Checked {
        loop {
            while let Some(event) = self.processes[process].engine.poll_event() {
                self.on_event(process, event)?;
            }
            let engine = &mut self.processes[process].engine;
            let Some(Transmit { conn, .. }) = engine.transmits().next() else { break };
            let mut bytes = Vec::new();
            engine.take_transmit(conn, &mut bytes);
            let mut links = self.processes[process].links.iter().copied();
            let link = links.find(|&link| self.links[link].conn == conn);
            let link = link.ok_or_else(|| {
                Invariant::WholeFrames.broken(format!("p{process} writes on a closed connection"))
            })?;
            self.transmit(link, bytes)?;
        }
        self.set_timer(process);
        self.check_kept_removals(process)
    }

    fn set_timer(&mut self, process: usize) {
        let state = &mut self.processes[process];
        let at = state.engine.poll_timeout().filter(|_| state.is_open);
        let at = at.map(|at| state.clock.when(at).max(self.now));
        if at != state.timer_at {
            state.timer_at = at;
            if let Some(at) = at {
                self.queue.plan(at, Event::EngineTimeout(process));
            }
        }
    }

    fn on_event(&mut self, process: usize, event: EngineEvent) -> Checked {
        match event {
            EngineEvent::Dial { conn, address } => self.dial(process, conn, &address),
            EngineEvent::HangUp { conn } => {
                let life = self.processes[process].life;
                let mine =
                    |link: &Link| (link.process, link.life, link.conn) == (process, life, conn);
                if let Some(link) = self.links.iter().rposition(mine) {
                    self.check_left(link)?;
                    self.hang_up(link);
                }
                Ok(())
            }
            EngineEvent::Login { login, .. } => self.ask_provider(process, login),
            EngineEvent::Load { op } => {
                let call = self.call_of(process, op)?;
                self.take_load(call)
            }
            EngineEvent::LoadMany { op, keys } => {
                let call = self.call_of(process, op)?;
                let named = keys.iter().map(|key| self.key_named(key.as_bytes())).collect();
                let keys: Option<Vec<usize>> = named;
                let keys = keys.ok_or_else(|| {
                    Invariant::BatchExact.broken("a load of a key that no call requested")
                })?;
                if self.calls[call].kind == Kind::Refresh {
                    self.calls[call].keys.clone_from(&keys);
                }
                let begins = self.processes[process].engine.begin_load(op);
                Invariant::Completion
                    .holds(begins, || format!("the load of call {call} is not its own"))?;
                self.start_load(call, keys, true)
            }
            EngineEvent::Refresh { .. } => {
                self.schedule_refresh_worker(process);
                Ok(())
            }
            EngineEvent::Done { op, outcome } => self.on_done(process, op, outcome),
            EngineEvent::ConnectionChanged => {
                let readiness = self.processes[process].engine.readiness();
                self.trace.line(self.now, || format!("p{process} readiness: {readiness:?}"));
                Ok(())
            }
            EngineEvent::Closed => {
                self.trace.line(self.now, || format!("p{process} is closed"));
                let state = &mut self.processes[process];
                state.is_open = false;
                state.closing_since = None;
                Ok(())
            }
            other => Err(Invariant::Completion.broken(format!("an unknown event: {other:?}"))),
        }
    }

    /// Start a dial; nothing listens at an unknown address.
    fn dial(&mut self, process: usize, conn: ConnId, address: &Address) -> Checked {
        let life = self.processes[process].life;
        let link = self.links.len();
        let node = self.node_at(address);
        self.links.push(Link::new(process, life, conn, node));
        self.processes[process].links.push(link);
        if node.is_some_and(|node| self.now < self.nodes[node].hanging_until) {
            self.tally.fault(Fault::DialHangs);
        } else {
            let at = self.now + 2 * self.delay();
            self.queue.plan(at, Event::Dialed(link));
        }
        self.trace.line(self.now, || format!("p{process} dials link {link} to {address}"));
        Ok(())
    }

    fn node_at(&self, address: &Address) -> Option<usize> {
        match (address, &self.cluster) {
            (_, None) => Some(0),
            (Address::Tcp { host, port }, Some(_)) if host == HOST => {
                (0..self.nodes.len()).find(|&node| port_of(node) == *port)
            }
            (Address::Tcp { .. } | Address::Unix(_), Some(_)) => None,
        }
    }

    fn call_of(&self, process: usize, op: OpId) -> Result<usize, Violation> {
        let call = self.processes[process].call(op);
        call.ok_or_else(|| {
            Invariant::CancelNeutrality
                .broken(format!("p{process} is asked to load for an unknown call"))
        })
    }

    /// Close a link for the process. Bytes that it has sent still arrive.
    pub(crate) fn hang_up(&mut self, link: usize) {
        let at = self.now + self.delay();
        let state = &mut self.links[link];
        state.is_current = false;
        let end = state.up.finish(at);
        let process = &mut self.processes[state.process];
        process.lose(link, state.node, state.gate == Gate::Passed, self.now);
        self.stamp += 1;
        process.writes_unknown(self.stamp);
        self.queue.plan(end, Event::ToServer(link));
        self.trace.line(self.now, || format!("p{} closes link {link}", self.links[link].process));
    }

    pub(crate) fn on_dialed(&mut self, link: usize) -> Checked {
        let Link { process, conn, is_current, node, .. } = self.links[link];
        if !is_current {
            return Ok(());
        }
        let now = self.time_of(process);
        let node = node.filter(|&node| self.now >= self.nodes[node].refused_until);
        let Some(node) = node else {
            self.tally.fault(Fault::DialRefused);
            self.links[link].is_current = false;
            let state = &mut self.processes[process];
            state.links.retain(|&other| other != link);
            state.engine.handle_disconnected(now, conn, "connection refused");
            self.trace.line(self.now, || format!("link {link} is refused"));
            return self.drain(process);
        };
        let client = self.nodes[node].server.connect(self.server_clock.at(self.now));
        self.links[link].client = Some(client);
        self.nodes[node].clients.insert(client, link);
        self.trace.line(self.now, || format!("link {link} of p{process} is made"));
        self.processes[process].engine.handle_connected(now, conn);
        self.apply_server_events(node, None)?;
        self.drain(process)
    }

    pub(crate) fn on_to_client(&mut self, link: usize) -> Checked {
        let now = self.now;
        let state = &mut self.links[link];
        if !state.is_current {
            return Ok(());
        }
        if now < state.down.held_until {
            self.queue.plan(state.down.held_until, Event::ToClient(link));
            return Ok(());
        }
        let process = state.process;
        match state.down.arrive(now) {
            Arrival::Nothing => Ok(()),
            Arrival::Bytes(bytes, sends) => {
                let was_passed = state.gate == Gate::Passed;
                let written = state.take_delivered();
                self.stamp += 1;
                for key in written {
                    self.processes[process].learned[key].replaced = self.stamp;
                }
                let state = &mut self.links[link];
                if !was_passed && state.gate == Gate::Passed {
                    state.passed_at = now;
                    self.processes[process].disrupted_at = now;
                    self.expect_reread(link);
                }
                self.begin_reading(link);
                self.note_key_news(link);
                if sends > 1 {
                    self.tally.fault(Fault::Coalesce);
                }
                self.trace.bytes(&bytes);
                self.trace.line(now, || format!("link {link} ▶ p{process}: {}", shown(&bytes)));
                self.expect_returns(link);
                let at = self.time_of(process);
                self.processes[process].read_last = Some(link);
                let engine = &mut self.processes[process].engine;
                self.links[link].pass(&bytes, (engine, at), link.is_multiple_of(2));
                self.plan_end(link);
                self.drain(process)?;
                self.end_reading(link);
                self.check_returned(link)
            }
            Arrival::End => {
                state.is_current = false;
                let Link { conn, node, gate, .. } = *state;
                self.trace.line(now, || format!("link {link} ends for p{process}"));
                let at = self.time_of(process);
                let owner = &mut self.processes[process];
                owner.lose(link, node, gate == Gate::Passed, now);
                self.stamp += 1;
                owner.writes_unknown(self.stamp);
                owner.engine.handle_disconnected(at, conn, "connection reset");
                self.drain(process)
            }
        }
    }

    /// Record the locks that reach the process without a waiting call.
    fn expect_returns(&mut self, link: usize) {
        let state = &mut self.links[link];
        let process = &self.processes[state.process];
        self.unwanted.clear();
        while let Some((_, key, lock)) =
            pop_front_if(&mut state.granted, |(end, ..)| *end <= state.down.delivered)
        {
            // In a cluster the release goes to the current owner, once a connection to it exists.
            let is_near = state.node.is_none_or(|node| process.map.is_at(key, port_of(node)));
            let is_unwanted = process.learned[key].waiting == 0 && process.closing_since.is_none();
            if is_unwanted && (is_near || self.cluster.is_none()) {
                self.unwanted.push(lock);
            }
        }
    }

    /// Check that an unwanted lock was released at once.
    fn check_returned(&self, link: usize) -> Checked {
        let process = self.links[link].process;
        // The release may wait for room on the connection, or for replies on the other connection
        // before both are left. The server may have hung up at releases of the key: the lock is
        // given back once hang-ups at another key show that no script is allowed.
        let may_wait = !self.links[link].is_current
            || self.plan.faults.has(Fault::ScriptsLost)
            || self.plan.unanswered_max.is_some()
            || self.processes[process].links.len() > 1 && self.plan.large_value_bytes > 0;
        Invariant::Orphans.holds(self.unwanted.is_empty() || may_wait, || {
            format!("p{process} keeps lock {:?}, which no call waits for", self.unwanted)
        })
    }

    /// Schedule the end of a pipe behind its bytes.
    fn plan_end(&mut self, link: usize) {
        if let Some(end) = self.links[link].down.end {
            self.queue.plan(end.max(self.now), Event::ToClient(link));
        }
    }

    /// Send the bytes of a process on its link.
    fn transmit(&mut self, link: usize, bytes: Vec<u8>) -> Checked {
        self.trace.bytes(&bytes);
        let process = self.links[link].process;
        self.trace.line(self.now, || format!("p{process} ▶ link {link}: {}", shown(&bytes)));
        let mut at = 0;
        while at < bytes.len() {
            let length = request_end(&bytes[at..]).ok_or_else(|| {
                Invariant::WholeFrames.broken(format!("p{process} wrote part of a command"))
            })?;
            let frame = &bytes[at..at + length];
            at += length;
            self.check_gate(link, frame)?;
            self.check_login(link, frame)?;
            self.check_route(link, frame)?;
            self.check_one_link(link, frame, at)?;
            if !self.unwanted.is_empty() {
                let words = words(frame);
                self.unwanted.retain(|lock| !words.contains(&&lock[..]));
            }
            let state = &mut self.links[link];
            let ends_at = state.up.sent + at as u64;
            state.up.frame(ends_at);
            state.sent.push_back((ends_at, self.now));
        }
        self.tally.cover(Invariant::WholeFrames);
        self.check_asking_over(link)?;
        let mut arrives = self.now + self.delay();
        for piece in self.pieces(bytes) {
            arrives = self.links[link].up.send(arrives, piece);
            self.queue.plan(arrives, Event::ToServer(link));
            arrives += self.link_rng.below(100);
        }
        self.check_unanswered(link)
    }

    /// Return the time that the next bytes take.
    pub(crate) fn delay(&mut self) -> Micros {
        let delay = self.plan.latency + self.link_rng.below(self.plan.jitter + 1);
        let quantum = self.plan.quantum;
        (self.now + delay).next_multiple_of(quantum) - self.now
    }

    /// Split bytes into the pieces in which they travel.
    pub(crate) fn pieces(&mut self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        /// The largest number of pieces of one transmission.
        const PIECES_MAX: usize = 12;
        let cuts = match self.plan.cuts {
            Cuts::Some if self.link_rng.chance(400) => 1 + self.link_rng.index(3),
            Cuts::Everywhere if self.link_rng.chance(700) => bytes.len().min(PIECES_MAX),
            Cuts::Never | Cuts::Some | Cuts::Everywhere => 0,
        };
        if cuts == 0 || bytes.len() < 2 {
            return vec![bytes];
        }
        let mut places: Vec<_> =
            (0..cuts).map(|_| 1 + self.link_rng.index(bytes.len() - 1)).collect();
        if self.plan.cuts == Cuts::Everywhere {
            places = (1..bytes.len().min(PIECES_MAX)).collect();
        }
        places.sort_unstable();
        places.dedup();
        self.tally.fault(Fault::Split);
        let mut rest = bytes;
        let mut pieces = Vec::with_capacity(places.len() + 1);
        for place in places.into_iter().rev() {
            pieces.push(rest.split_off(place));
        }
        pieces.push(rest);
        pieces.reverse();
        pieces
    }
}

/// Return bytes as readable text.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 360;
    let text = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii().to_string();
    text.replace("\\r\\n", "␍")
}
