//! One server: its connection, the commands that wait for it, and its known faults.

use std::time::{Duration, Instant};

use super::breaker::Breaker;
use super::context::{Context, earliest};
use super::effects::{Effects, RouterEvent};
use super::hello::Hello;
use super::large::LargeLink;
use super::link::Link;
use super::replica::Replica;
use super::reply_window::ReplyWindow;
use super::waiting::Waiting;
use crate::api::config::{Address, Config, Servers};
use crate::api::error::{Error, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;
use crate::protocol::topology::Question;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;
use crate::wire::conn::{Expectation, Overdue};
use crate::wire::issued::Issued;

/// The usual size of the unanswered commands in bytes beyond which further commands wait. The
/// adapter may hold all these bytes in its buffers.
pub(super) const UNANSWERED_MAX: usize = 256 << 20;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    /// Whether the address is known. Under sentinels, it is known once a sentinel has named it.
    pub(super) is_located: bool,
    pub(super) link: Link,
    /// The link for large values, once there was one.
    pub(super) large: Option<Box<LargeLink>>,
    /// The size from which a value is large.
    pub(super) large_from: usize,
    pub(super) breaker: Breaker,
    /// Commands that wait for a ready connection, or for room in it.
    pub(super) waiting: Waiting,
    /// The size of the unanswered commands in bytes beyond which further commands wait.
    pub(super) unanswered_max: usize,
    replies: ReplyWindow,
    pub(super) backoff: Backoff,
    ready_since: Option<Instant>,
    /// The connection has answered a command.
    was_useful: bool,
    /// The server has hung up on a ready connection with unanswered commands.
    blames_command: bool,
    /// Reason why the last attempt to connect failed.
    pub(super) fault: Option<Error>,
    /// Instant of the first of the failed attempts to connect since the last connection. Under
    /// sentinels, an attempt fails too if no sentinel answers.
    pub(super) down_since: Option<Instant>,
    /// A refusal has shown that the server is not ready or not the right one. The connection ends
    /// once its commands are answered.
    questionable: Option<Error>,
    pub(super) replica: Replica,
    /// Whether the server knows `HELLO`.
    pub(super) hello: Hello,
    /// Whether the server has hung up at `HELLO`. The next attempt shows whether the server is
    /// down.
    is_in_doubt: bool,
    /// Reason why the server does not track keys for the connection.
    untracked: Option<String>,
    /// The engine knows of the connection.
    pub(super) is_announced: bool,
    /// The number of slots of the cluster that the node owns.
    pub(super) slots: usize,
    /// The instant until which the node is kept although it owns no slot.
    pub(super) idle_until: Instant,
    /// The command that queries the topology.
    pub(super) question: Question,
}

/// The remains of a lost connection.
#[derive(Debug)]
pub(super) struct Disconnected {
    pub(super) was_ready: bool,
    /// Whether the next attempt shows if the server is down: this one may not know `HELLO`, or
    /// its name has other addresses.
    pub(super) is_in_doubt: bool,
    /// The unanswered commands, oldest first.
    pub(super) unanswered: Vec<Issued>,
}

impl Node {
    pub(super) fn new(now: Instant, address: Address, config: &Config) -> Self {
        Self {
            address,
            is_located: true,
            link: Link::Down { dial_at: now },
            large: None,
            large_from: Some(config.large_value_bytes)
                .filter(|bytes| *bytes > 0)
                .unwrap_or(usize::MAX),
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            waiting: Waiting::default(),
            unanswered_max: UNANSWERED_MAX,
            replies: ReplyWindow::default(),
            backoff: Backoff::new(config.reconnect_delay_max),
            ready_since: None,
            was_useful: false,
            blames_command: false,
            fault: None,
            down_since: None,
            questionable: None,
            replica: Replica::default(),
            hello: Hello::UNKNOWN,
            is_in_doubt: false,
            untracked: None,
            is_announced: false,
            slots: 0,
            idle_until: now,
            // `CLUSTER SHARDS` reports the port without TLS first.
            question: if config.tls().is_some() { Question::Slots } else { Question::Shards },
        }
    }

