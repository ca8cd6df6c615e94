//! One connection: commands out in order, replies and pushes in.

use std::time::{Duration, Instant};

use crate::api::config::Config;
use crate::api::credentials::Credentials;
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
#[cfg(redcache_mutants)]
use crate::protocol::command::Token;
use crate::protocol::lock::LockSettings;
use crate::protocol::topology::Question;
use crate::resp::{Frame, Limits};
use crate::rng::Rng;
use crate::wire::framing::{Framing, bulk_max};
use crate::wire::inbound::Inbound;
use crate::wire::input::Input;
use crate::wire::issued::Issued;
use crate::wire::login::{Login, Question as LoginQuestion};

mod awaited;
mod coalesce;
mod greeting;
mod handshake;
mod heartbeat;
mod native;
mod piecewise;
mod pipeline;
mod publications;
mod replies;
mod scripts;
mod transaction;
mod trips;

pub(super) use awaited::Overdue;
pub(super) use handshake::Expectation;
use handshake::{Handshake, Next, TLS_ALERT, spoke_first};
use heartbeat::{Heartbeat, Pulse};
use pipeline::Pipeline;

/// A connection that the adapter has established.
#[derive(Debug)]
pub(super) struct Conn {
    phase: Phase,
    expected: Expectation,
    login: Login,
    /// The credentials of the provider, until the end of the handshake.
    credentials: Option<Credentials>,
    framing: Framing,
    pipeline: Pipeline,
    heartbeat: Heartbeat,
}

#[derive(Debug)]
enum Phase {
    /// The connection waits for the provider's credentials before it sends anything.
    Credentials,
    /// The handshake, with the reason why the server does not track keys, if it is already known.
    Handshake(Handshake, Option<String>),
    Ready,
}

impl Conn {
    /// Begin the handshake on a new connection.
    pub(super) fn open(now: Instant, expected: Expectation, config: &Config) -> Self {
        let mut pipeline = Pipeline::new(!config.servers.is_cluster());
        let phase = match &config.provider {
            Some(_) => Phase::Credentials,
            None => Phase::start(expected, (config, None), &mut pipeline.out),
        };
        Self {
            phase,
            expected,
            login: Login::new(now, config.provider.is_some(), config.reconnect_delay_max),
            credentials: None,
            framing: Framing::new(Limits::default()),
            pipeline,
            heartbeat: Heartbeat::new(now),
        }
    }

    /// Return whether the handshake is complete.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Return the request to the credentials provider, if one is due.
    pub(super) fn ask_credentials(
        &mut self,
        now: Instant,
        timeout: Duration,
        rng: &mut Rng,
    ) -> Option<LoginQuestion> {
        self.login.ask(now, timeout, rng)
    }

    /// Return the instant at which the next [`ask_credentials`](Self::ask_credentials) is due.
    pub(super) fn credentials_due_at(&self) -> Option<Instant> {
        self.login.due_at()
    }

    /// Return whether the handshake waits for the credentials provider.
    pub(super) fn awaits_credentials(&self) -> bool {
        matches!(self.phase, Phase::Credentials)
    }

