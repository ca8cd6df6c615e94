//! One connection: commands out in order, replies and pushes in.
//!
//! Replies belong to commands by position alone, so a command keeps its place until it is answered, whatever becomes
//! of its sender; a push never takes one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::api::config::Config;
use crate::api::error::{CacheError, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::{Assembly, Reply};
use crate::protocol::script::Script;
use crate::protocol::slot::Slot;
use crate::protocol::topology::{self, NoTopology, Question, Topology};
use crate::resp::{self, Frame, Limits, Scanner};

pub(crate) mod backoff;
mod coalesce;
mod handshake;
mod replies;

use coalesce::Coalescer;
use handshake::{Handshake, Next};

/// A command on its way, as the router gave it.
#[derive(Debug)]
pub(crate) struct Issued {
    /// `None` once its sender has been told that the answer did not come in time.
    pub(crate) token: Option<Token>,
    pub(crate) command: Command,
    /// Where its key belongs.
    pub(crate) slot: Slot,
    pub(crate) issued_at: Instant,
    /// When it was last put into the pipeline.
    pub(crate) sent_at: Instant,
    /// How often it was sent.
    pub(crate) attempts: u8,
    /// It may have been executed on a connection that was lost before the answer.
    pub(crate) interrupted: bool,
    /// How often a node has sent it on to another.
    pub(crate) redirects: u8,
    /// It goes to a node that does not own its slot yet, and says so.
    pub(crate) asking: bool,
    /// What it shared with others was not answered clearly, so it shares no more.
    alone: bool,
}

impl Issued {
    pub(crate) fn new(now: Instant, token: Token, command: Command, slot: Slot) -> Self {
        Self {
            token: Some(token),
            command,
            slot,
            issued_at: now,
            sent_at: now,
            attempts: 0,
            interrupted: false,
            redirects: 0,
            asking: false,
            alone: false,
        }
    }
}

/// One thing that the server said.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are replies, and a box would cost each an allocation"
)]
#[derive(Debug)]
pub(crate) enum Inbound {
    Ready {
        untracked: Option<String>,
    },
    Reply {
        issued: Issued,
        reply: Reply,
    },
    Invalidated(Vec<Key>),
    Flushed,
    /// What the node knows of its cluster, which was asked for.
    Topology(Result<Topology, NoTopology>),
}

/// Bytes that have just been read.
#[derive(Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

#[derive(Debug)]
pub(crate) struct Conn {
    state: State,
    scanner: Scanner,
    /// The beginning of a frame whose end has not come yet, from `tail_start` on.
    tail: Vec<u8>,
    tail_start: usize,
    out: Vec<u8>,
    /// The last of the awaited commands, which are not in `out` yet.
    coalescer: Coalescer,
    /// Commands may share one. A cluster has their keys in different places.
    shares: bool,
    awaited: VecDeque<Awaited>,
    /// How many of the awaited entries stand for a shared reply, and for no command of its own.
    groups: usize,
    /// The answers of the first awaited commands, as far as they have come.
    begun: VecDeque<Assembly>,
    /// What one reply has said beyond its first command.
    heard: VecDeque<Inbound>,
    /// The first awaited command is one that says `ASKING` before each frame, and the reply to that has come.
    asking_answered: bool,
    /// The epoch of the topology whose reply comes next.
    epoch: Option<u64>,
    /// How many of the first awaited entries have been reported overdue.
    overdue: usize,
    /// When the last of the awaited commands was issued, and whether none before it was issued later. A command that
    /// is tried again stands behind later ones.
    last_issued_at: Instant,
    in_order: bool,
    /// The key that was just written: if it was tracked, the server's report of that very write is the next thing it
    /// says. The reply has said it all.
    echo: Option<Key>,
    /// One bit for each script whose source this connection has sent.
    scripts_sent: u8,
    /// For each script, how many unanswered commands carry its source.
    sources_awaited: [u32; Script::ALL.len()],
    last_inbound: Instant,
    ping_sent: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Handshake(Handshake),
    Ready,
}

#[derive(Debug)]
enum Awaited {
    Command(Issued, Form),
    /// One reply that is the next to so many of the commands behind it.
    Shared(usize),
    /// The reply says nothing to anybody.
    Ignored,
    /// The number of the topology that is asked for next. Before it, so that the topology is not older.
    Epoch,
    Topology(Question),
}

/// How a script was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Hash,
    Source,
}