    /// Return the reason why a command cannot be sent now. `waiting` commands wait elsewhere.
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        command: &Command,
        waiting: usize,
        config: &Config,
    ) -> Option<Error> {
        let is_refused = mutant!(FullRefused) && self.link.is_ready() && !self.has_room();
        if self.in_flight() + waiting >= config.inflight_max || is_refused {
            return Some(Error::new(ErrorKind::Overloaded, "the limit is `inflight_max`"));
        }
        // A lock that is not released would outlast the outage.
        if command.releases_lock() {
            return self.fault.clone().filter(|fault| !self.is_ready() && is_lasting(fault));
        }
        if let Some(fault) = self.outage(now, config) {
            return Some(fault);
        }
        if self.breaker.allows(now) { None } else { Some(self.resting(config)) }
    }

    /// Return the reason if the server is known to be down, so that commands need not wait for it.
    ///
    /// A standalone server is down once an attempt to connect has failed. Another node may replace
    /// a server of a cluster or behind sentinels, so that server has `command_timeout` to come
    /// back.
    pub(super) fn outage(&self, now: Instant, config: &Config) -> Option<Error> {
        let fault = self.fault.as_ref().filter(|_| !self.is_ready())?;
        let grace = match config.servers {
            Servers::None | Servers::One(_) => Duration::ZERO,
            Servers::Cluster { .. } | Servers::Sentinel { .. } => config.command_timeout,
        };
        let is_down = self.down_since.is_some_and(|since| since + grace <= now);
        (is_down || is_lasting(fault)).then(|| fault.clone())
    }

    /// Return whether commands are rejected because too many went unanswered.
    pub(super) fn is_resting(&self) -> bool {
        self.breaker.is_open()
    }

    fn resting(&self, config: &Config) -> Error {
        let reason =
            self.fault.as_ref().map_or_else(String::new, |fault| format!(", last: {fault}"));
        let (failures, pause) = (config.breaker_failures, config.breaker_pause);
        let text = format!(
            "{failures} commands in a row went unanswered, next try within {pause:?}{reason}"
        );
        Error::new(ErrorKind::Unavailable, text)
    }

    /// Send a command, or let it wait.
    pub(super) fn send(&mut self, now: Instant, mut issued: Issued, locks: &LockSettings) {
        if self.takes_large(now, &mut issued) {
            return self.send_large(now, issued, locks);
        }
        let has_room = self.has_room() || self.takes_release(&issued);
        let passes = has_room && self.waiting.lets_pass(&issued);
        match self.link.ready_mut() {
            Some(conn) if passes => conn.send(now, issued, locks),
            Some(_) | None => self.waiting.push(issued),
        }
    }

    /// Return whether the connection accepts another command.
    pub(super) fn has_room(&self) -> bool {
        let open = self.link.open().filter(|_| self.questionable.is_none());
        open.is_some_and(|(_, conn)| {
            conn.unanswered() < self.unanswered_max && self.replies.has_room(conn.awaited())
                || mutant!(UnansweredUnbounded)
        })
    }

    /// Return whether the command releases a lock on a connection that is about to be left. The
    /// server has granted the lock, so it is asked once to release it.
    pub(super) fn takes_release(&self, issued: &Issued) -> bool {
        let is_release = issued.command.releases_lock() && issued.last_refusal.is_none();
        let open = self.link.open().filter(|_| is_release && self.questionable.is_some());
        open.is_some_and(|(_, conn)| conn.unanswered() < self.unanswered_max)
            && !mutant!(QuestionableKeepsLock)
    }

    /// Return what is known of the server that the next handshake is with.
    pub(super) fn expectation(&self, now: Instant, config: &Config) -> Expectation {
        let is_named_by_sentinel = is_named_by_sentinel(config);
        // Only the reply to `HELLO` contains the role.
        let without_hello = self.hello.is_skipped() && !is_named_by_sentinel;
        let needs_primary =
            self.replica.is_rejected(now) || (is_named_by_sentinel && !mutant!(RoleUnchecked));
        Expectation { without_hello, needs_primary }
    }

    /// Handle a hang-up of the server. Any of its unanswered commands may be the cause.
    pub(super) fn on_hang_up(&mut self, config: &Config) {
        if let Some((_, conn)) = self.link.open_mut() {
            conn.on_hang_up();
            self.blames_command = conn.is_ready() && conn.awaited() > 0;
            self.replies.on_hang_up(conn.awaited());
        }
        self.is_in_doubt = self.link.is_at_hello() && !is_named_by_sentinel(config);
        if self.is_in_doubt {
            self.hello.on_hang_up();
        } else if self.link.open().is_some() {
            self.hello.on_lost();
        }
    }

    /// Close a connection that omitted `HELLO`, to test whether the server knows `HELLO`.
    pub(super) fn verify_hello(&mut self, now: Instant) {
        if self.is_ready() && self.hello.verify_at().is_some_and(|at| at <= now) {
            let text = format!("{}: the next connection tries HELLO again", self.address);
            self.question(Error::new(ErrorKind::Unavailable, text));
            self.hello.on_verify();
        }
    }

    /// Leave the connection once its commands are answered: a refusal has shown that the server is
    /// not ready or not the right one.
    pub(super) fn question(&mut self, reason: Error) {
        self.questionable.get_or_insert(reason);
    }

    /// Return the reason why the connection is to be left, once its commands are answered.
    pub(super) fn to_leave(&self) -> Option<Error> {
        let is_answered = self.link.open().is_some_and(|(_, conn)| conn.awaited() == 0)
            && self.large.as_ref().is_none_or(|large| large.is_answered());
        self.questionable.clone().filter(|_| is_answered)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.link.is_ready() && self.questionable.is_none()
    }

    /// Change the address of the server, and dial it at once.
    pub(super) fn relocate(&mut self, now: Instant, address: Address) {
        self.address = address;
        self.is_located = true;
        self.backoff.reset();
        self.link = Link::Down { dial_at: now };
    }

    /// Return whether the server may be unreachable.
    pub(super) fn is_in_trouble(&self) -> bool {
        !self.is_ready() && self.fault.is_some()
    }

    /// Return whether the server tracks the keys that the connection reads.
    pub(super) fn is_tracked(&self) -> bool {
        (self.untracked.is_none() || mutant!(UntrackedTrusted)) && self.link.is_ready()
    }

    /// Return the number of commands that wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.in_flight());
        self.link.open().map_or(0, |(_, conn)| conn.awaited()) + self.waiting.len() + large
    }

    pub(super) fn on_ready(&mut self, ctx: Context<'_>, untracked: Option<String>, rng: &mut Rng) {
        self.breaker.on_answer(ctx.now);
        self.ready_since = Some(ctx.now);
        self.was_useful = false;
        self.replica.on_ready(ctx.now);
        self.fault = None;
        self.down_since = None;
        self.hello.on_ready(ctx.now, ctx.config.reconnect_delay_max);
        self.untracked = untracked;
        if let Some((_, conn)) = self.link.open_mut() {
            conn.on_logged_in(ctx.now, true, rng);
        }
    }

    /// Record the answer to a command that was unanswered at so many hang-ups.
    pub(super) fn on_answer(&mut self, now: Instant, reply: &Reply, hang_ups: u8) {
        self.breaker.on_answer(now);
        self.replies.on_answer(now, reply.value_len(), hang_ups);
        if reply.has_written() {
            self.replica.on_written();
        }
        self.was_useful |= !matches!(reply, Reply::Refused(_)) && !self.replica.is_doubted();
    }

    /// Return the event that announces the ready connection.
    pub(super) fn announce(&mut self, slots: SlotSet) -> RouterEvent {
        self.is_announced = true;
        RouterEvent::Up { address: self.address.clone(), untracked: self.untracked.clone(), slots }
    }

    /// Give the connection up, to dial again after a pause, or at once if the host name
    /// `has_others`, addresses that were not tried.
    pub(super) fn on_disconnect(
        &mut self,
        now: Instant,
        (reason, has_others): (&Error, bool),
        rng: &mut Rng,
    ) -> Disconnected {
        if let Some(since) = self.ready_since.take() {
            self.backoff.on_lost(now.saturating_duration_since(since), self.was_useful);
        }
        if std::mem::take(&mut self.blames_command) {
            self.backoff.on_command_blamed();
        }
        let dial_at = if has_others { now } else { now + self.backoff.pause(rng) };
        let (unanswered, was_ready) = self.link.on_disconnect(dial_at);
        self.waiting.on_disconnect();
        self.questionable = None;
        let is_in_doubt = std::mem::take(&mut self.is_in_doubt) || has_others;
        if !is_in_doubt {
            // One malformed reply of a ready server does not count as an outage.
            let counts = !was_ready || !is_lasting(reason);
            self.fault = counts.then(|| reason.clone());
            if !was_ready {
                self.down_since.get_or_insert(now);
            }
        }
        self.is_announced = false;
        Disconnected { was_ready, is_in_doubt, unanswered }
    }

    /// Hang up. The unanswered commands join the queue.
    pub(super) fn hang_up(&mut self, effects: &mut Effects) {
        for issued in self.link.hang_up(effects) {
            self.waiting.push(issued);
        }
        self.hang_up_large(effects);
    }

    /// Report the commands that were issued at `limit` or before and whose sender still waits.
    pub(super) fn report_overdue(&mut self, now: Instant, limit: Instant, effects: &mut Effects) {
        while let Some(overdue) = self.next_overdue(limit)
            && !mutant!(OverdueNever)
        {
            let Overdue { token, command, issued_at, last_refusal } = overdue;
            self.breaker.on_failure(now, issued_at);
            effects.events.push_back(RouterEvent::Overdue { token, command, last_refusal });
        }
        while let Some(issued) = self.pop_until(limit) {
            if issued.token.is_some() {
                self.breaker.on_failure(now, issued.issued_at);
                effects.fail(issued, self.unavailable());
            }
        }
    }

    fn unavailable(&self) -> Error {
        if self.is_ready() && self.has_room() {
            let text = "earlier commands are unanswered";
            return Error::new(ErrorKind::Timeout, text);
        }
        if self.is_ready() {
            let text = "the server did not take what is sent within `command_timeout`";
            return Error::new(ErrorKind::Overloaded, text);
        }
        let no_answer =
            || Error::new(ErrorKind::Unavailable, "no connection within `command_timeout`");
        self.fault.clone().unwrap_or_else(no_answer)
    }

    /// Return the earliest deadline. `redials` is `true` if a lost connection will be replaced.
    pub(super) fn poll_timeout(&self, redials: bool, config: &Config) -> Option<Instant> {
        let queued = self.waiting.first_at().map(|issued_at| issued_at + config.command_timeout);
        let link = earliest(self.link.poll_timeout(redials && self.is_located, config), queued);
        let link = earliest(link, self.poll_large(redials, config));
        earliest(link, self.hello.verify_at().filter(|_| redials && self.is_ready()))
    }
}

fn is_named_by_sentinel(config: &Config) -> bool {
    matches!(config.servers, Servers::Sentinel { .. })
}

/// Return whether a fault will last longer than a call: a refused login, a wrong setting, or a port
/// that is not Redis.
pub(super) fn is_lasting(fault: &Error) -> bool {
    matches!(fault.kind(), ErrorKind::Authentication | ErrorKind::Config | ErrorKind::Protocol)
}