    /// Handle the provider's answer to a request. An answer that is not awaited is ignored.
    ///
    /// # Errors
    ///
    /// Fails if there are no credentials for the handshake. The connection must be dropped then.
    pub(super) fn on_credentials(
        &mut self,
        (now, config): (Instant, &Config),
        number: u64,
        answer: Result<Credentials, String>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        if !self.login.awaits(number) {
            return Ok(());
        }
        match answer {
            Ok(credentials) => {
                self.login.on_credentials(now, &credentials);
                match self.phase {
                    Phase::Credentials => {
                        let login = (config, Some(&*self.credentials.insert(credentials)));
                        self.phase = Phase::start(self.expected, login, &mut self.pipeline.out);
                    }
                    // The provider is called before a handshake or after it.
                    Phase::Handshake(..) => {}
                    Phase::Ready => self.pipeline.log_in(&credentials),
                }
            }
            Err(_) if self.is_ready() => self.login.on_failure(now, rng),
            Err(text) => {
                let text = format!("the credentials provider failed: {text}");
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
        }
        Ok(())
    }

    /// Handle the server's answer to a login.
    pub(super) fn on_logged_in(&mut self, now: Instant, is_accepted: bool, rng: &mut Rng) {
        self.credentials = None;
        self.login.on_answered(now, is_accepted, rng);
    }

    /// Return whether the server may have hung up because it does not know `HELLO` or `CLIENT`.
    pub(super) fn is_at_hello(&self) -> bool {
        matches!(&self.phase, Phase::Handshake(handshake, _) if handshake.may_be_unknown())
    }

    /// Return whether the server has not answered yet.
    pub(super) fn is_unanswered(&self) -> bool {
        !self.is_ready() && !self.heartbeat.has_heard()
    }

    /// Return the number of requests that wait for their reply.
    pub(super) fn awaited(&self) -> usize {
        self.pipeline.awaited.len()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.pipeline.unwritten()
    }

    /// Return the size of the unanswered commands in bytes.
    pub(super) fn unanswered(&self) -> usize {
        self.pipeline.unanswered()
    }

    /// Swap the bytes to write with an empty buffer. Return `false` if there are none.
    pub(super) fn take_transmit(&mut self, into: &mut Vec<u8>) -> bool {
        self.pipeline.take_transmit(into)
    }

    /// Return whether a command of the key has no reply, or one that is not handled yet.
    pub(super) fn awaits(&self, key: &Key) -> bool {
        self.pipeline.awaits(key)
    }

    /// Carry large values: batch nothing, and read in pieces.
    pub(super) fn carry_large(&mut self, config: &Config) {
        self.pipeline.carry_large(config);
    }

    /// Append a command. The connection must be ready.
    pub(super) fn send(&mut self, now: Instant, issued: Issued, locks: &LockSettings) {
        debug_assert!(
            self.is_ready() || mutant!(HandshakeNotGated),
            "commands wait for the handshake"
        );
        self.pipeline.send(now, issued, locks);
    }

    /// Query the topology from the node. The connection must be ready.
    pub(super) fn ask_topology(&mut self, question: Question) {
        debug_assert!(self.is_ready(), "questions wait for the handshake");
        self.pipeline.ask_topology(question);
    }

    /// Return the next message of the server; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// Fails if the connection must be dropped: the bytes are malformed or the handshake failed.
    pub(super) fn next(
        &mut self,
        now: Instant,
        input: &mut Input<'_>,
        config: &Config,
        locks: &LockSettings,
    ) -> Result<Option<Inbound>, Error> {
        if let Some(inbound) = self.pipeline.ready.pop_front() {
            return Ok(Some(inbound));
        }
        if self.is_unanswered() && self.framing.is_empty() && input.is_at(TLS_ALERT) {
            let text = "the server speaks TLS on this port: connect with `rediss://`";
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        let Self { phase, login, credentials, framing, pipeline, heartbeat, expected: _ } = self;
        loop {
            let max = pipeline.frame_max(bulk_max(config));
            let Some(framed) = framing.next(input, max, pipeline.room())? else {
                pipeline.owner = None;
                if let Some(length) = framing.length_of_unfinished_reply() {
                    heartbeat.on_part_of_reply(now, length);
                    pipeline.trips.on_message(now, length);
                }
                return Ok(None);
            };
            let frame = pipeline.on_framed(now, &framed)?;
            heartbeat.on_frame(now, &frame);
            match phase.on_frame(now, &frame, pipeline, (config, credentials.as_ref(), locks)) {
                Ok(None) => {}
                Ok(Some(inbound)) => return Ok(Some(inbound)),
                Err(error)
                    if error.kind() == ErrorKind::Authentication && login.may_ask_again() =>
                {
                    *phase = Phase::Credentials;
                    return Ok(Some(Inbound::LoginRefused));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Drop the entry of a command in the queue of replies.
    #[cfg(redcache_mutants)]
    pub(super) fn drop_slot(&mut self, token: Token) {
        self.pipeline.awaited.drop_slot(token);
    }

    /// Return the next command that was issued at `limit` or before and whose sender still waits.
    /// The command keeps its place in the pipeline.
    pub(super) fn next_overdue(&mut self, limit: Instant) -> Option<Overdue> {
        self.pipeline.next_overdue(limit)
    }

    /// Return the time of issue of the oldest command with a waiting sender.
    pub(super) fn oldest_issued(&self) -> Option<Instant> {
        self.pipeline.awaited.oldest_issued()
    }

    /// Probe a silent connection. Return `true` if the server counts as dead.
    pub(super) fn heartbeat(&mut self, now: Instant, interval: Duration) -> bool {
        if !self.is_ready() {
            return false;
        }
        match self.heartbeat.check(now, interval) {
            Pulse::Alive => false,
            Pulse::Probe => {
                self.pipeline.ping(now);
                false
            }
            Pulse::Dead => true,
        }
    }

    /// Return the instant at which the last request was sent, if every request is answered. The
    /// freshness bound of the connection is then that instant.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.pipeline.fresh_as_of.filter(|_| self.pipeline.awaited.is_empty())
    }

    /// Send a request whose answer raises the freshness bound.
    pub(super) fn probe(&mut self, now: Instant) {
        self.pipeline.ping(now);
    }

    /// Record that the server accepts the bytes that are written.
    pub(super) fn on_written(&mut self, now: Instant) {
        self.heartbeat.on_written(now);
    }

    pub(super) fn heartbeat_at(&self, interval: Duration) -> Instant {
        self.heartbeat.due_at(interval)
    }

    /// Return the instant at which the entries of this connection were known to be current: the
    /// instant at which the latest answered command entered the pipeline.
    pub(super) fn fresh_as_of(&self) -> Option<Instant> {
        self.pipeline.fresh_as_of
    }

    /// Take the instant at which the latest request was sent that was answered after a round trip.
    pub(super) fn take_trip(&mut self) -> Option<Instant> {
        self.pipeline.trips.take()
    }

    /// Return the latest instant at which the server counts as dead without a further sign of life.
    pub(super) fn dead_at(&self, interval: Duration) -> Instant {
        self.heartbeat.dead_at(interval)
    }

    /// Record that the server has hung up.
    pub(super) fn on_hang_up(&mut self) {
        self.pipeline.unanswered_commands().for_each(Issued::on_hang_up);
    }

    /// Record that the server does not read the unanswered commands.
    pub(super) fn on_unread(&mut self) {
        self.pipeline.unanswered_commands().for_each(|issued| issued.unread = true);
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
    fn start(
        expected: Expectation,
        login: (&Config, Option<&Credentials>),
        out: &mut Vec<u8>,
    ) -> Self {
        let (handshake, untracked) = Handshake::start(expected, login, out);
        Self::Handshake(handshake, untracked)
    }

    fn on_frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        pipeline: &mut Pipeline,
        (config, given, locks): (&Config, Option<&Credentials>, &LockSettings),
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
        let (handshake, untracked) = match self {
            Self::Ready => return pipeline.on_reply(now, frame, locks),
            Self::Handshake(handshake, untracked) => (handshake, untracked),
            Self::Credentials => return Err(spoke_first(frame)),
        };
        if mutant!(BoundOfNextConnection) {
            pipeline.fresh_as_of = Some(now);
        }
        if handshake.is_hello() {
            pipeline.on_greeting(frame);
        }
        match handshake.on_reply(frame, (config, given), &mut pipeline.out) {
            Next::Wait(next) => {
                *handshake = next;
                Ok(None)
            }
            Next::Untracked(next, why) => {
                *handshake = next;
                untracked.get_or_insert(why);
                Ok(None)
            }
            Next::Ready { ignored } => {
                let untracked = untracked.take();
                *self = Self::Ready;
                let is_tracked = untracked.is_none();
                let keeps_copies = is_tracked && config.near_cache_bytes > 0;
                pipeline.on_ready(ignored, (is_tracked, keeps_copies));
                Ok(Some(Inbound::Ready { untracked }))
            }
            Next::Fail(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
