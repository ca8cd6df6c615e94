//! The server's side of the links: each command is executed alone, with a check of all keys after
//! it.

use redcache_core::protocol::Script;
use redcache_core::resp::{Frame, Limits, Scanner, decode};

use crate::fault::Fault;
use crate::invariant::{Checked, Invariant, Violation};
use crate::request::request_end;
use crate::server::Event as ServerEvent;
use crate::state::executed::{Cause, Executed, Verb};
use crate::state::link::{Gate, KeyNews, Link, Notice};
use crate::state::node::Node;
use crate::state::pipe::Arrival;
use crate::state::queue::Event;
use crate::state::world::World;

impl World {
    pub(crate) fn on_server_timeout(&mut self, node: usize) -> Checked {
        if self.nodes[node].timer_at != Some(self.now) {
            return Ok(());
        }
        self.nodes[node].timer_at = None;
        self.advance_server(node)?;
        self.apply_server_events(node, None)
    }

    /// Advance the time of a server and check what expires.
    pub(crate) fn advance_server(&mut self, node: usize) -> Checked {
        let at = self.server_clock.at(self.now);
        // All servers share one clock, and each key is checked at its authoritative server.
        self.nodes.iter_mut().for_each(|node| node.server.advance_clock(at));
        self.nodes[node].server.handle_timeout(at);
        self.observe_keys(&Cause::Time)
    }

    pub(crate) fn on_to_server(&mut self, link: usize) -> Checked {
        let now = self.now;
        let state = &mut self.links[link];
        if now < state.up.held_until {
            self.queue.plan(state.up.held_until, Event::ToServer(link));
            return Ok(());
        }
        match state.up.arrive(now) {
            Arrival::Nothing => Ok(()),
            Arrival::Bytes(bytes, sends) => {
                if sends > 1 {
                    self.tally.fault(Fault::Coalesce);
                }
                state.received.extend_from_slice(&bytes);
                if let Some(end) = state.up.end {
                    self.queue.plan(end.max(now), Event::ToServer(link));
                }
                self.execute_received(link)
            }
            Arrival::End => {
                if let Some(client) = state.client.take() {
                    if let Some(node) = state.node.and_then(|node| self.nodes.get_mut(node)) {
                        node.clients.remove(&client);
                        node.server.disconnect(client);
                    }
                    self.trace.line(now, || format!("link {link} ends for the server"));
                }
                Ok(())
            }
        }
    }

    fn execute_received(&mut self, link: usize) -> Checked {
        while self.links[link].client.is_some()
            && let Some(length) = request_end(&self.links[link].received)
        {
            let rest = self.links[link].received.split_off(length);
            let frame = std::mem::replace(&mut self.links[link].received, rest);
            self.execute(link, &frame)?;
        }
        Ok(())
    }

    fn execute(&mut self, link: usize, frame: &[u8]) -> Checked {
        let Link { client: Some(client), node: Some(node), .. } = self.links[link] else {
            return Ok(());
        };
        self.advance_server(node)?;
        self.stamp += 1;
        let sent_at = self.links[link].execute(frame.len());
        let executed = Executed::of(self, link, frame, sent_at);
        let at = self.server_clock.at(self.now);
        self.nodes[node].server.handle_bytes(at, client, frame);
        self.observe_keys(&Cause::Command(&executed))?;
        self.apply_server_events(node, Some(&executed))
    }

    /// Run a command of a client outside the simulation.
    pub(crate) fn execute_foreign(&mut self, node: usize, words: &[&[u8]]) -> Checked {
        let at = self.server_clock.at(self.now);
        self.advance_server(node)?;
        let Node { server, foreign_client, .. } = &mut self.nodes[node];
        let known = foreign_client.filter(|&client| server.is_connected(client));
        let client = known.unwrap_or_else(|| server.connect(at));
        *foreign_client = Some(client);
        self.stamp += 1;
        let mut frame = Vec::new();
        redcache_core::resp::command(&mut frame, words);
        server.handle_bytes(at, client, &frame);
        self.observe_keys(&Cause::Foreign(words))?;
        self.apply_server_events(node, None)
    }

    /// Run a foreign command at the server that is authoritative for a key.
    pub(crate) fn execute_at_home(&mut self, key: usize, words: &[&[u8]]) -> Checked {
        let home = self.home(key);
        if self.cluster.is_none() {
            return self.execute_foreign(home, words);
        }
        // A stopped server cannot be reached.
        if self.nodes[home].refused_until > self.now {
            return Ok(());
        }
        if self.cluster.as_ref().is_some_and(|cluster| cluster.owner(key) != home) {
            self.execute_foreign(home, &[b"ASKING"])?;
        }
        self.execute_foreign(home, words)
    }

    /// Compare all keys with their last known content and check each change.
    pub(crate) fn observe_keys(&mut self, cause: &Cause<'_>) -> Checked {
        for key in 0..self.keys.len() {
            let raw = self.raw_of(key);
            if raw == self.keys[key].raw {
                continue;
            }
            self.stamp += 1;
            self.trace.line(self.now, || {
                let text = raw
                    .as_ref()
                    .map_or_else(|| "nothing".into(), |raw| raw.escape_ascii().to_string());
                format!("key {key} now holds {text}")
            });
            self.check_change(key, raw.as_ref(), cause)?;
            let (stamp, now) = (self.stamp, self.now);
            self.keys[key].record(stamp, now, raw);
            self.note_oversized(key);
        }
        self.note_changes();
        self.check_effect(cause)
    }

