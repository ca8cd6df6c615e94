//! Injection of faults.

use crate::clock::Micros;
use crate::fault::Fault;
use crate::history::{Origin, ValueShape, encode_value};
use crate::invariant::{Checked, Invariant};
use crate::state::call::State;
use crate::state::link::{KeyNews, Link, Notice};
use crate::state::pipe::CutAt;
use crate::state::queue::Event;
use crate::state::world::{Phase, World};

mod cluster;
mod server;

impl World {
    /// Inject a planned fault.
    pub(crate) fn inject(&mut self, at: usize) -> Checked {
        if self.phase != Phase::Disturbed {
            return Ok(());
        }
        let (_, fault) = self.plan.injections[at];
        self.trace.mix(&[fault as u64]);
        self.trace.line(self.now, || format!("FAULT: {}", fault.name()));
        match fault {
            Fault::Stall
            | Fault::DeadBothWays
            | Fault::DeadToServer
            | Fault::DeadToClient
            | Fault::CutBefore
            | Fault::CutInside
            | Fault::CutAfter
            | Fault::LastWords => self.inject_link(fault),
            Fault::DialRefused
            | Fault::DialHangs
            | Fault::RestartKeep
            | Fault::RestartEmpty
            | Fault::Down
            | Fault::FlushAll
            | Fault::Eviction
            | Fault::TableOverflow
            | Fault::Loading
            | Fault::ReadOnly
            | Fault::OutOfMemory
            | Fault::Busy
            | Fault::MaxClients
            | Fault::ScriptFlush
            | Fault::TryAgain
            | Fault::HangUp
            | Fault::HelloLost
            | Fault::ScriptsLost
            | Fault::Forbidden => self.inject_server(fault),
            Fault::SpuriousPush | Fault::SpuriousFlush | Fault::UnknownPush => {
                self.inject_push(fault)
            }
            Fault::ForeignSet
            | Fault::ForeignDelete
            | Fault::ForeignExpire
            | Fault::ForeignLock
            | Fault::ForeignEndlessLock
            | Fault::ForeignOversized => self.inject_foreign_command(fault),
            Fault::Unread => {
                self.stop_reading();
                Ok(())
            }
            Fault::Crash | Fault::Close => self.inject_process(fault),
            _ if fault.is_of_cluster() => self.inject_cluster(fault),
            _ => Ok(()),
        }?;
        if self.plan.pauses_processes && self.fault_rng.chance(150) {
            self.pause();
        }
        Ok(())
    }

    /// Pause a process.
    fn pause(&mut self) {
        let process = self.fault_rng.index(self.processes.len());
        let lasts =
            self.fault_rng.below(2 * u64::try_from(self.plan.times.lock.as_micros()).unwrap_or(0));
        self.tally.fault(Fault::Pause);
        self.trace.line(self.now, || format!("p{process} is paused for {lasts} µs"));
        let state = &mut self.processes[process];
        state.pause(self.now, self.now + lasts);
        self.queue.plan(state.paused_until, Event::Resume(process));
    }

    /// Return a link in use, if there is one.
    fn some_link(&mut self) -> Option<usize> {
        let links: Vec<usize> = self
            .processes
            .iter()
            .flat_map(|process| process.links.iter().copied())
            .filter(|&link| self.links[link].client.is_some())
            .collect();
        (!links.is_empty()).then(|| self.fault_rng.pick(&links))
    }

    pub(super) fn inject_link(&mut self, fault: Fault) -> Checked {
        let Some(link) = self.some_link() else { return Ok(()) };
        let now = self.now;
        match fault {
            Fault::Stall => {
                self.tally.fault(fault);
                let lasts = self.fault_rng.below(self.longest_hold());
                let state = &mut self.links[link];
                let pipe = if self.fault_rng.chance(500) { &mut state.up } else { &mut state.down };
                pipe.held_until = now + lasts;
            }
            Fault::DeadBothWays | Fault::DeadToServer | Fault::DeadToClient => {
                self.tally.fault(fault);
                let state = &mut self.links[link];
                state.up.dead |= fault != Fault::DeadToClient;
                state.down.dead |= fault != Fault::DeadToServer;
                let (is_mute, is_tracked) = (state.down.dead, state.tracked);
                // Replies to received commands may be in transit, or held.
                let heard = if is_mute { 0 } else { 2 * self.longest_hold() };
                self.queue.plan(now + self.silence_max(link) + heard, Event::Silence(link));
                if !is_mute && is_tracked {
                    self.chatter(link);
                }
            }
            Fault::LastWords => self.lose_late(link),
            _ => self.cut(link, fault),
        }
        Ok(())
    }

