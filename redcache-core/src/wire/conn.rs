//! One connection: commands out in order, replies and pushes in.

use std::time::{Duration, Instant};

use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::key::Key;
use crate::protocol::command::Token;
use crate::protocol::lock::LockSettings;
use crate::protocol::topology::Question;
use crate::resp::{self, Frame, Limits};
use crate::wire::framing::{Framing, broken};
use crate::wire::inbound::{Inbound, Input};
use crate::wire::issued::Issued;

mod awaited;
mod coalesce;
mod handshake;
mod heartbeat;
mod pipeline;
mod replies;
mod scripts;

use handshake::{Handshake, Next};
use heartbeat::{Heartbeat, Pulse};
use pipeline::Pipeline;

/// A connection that the adapter has made.
#[derive(Debug)]
pub(super) struct Conn {
    phase: Phase,
    framing: Framing,
    pipeline: Pipeline,
    heartbeat: Heartbeat,
}

#[derive(Debug)]
enum Phase {
    Handshake(Handshake),
    Ready,
}

impl Conn {
    /// Begin the handshake on a new connection.
    pub(super) fn open(now: Instant, config: &Config) -> Self {
        let mut pipeline = Pipeline::new(!config.servers.is_cluster());
        let handshake = Handshake::start(config, &mut pipeline.out);
        // A value has an envelope around it, and the topology of a cluster is text of its own.
        let topology_max = if config.servers.is_cluster() { 16 << 10 } else { 0 };
        let bulk_max = config.value_max.saturating_add(64).max(topology_max);
        Self {
            phase: Phase::Handshake(handshake),
            framing: Framing::new(Limits { bulk_max, ..Limits::default() }),
            pipeline,
            heartbeat: Heartbeat::new(now),
        }
    }

    /// Return whether the handshake is complete.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Return whether the server has not said a word yet.
    pub(super) fn awaits_first_reply(&self) -> bool {
        matches!(self.phase, Phase::Handshake(Handshake::Hello))
    }

    /// Return how many requests wait for their reply.
    pub(super) fn awaited(&self) -> usize {
        self.pipeline.awaited.len()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.pipeline.unwritten()
    }

    /// Swap the bytes to write with an empty buffer. Return `false` when there are none.
    pub(super) fn take_transmit(&mut self, into: &mut Vec<u8>) -> bool {
        self.pipeline.take_transmit(into)
    }

    /// Append a command. The connection must be ready.
    pub(super) fn send(&mut self, now: Instant, issued: Issued, locks: &LockSettings) {
        debug_assert!(
            self.is_ready() || mutant!(HandshakeNotGated),
            "commands wait for the handshake"
        );
        self.pipeline.send(now, issued, locks);
    }

    /// Ask what the node knows of its cluster. The connection must be ready.
    pub(super) fn ask_topology(&mut self, question: Question) {
        debug_assert!(self.is_ready(), "questions wait for the handshake");
        self.pipeline.ask_topology(question);
    }

    /// Return the next message of the server; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// The connection must be dropped: its bytes are malformed or its handshake failed.
    pub(super) fn next(
        &mut self,
        now: Instant,
        input: &mut Input<'_>,
        config: &Config,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        self.heartbeat.on_inbound(now);
        if let Some(inbound) = self.pipeline.ready.pop_front() {
            return Ok(Some(inbound));
        }
        let Self { phase, framing, pipeline, .. } = self;
        loop {
            let unfinished_max = config.value_max.saturating_mul(pipeline.values_max());
            let Some(bytes) = framing.next(input, unfinished_max)? else { return Ok(None) };
            let frame = resp::decode(bytes).map_err(broken)?;
            if let Some(inbound) = phase.on_frame(now, &frame, pipeline, (config, locks))? {
                return Ok(Some(inbound));
            }
        }
    }

    /// Drop the place of a command among the replies.
    #[cfg(redcache_mutants)]
    pub(super) fn drop_slot(&mut self, token: Token) {
        self.pipeline.awaited.drop_slot(token);
    }

    /// Return the next command that was issued at `limit` or before and whose sender still waits.
    /// The command keeps its place in the pipeline.
    pub(super) fn next_overdue(&mut self, limit: Instant) -> Option<(Token, Key)> {
        self.pipeline.next_overdue(limit)
    }

    /// Return the time of issue of the oldest command with a waiting sender.
    pub(super) fn oldest_issued(&self) -> Option<Instant> {
        self.pipeline.awaited.oldest_issued()
    }

    /// Probe a silent connection. Return `true` when the server must be taken for dead.
    pub(super) fn heartbeat(&mut self, now: Instant, interval: Duration) -> bool {
        if !self.is_ready() {
            return false;
        }
        match self.heartbeat.check(now, interval) {
            Pulse::Alive => false,
            Pulse::Probe => {
                self.pipeline.ping();
                false
            }
            Pulse::Dead => true,
        }
    }

    pub(super) fn heartbeat_at(&self, interval: Duration) -> Instant {
        self.heartbeat.due_at(interval)
    }

    /// Remove the command whose reply was being read when the stream broke.
    pub(super) fn take_front(&mut self) -> Option<Issued> {
        self.pipeline.take_front()
    }

    /// End the connection. Return the unanswered commands, oldest first.
    pub(super) fn end(self) -> impl Iterator<Item = Issued> {
        self.pipeline.end()
    }
}

impl Phase {
    fn on_frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        pipeline: &mut Pipeline,
        (config, locks): (&Config, &LockSettings),
    ) -> Result<Option<Inbound>, Error> {
        let keeps_echo = mutant!(EchoSwallowsInvalidation);
        let echo = if keeps_echo { pipeline.echo.clone() } else { pipeline.echo.take() };
        let is_ready = matches!(self, Self::Ready);
        if mutant!(PushTakenForReply) && !pipeline.awaited.is_empty() && is_ready {
            return pipeline.on_reply(now, frame, locks);
        }
        if let Frame::Push(elements) = frame {
            return Ok(pipeline.on_push(elements, echo));
        }
        let Self::Handshake(handshake) = self else { return pipeline.on_reply(now, frame, locks) };
        match handshake.on_reply(frame, config, &mut pipeline.out) {
            Next::Wait(next) => {
                *handshake = next;
                Ok(None)
            }
            Next::Ready { untracked, ignored } => {
                *self = Self::Ready;
                pipeline.ignore(ignored);
                Ok(Some(Inbound::Ready { untracked }))
            }
            Next::Fail(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