impl Conn {
    /// Opens the conversation on a connection that has just been made.
    pub(crate) fn open(now: Instant, config: &Config) -> Self {
        let mut out = Vec::new();
        let handshake = Handshake::start(config, &mut out);
        // A value is wrapped in its envelope, and a node of a cluster has a little to say of it; the rest of the limits
        // are the defaults.
        let told_max = if config.servers.is_cluster() { 16 << 10 } else { 0 };
        let bulk_max = config.value_max.saturating_add(64).max(told_max);
        let limits = Limits { bulk_max, ..Limits::default() };
        Self {
            state: State::Handshake(handshake),
            scanner: Scanner::new(limits),
            tail: Vec::new(),
            tail_start: 0,
            out,
            coalescer: Coalescer::default(),
            shares: !config.servers.is_cluster(),
            awaited: VecDeque::new(),
            groups: 0,
            begun: VecDeque::new(),
            heard: VecDeque::new(),
            asking_answered: false,
            epoch: None,
            overdue: 0,
            last_issued_at: now,
            in_order: true,
            echo: None,
            scripts_sent: 0,
            sources_awaited: [0; Script::ALL.len()],
            last_inbound: now,
            ping_sent: None,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    pub(crate) fn awaited(&self) -> usize {
        self.awaited.len() - self.groups
    }

    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() + self.coalescer.len()
    }

    /// Swaps the bytes to write with an empty buffer; `false` when there are none.
    pub(crate) fn take_transmit(&mut self, into: &mut Vec<u8>) -> bool {
        into.clear();
        self.coalescer.close(&mut self.out);
        std::mem::swap(&mut self.out, into);
        !into.is_empty()
    }

    /// Appends a command to the pipeline. Only a ready connection takes one.
    pub(crate) fn send(&mut self, now: Instant, mut issued: Issued, locks: &LockSettings) {
        debug_assert!(
            self.is_ready() || mutant!(HandshakeNotGated),
            "commands wait for the handshake"
        );
        issued.command.on_waited(now.saturating_duration_since(issued.sent_at));
        issued.sent_at = now;
        issued.attempts = issued.attempts.saturating_add(1);
        self.in_order &= self.awaited.is_empty() || issued.issued_at >= self.last_issued_at;
        self.last_issued_at = issued.issued_at;
        let form = self.form(&issued.command);
        let by_hash = form == Form::Hash;
        let shared = issued.command.shares();
        if let Some(shared) = shared.filter(|_| self.shares && !issued.asking && !issued.alone) {
            let count = self.coalescer.add(shared, by_hash, &issued.command, locks, &mut self.out);
            self.note_shared(count);
        } else {
            self.coalescer.close(&mut self.out);
            if issued.asking {
                issued.command.encode_asking(locks, by_hash, &mut self.out);
            } else {
                issued.command.encode(locks, by_hash, &mut self.out);
            }
        }
        self.awaited.push_back(Awaited::Command(issued, form));
    }

    /// The next awaited command is the last of so many that share one.
    fn note_shared(&mut self, count: usize) {
        let last = self.awaited.len();
        if count == 2 {
            self.awaited.insert(last.saturating_sub(1), Awaited::Shared(2));
            self.groups += 1;
        } else if let Some(Awaited::Shared(noted)) = self.awaited.get_mut(last.wrapping_sub(count))
        {
            *noted = count;
        }
    }

    /// Asks what the node knows of its cluster.
    pub(crate) fn ask_topology(&mut self, question: Question) {
        debug_assert!(self.is_ready(), "questions wait for the handshake");
        self.coalescer.close(&mut self.out);
        topology::ask_epoch(&mut self.out);
        question.ask(&mut self.out);
        self.awaited.extend([Awaited::Epoch, Awaited::Topology(question)]);
    }

    /// The first use of a script on a connection carries its source, which costs bytes but no round trip; later ones
    /// carry its hash.
    fn form(&mut self, command: &Command) -> Form {
        let Some(script) = command.script() else {
            return Form::Hash;
        };
        if self.scripts_sent & script.bit() != 0 {
            return Form::Hash;
        }
        self.scripts_sent |= script.bit();
        self.sources_awaited[script as usize] += 1;
        Form::Source
    }

    /// Takes the next thing that the server said out of `input`. `None` means that more bytes are needed.
    ///
    /// # Errors
    ///
    /// The connection is of no further use: its bytes make no sense or its handshake failed.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        input: &mut Input<'_>,
        config: &Config,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, CacheError> {
        self.last_inbound = now;
        self.ping_sent = None;
        if let Some(inbound) = self.heard.pop_front() {
            return Ok(Some(inbound));
        }
        loop {
            let inbound = if self.tail.is_empty() {
                let bytes = input.0;
                let Some(length) = self.scanner.scan(bytes).map_err(broken)? else {
                    self.check_unfinished(bytes.len(), config)?;
                    self.tail.extend_from_slice(bytes);
                    input.0 = &[];
                    return Ok(None);
                };
                let (frame, rest) = bytes.split_at(length);
                input.0 = rest;
                self.on_frame(now, &resp::decode(frame).map_err(broken)?, config, locks)?
            } else {
                self.tail.extend_from_slice(input.0);
                input.0 = &[];
                let tail = std::mem::take(&mut self.tail);
                let unread = &tail[self.tail_start..];
                let Some(length) = self.scanner.scan(unread).map_err(broken)? else {
                    self.check_unfinished(unread.len(), config)?;
                    self.keep_tail(tail);
                    return Ok(None);
                };
                let frame = resp::decode(&unread[..length]).map_err(broken)?;
                let inbound = self.on_frame(now, &frame, config, locks)?;
                drop(frame);
                self.tail_start += length;
                if self.tail_start < tail.len() {
                    self.tail = tail;
                } else {
                    self.tail_start = 0;
                }
                inbound
            };
            if inbound.is_some() {
                return Ok(inbound);
            }
        }
    }

    /// Keeps an unfinished frame and forgets the finished ones before it.
    fn keep_tail(&mut self, mut tail: Vec<u8>) {
        tail.drain(..self.tail_start);
        self.tail_start = 0;
        self.tail = tail;
    }

    fn on_frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        config: &Config,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, CacheError> {
        let echo = if mutant!(EchoSwallowsNews) { self.echo.clone() } else { self.echo.take() };
        if mutant!(PushTakenForReply) && !self.awaited.is_empty() && self.is_ready() {
            return self.on_reply(now, frame, locks);
        }
        if let Frame::Push(elements) = frame {
            return Ok(self.on_push(elements, echo));
        }
        match self.state {
            State::Handshake(handshake) => self.on_handshake(handshake, frame, config),
            State::Ready => self.on_reply(now, frame, locks),
        }
    }

    fn on_handshake(
        &mut self,
        handshake: Handshake,
        frame: &Frame<'_>,
        config: &Config,
    ) -> Result<Option<Inbound>, CacheError> {
        match handshake.on_reply(frame, config, &mut self.out) {
            Next::Wait(next) => {
                self.state = State::Handshake(next);
                Ok(None)
            }
            Next::Ready { untracked, ignored } => {
                self.state = State::Ready;
                self.awaited.extend((0..ignored).map(|_| Awaited::Ignored));
                Ok(Some(Inbound::Ready { untracked }))
            }
            Next::Fail(error) => Err(error),
        }
    }

    fn on_push(&mut self, elements: &[Frame<'_>], echo: Option<Key>) -> Option<Inbound> {
        match elements {
            [Frame::Bulk(b"invalidate"), Frame::Array(keys)] => {
                let mut names = Vec::with_capacity(keys.len());
                for key in keys {
                    let Frame::Bulk(name) = key else {
                        return Some(self.on_flushed());
                    };
                    names.push(Key::copy_from(name));
                }
                if let ([name], Some(written)) = (&names[..], &echo)
                    && name == written
                {
                    return None;
                }
                self.mark_invalidated(|command| names.contains(command.key()));
                Some(Inbound::Invalidated(names))
            }
            // Null means everything; so does an invalidation that cannot be read.
            [Frame::Bulk(b"invalidate"), ..] => Some(self.on_flushed()),
            _ => None,
        }
    }

    fn on_flushed(&mut self) -> Inbound {
        self.mark_invalidated(|_| true);
        Inbound::Flushed
    }

    fn mark_invalidated(&mut self, concerns: impl Fn(&Command) -> bool) {
        for (assembly, awaited) in self.begun.iter_mut().zip(&self.awaited) {
            if let Awaited::Command(issued, _) = awaited
                && concerns(&issued.command)
            {
                assembly.on_invalidated();
            }
        }
    }

    /// A call was dropped, and so is its place among the replies.
    #[cfg(redcache_mutants)]
    pub(crate) fn drop_slot(&mut self, token: Token) {
        self.awaited.retain(|awaited| match awaited {
            Awaited::Command(issued, _) => issued.token != Some(token),
            Awaited::Shared(_) | Awaited::Ignored | Awaited::Epoch | Awaited::Topology(_) => true,
        });
    }

    fn pop_front(&mut self) -> Option<Awaited> {
        self.begun.pop_front();
        self.asking_answered = false;
        self.overdue = self.overdue.saturating_sub(1);
        self.in_order |= self.awaited.len() <= 1;
        self.awaited.pop_front()
    }

    /// Takes the token and the key of the next command that was issued before `limit` and whose sender still waits. The command
    /// keeps its place in the pipeline.
    pub(crate) fn next_overdue(&mut self, limit: Instant) -> Option<(Token, Key)> {
        if !self.in_order && !mutant!(OverdueByFrontOnly) {
            return self.awaited.iter_mut().find_map(|awaited| match awaited {
                Awaited::Command(issued, _) if issued.issued_at <= limit => {
                    issued.token.take().map(|token| (token, issued.command.key().clone()))
                }
                _ => None,
            });
        }
        while let Some(awaited) = self.awaited.get_mut(self.overdue) {
            let Awaited::Command(issued, _) = awaited else {
                self.overdue += 1;
                continue;
            };
            if issued.issued_at > limit {
                return None;
            }
            self.overdue += 1;
            if let Some(token) = issued.token.take() {
                let key = issued.command.key().clone();
                if mutant!(ReplySlotDroppedOnTimeout) {
                    self.pop_front();
                }
                return Some((token, key));
            }
        }
        None
    }

    /// When the oldest command with a waiting sender was issued.
    pub(crate) fn oldest_issued(&self) -> Option<Instant> {
        let mut waiting =
            self.awaited.iter().skip(self.overdue).filter_map(|awaited| match awaited {
                Awaited::Command(issued, _) => issued.token.map(|_| issued.issued_at),
                _ => None,
            });
        if self.in_order || mutant!(OverdueByFrontOnly) { waiting.next() } else { waiting.min() }
    }

    /// Probes a silent connection; `true` when the probe has gone unanswered and the peer must be taken for dead.
    pub(crate) fn heartbeat(&mut self, now: Instant, interval: Duration) -> bool {
        if now < self.heartbeat_at(interval) || !self.is_ready() {
            return false;
        }
        if self.ping_sent.is_some() {
            if mutant!(SilenceTolerated) {
                self.ping_sent = Some(now);
                return false;
            }
            return true;
        }
        self.coalescer.close(&mut self.out);
        resp::command(&mut self.out, &[b"PING"]);
        self.awaited.push_back(Awaited::Ignored);
        self.ping_sent = Some(now);
        false
    }

    pub(crate) fn heartbeat_at(&self, interval: Duration) -> Instant {
        self.ping_sent.unwrap_or(self.last_inbound) + interval
    }

    /// Takes the command whose answer was being read. If several were to share the answer, none is taken: each is asked
    /// alone the next time, as if it had not been asked yet, so that only the one whose answer is at fault has it again.
    pub(crate) fn take_front(&mut self) -> Option<Issued> {
        match self.pop_front()? {
            Awaited::Command(issued, _) => Some(issued),
            Awaited::Shared(count) => {
                self.groups = self.groups.saturating_sub(1);
                for awaited in self.awaited.iter_mut().take(count) {
                    if let Awaited::Command(issued, _) = awaited {
                        issued.alone = true;
                        issued.attempts = issued.attempts.saturating_sub(1);
                    }
                }
                None
            }
            Awaited::Ignored | Awaited::Epoch | Awaited::Topology(_) => None,
        }
    }

    /// Ends the connection; what it still unanswered goes back to the router.
    pub(crate) fn end(self) -> impl Iterator<Item = Issued> {
        let unheard = self.heard.into_iter().filter_map(|inbound| match inbound {
            Inbound::Reply { issued, .. } => Some(issued),
            _ => None,
        });
        unheard.chain(self.awaited.into_iter().filter_map(|awaited| match awaited {
            Awaited::Command(issued, _) => Some(issued),
            _ => None,
        }))
    }

    /// Bounds what is kept of a frame whose end has not come: the largest value for each command that it answers, and
    /// what surrounds them. The scanner bounds each string, but a frame may hold many.
    fn check_unfinished(&self, length: usize, config: &Config) -> Result<(), CacheError> {
        const SURROUNDINGS: usize = 1 << 20;
        let values = match self.awaited.front() {
            Some(Awaited::Shared(count)) => *count,
            _ => 1,
        };
        if length <= config.value_max.saturating_mul(values).saturating_add(SURROUNDINGS) {
            return Ok(());
        }
        Err(CacheError::new(
            ErrorKind::Protocol,
            "a frame is longer than `value_max` for each value in it and 1 MiB",
        ))
    }
}

fn broken(error: resp::DecodeError) -> CacheError {
    CacheError::new(
        ErrorKind::Protocol,
        format!("{error} (does a Redis without TLS listen on this port?)"),
    )
}

#[cfg(test)]
mod tests;