    /// Have the server read nothing for a while.
    fn stop_reading(&mut self) {
        self.tally.fault(Fault::Unread);
        // Otherwise the processes give the links up.
        let longest = if self.plan.only_unread { 80_000 } else { self.longest_hold() };
        let until = self.now + self.fault_rng.below(longest);
        for link in self.processes.iter().flat_map(|process| &process.links) {
            self.links[*link].up.held_until = until;
        }
    }

    /// End a link for its process before the server has read all bytes that were sent on it.
    fn lose_late(&mut self, link: usize) {
        self.tally.fault(Fault::LastWords);
        let at = self.now + self.delay();
        let lasts = self.fault_rng.below(self.longest_hold() / 4);
        let Link { up, down, .. } = &mut self.links[link];
        up.held_until = up.held_until.max(self.now + lasts);
        down.cut(at, 0);
        let end = down.end.unwrap_or(at);
        self.queue.plan(end.max(self.now), Event::ToClient(link));
        self.trace.line(self.now, || format!("link {link} is lost, and its bytes arrive late"));
    }

    /// Return the longest stall of a link.
    pub(crate) fn longest_hold(&self) -> Micros {
        400_000
    }

    fn cut(&mut self, link: usize, fault: Fault) {
        let now = self.now;
        for up in [true, false] {
            let at = now + self.delay();
            let state = &mut self.links[link];
            let pipe = if up { &mut state.up } else { &mut state.down };
            let under_way = pipe.under_way();
            let kept = match fault {
                Fault::CutBefore => 0,
                Fault::CutAfter => under_way,
                _ => self.fault_rng.between(0, under_way),
            };
            let cut = pipe.cut(at, kept);
            let end = pipe.end.unwrap_or(at);
            self.tally.fault(match cut {
                CutAt::Before => Fault::CutBefore,
                CutAt::Inside => Fault::CutInside,
                CutAt::After => Fault::CutAfter,
            });
            let event = if up { Event::ToServer(link) } else { Event::ToClient(link) };
            self.queue.plan(end.max(now), event);
        }
        self.trace.line(now, || format!("link {link} is cut"));
    }

    /// Return the time that a process may keep a link on which nothing arrives.
    fn silence_max(&self, link: usize) -> Micros {
        let clock = &self.processes[self.links[link].process].clock;
        2 * clock.stretch(self.plan.times.heartbeat)
            + clock.stretch(self.plan.times.connect)
            + 1_000
    }

    /// Check that a silent link has been given up.
    pub(crate) fn check_silence(&mut self, link: usize) -> Checked {
        // A paused process notices later.
        let due = self.processes[self.links[link].process].paused_until + self.silence_max(link);
        if due > self.now {
            self.queue.plan(due, Event::Silence(link));
            return Ok(());
        }
        let state = &self.links[link];
        self.tally.cover(Invariant::Heartbeat);
        let lives = self.processes[state.process].life == state.life
            && self.processes[state.process].is_open;
        Invariant::Heartbeat.holds(!(state.is_current && lives), || {
            format!("p{} still uses link {link}, which is silent", state.process)
        })
    }

    /// Send pushes repeatedly on a link on which the server receives nothing.
    pub(crate) fn chatter(&mut self, link: usize) {
        let state = &mut self.links[link];
        if !state.is_current || state.down.dead || state.down.end.is_some() {
            return;
        }
        let push = b">1\r\n+tracking-redir-broken\r\n";
        state.down.frame(state.down.sent + push.len() as u64);
        self.send_to_process(link, push.to_vec());
        let interval = self.plan.times.heartbeat.as_micros() / 3;
        self.queue.plan(self.now + Micros::try_from(interval).unwrap_or(1), Event::Chatter(link));
    }

    fn inject_push(&mut self, fault: Fault) -> Checked {
        let Some(link) = self.some_link() else { return Ok(()) };
        let state = &self.links[link];
        // A push may come between any two frames, but not before the handshake.
        if !state.tracked || state.down.end.is_some() {
            return Ok(());
        }
        self.tally.fault(fault);
        let mut bytes = Vec::new();
        let mut notice = None;
        match fault {
            Fault::SpuriousPush => {
                let key = self.fault_rng.index(self.keys.len());
                let name = self.keys[key].name.as_bytes();
                bytes.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n*1\r\n");
                bytes.extend_from_slice(format!("${}\r\n", name.len()).as_bytes());
                bytes.extend_from_slice(name);
                bytes.extend_from_slice(b"\r\n");
                notice = Some(Notice::Key(key));
            }
            Fault::SpuriousFlush => {
                bytes.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n_\r\n");
                notice = Some(Notice::All);
            }
            _ => bytes.extend_from_slice(self.fault_rng.pick(&[
                &b">3\r\n+message\r\n+a\r\n+b\r\n"[..],
                b">2\r\n$10\r\ninvalidate\r\n*0\r\n",
                b">1\r\n+tracking-redir-broken\r\n",
            ])),
        }
        let ends_at = self.links[link].down.sent + bytes.len() as u64;
        self.links[link].down.frame(ends_at);
        if let Some(notice) = notice {
            self.links[link].notices.push_back((ends_at, notice));
            if self.plan.allows_stale() {
                self.links[link].news.push_back((ends_at, KeyNews::Changed(notice)));
            }
        }
        self.send_to_process(link, bytes);
        Ok(())
    }