    /// Carry out all events of a server. The output for the client of `executed` starts with the
    /// reply.
    pub(crate) fn apply_server_events(
        &mut self,
        node: usize,
        executed: Option<&Executed>,
    ) -> Checked {
        while let Some(event) = self.nodes[node].server.poll_event() {
            match event {
                ServerEvent::Transmit { client, bytes } => {
                    if let Some(&link) = self.nodes[node].clients.get(&client) {
                        let executed = executed.filter(|it| it.link == link);
                        self.reply(link, bytes, executed)?;
                    }
                }
                ServerEvent::HangUp { client } => {
                    if let Some(link) = self.nodes[node].clients.remove(&client) {
                        let at = self.now + self.delay();
                        self.links[link].client = None;
                        let end = self.links[link].down.finish(at);
                        self.queue.plan(end, Event::ToClient(link));
                        self.trace.line(self.now, || format!("the server ends link {link}"));
                    }
                }
            }
        }
        let at = self.nodes[node].server.poll_timeout();
        let at = at.map(|at| self.server_clock.when(at).max(self.now));
        if at != self.nodes[node].timer_at {
            self.nodes[node].timer_at = at;
            if let Some(at) = at {
                self.queue.plan(at, Event::ServerTimeout(node));
            }
        }
        Ok(())
    }

    fn reply(&mut self, link: usize, bytes: Vec<u8>, executed: Option<&Executed>) -> Checked {
        self.trace.bytes(&bytes);
        let mut scanner = Scanner::new(Limits::default());
        let (mut at, mut answered) = (0, false);
        while at < bytes.len() {
            let length = scanner.scan(&bytes[at..]).ok().flatten().ok_or_else(unreadable)?;
            let frame = &bytes[at..at + length];
            at += length;
            let ends_at = self.links[link].down.sent + at as u64;
            self.links[link].down.frame(ends_at);
            if frame[0] == b'>' {
                let notice = self.notice(frame)?;
                self.links[link].notices.push_back((ends_at, notice));
                let is_echo = executed.is_some_and(|it| it.wrote);
                if self.plan.allows_stale() && !is_echo {
                    self.links[link].news.push_back((ends_at, KeyNews::Changed(notice)));
                }
            } else if let Some(executed) = executed.filter(|_| !answered) {
                answered = true;
                self.on_reply(link, executed, frame, ends_at)?;
            }
        }
        self.send_to_process(link, bytes);
        Ok(())
    }

    /// Send bytes to the process.
    pub(crate) fn send_to_process(&mut self, link: usize, bytes: Vec<u8>) {
        let mut arrives = self.now + self.delay();
        for piece in self.pieces(bytes) {
            arrives = self.links[link].down.send(arrives, piece);
            self.queue.plan(arrives, Event::ToClient(link));
            arrives += self.link_rng.below(100);
        }
    }

    fn notice(&self, frame: &[u8]) -> Result<Notice, Violation> {
        let Ok(Frame::Push(elements)) = decode(frame) else { return Err(unreadable()) };
        match &elements[..] {
            [_, Frame::Array(names)] => match &names[..] {
                [Frame::Bulk(name)] => Ok(self.key_named(name).map_or(Notice::All, Notice::Key)),
                _ => Err(unreadable()),
            },
            _ => Ok(Notice::All),
        }
    }

    fn on_reply(
        &mut self,
        link: usize,
        executed: &Executed,
        frame: &[u8],
        ends_at: u64,
    ) -> Checked {
        let state = &mut self.links[link];
        if let Gate::Awaiting { last } = state.gate {
            // The process leaves a server that is not ready.
            let last = last && (frame[0] != b'-' || frame.starts_with(b"-NOPERM"));
            state.gate = Gate::Answered { ends_at, last };
            if std::mem::take(&mut state.sets_tracking) {
                state.tracked = frame == b"+OK\r\n";
                if std::mem::take(&mut state.probes) {
                    state.gate = Gate::Awaiting { last: true };
                }
            }
        }
        let is_granted = match executed.verb {
            Verb::Lock => executed.grants_lock(frame),
            Verb::Script(Script::WriteLock) => frame.starts_with(b"*3\r\n:1\r\n"),
            _ => false,
        };
        if is_granted
            && let Some(part) = executed.parts.first()
            && let Some(lock) = part.words.first()
        {
            state.granted.push_back((ends_at, part.key, lock.clone()));
        }
        if executed.wrote {
            state.own_writes.extend(executed.parts.iter().map(|part| (ends_at, part.key)));
        }
        self.note_round_trip(executed);
        self.note_read_values(link, executed, frame, ends_at);
        self.note_topology_reply(link, executed, frame, ends_at)?;
        self.count_answer(executed, frame)
    }
}

fn unreadable() -> Violation {
    Invariant::WholeFrames.broken("the server model sent an invalid frame")
}