    fn inject_foreign_command(&mut self, fault: Fault) -> Checked {
        let key = self.fault_rng.index(self.keys.len());
        let name = self.keys[key].name.clone();
        self.tally.fault(fault);
        let lock = format!("{}foreign:{}", redcache_core::LOCK_PREFIX, self.fault_rng.next());
        let millis = self.fault_rng.between(1, 300).to_string();
        match fault {
            Fault::ForeignSet => {
                let number = self.new_version(key, Origin::Foreign);
                // A value without an envelope must not look like a lock or an envelope.
                let payload = encode_value(ValueShape::Plain, key, number);
                self.versions[number].payload = Some(payload.clone());
                let raw = if self.fault_rng.chance(500) {
                    [redcache_core::protocol::ENVELOPE_PREFIX, b"5:", &payload].concat()
                } else {
                    payload.to_vec()
                };
                self.execute_at_home(key, &[b"SET", name.as_bytes(), &raw])
            }
            Fault::ForeignDelete => self.execute_at_home(key, &[b"DEL", name.as_bytes()]),
            Fault::ForeignExpire => {
                self.execute_at_home(key, &[b"PEXPIRE", name.as_bytes(), millis.as_bytes()])
            }
            Fault::ForeignLock => self.execute_at_home(
                key,
                &[b"SET", name.as_bytes(), lock.as_bytes(), b"PX", millis.as_bytes()],
            ),
            Fault::ForeignOversized => {
                let length = self.plan.value_max + 65 + self.fault_rng.index(2_000);
                if self.fault_rng.chance(300) {
                    let lock = [lock.as_bytes(), &vec![b'.'; length]].concat();
                    let words = [b"SET", name.as_bytes(), &lock, b"PX", millis.as_bytes()];
                    return self.execute_at_home(key, &words);
                }
                let number = self.new_version(key, Origin::Foreign);
                let payload = encode_value(ValueShape::Padded(length), key, number);
                self.versions[number].payload = Some(payload.clone());
                self.execute_at_home(key, &[b"SET", name.as_bytes(), &payload])
            }
            _ => self.execute_at_home(key, &[b"SET", name.as_bytes(), lock.as_bytes()]),
        }
    }

    fn inject_process(&mut self, fault: Fault) -> Checked {
        let process = self.fault_rng.index(self.processes.len());
        if !self.processes[process].is_open || self.processes[process].closing_since.is_some() {
            return Ok(());
        }
        self.tally.fault(fault);
        let lasts = self.processes[process].clock.stretch(self.plan.times.command).max(1_000_000);
        let pause = self.fault_rng.below(100_000);
        if fault == Fault::Close {
            self.trace.line(self.now, || format!("p{process} closes its cache"));
            let now = self.time_of(process);
            self.processes[process].closing_since = Some(self.now);
            self.processes[process].engine.close(now);
            self.queue.plan(self.now + lasts + 20_000 + pause, Event::Restart(process));
            return self.drain(process);
        }
        self.trace.line(self.now, || format!("p{process} crashes"));
        self.processes[process].is_open = false;
        self.processes[process].timer_at = None;
        let lost: Vec<usize> = self
            .waiting
            .iter()
            .copied()
            .filter(|&call| self.calls[call].process == process)
            .collect();
        for call in lost {
            self.end_call(call, State::Lost);
        }
        for link in std::mem::take(&mut self.processes[process].links) {
            self.links[link].is_current = false;
            self.cut(link, Fault::CutInside);
        }
        self.queue.plan(self.now + pause, Event::Restart(process));
        Ok(())
    }

    /// Restart a process that crashed or closed its cache.
    pub(crate) fn restart_process(&mut self, process: usize) -> Checked {
        let state = &self.processes[process];
        // A paused process completes its close when it resumes.
        let goes_on_at = state.paused_until + 2 * self.one_way();
        if state.closing_since.is_some() && self.now < goes_on_at {
            self.queue.plan(goes_on_at, Event::Restart(process));
            return Ok(());
        }
        Invariant::Completion.holds(state.closing_since.is_none(), || {
            format!("p{process} is still closing its cache")
        })?;
        if state.is_open {
            return Ok(());
        }
        self.start_process(process)
    }
}
