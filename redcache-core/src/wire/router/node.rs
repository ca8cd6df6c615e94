//! One server: its connection, the commands that wait for it, and whether the server is worth
//! asking.

use std::time::Instant;

use super::breaker::Breaker;
use super::context::{Context, earliest};
use super::effects::{Effects, RouterEvent};
use super::id::ConnId;
use super::link::Link;
use super::queue::Queue;
use crate::api::config::{Address, Config};
use crate::api::error::{Error, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;
use crate::protocol::topology::Question;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;
use crate::wire::issued::Issued;

/// How many bytes may wait to be written before further commands are refused.
const UNWRITTEN_MAX: usize = 256 << 20;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    /// The address is known. With sentinels, that is once one has named it.
    pub(super) is_located: bool,
    pub(super) link: Link,
    breaker: Breaker,
    /// Commands that wait for a ready connection.
    pub(super) queue: Queue,
    backoff: Backoff,
    ready_since: Option<Instant>,
    /// The connection has answered a command.
    was_useful: bool,
    /// Reason why the last attempt to connect failed.
    pub(super) fault: Option<Error>,
    /// Reason why the server does not track keys for the connection.
    untracked: Option<String>,
    /// The engine knows of the connection.
    pub(super) is_announced: bool,
    /// How many slots of the cluster the node owns.
    pub(super) slots: usize,
    /// Until then the node is kept although it owns no slot.
    pub(super) idle_until: Instant,
    /// How to ask for the topology.
    pub(super) question: Question,
}

/// The remains of a lost connection.
#[derive(Debug)]
pub(super) struct Disconnected {
    pub(super) was_ready: bool,
    /// Oldest first.
    pub(super) unanswered: Vec<Issued>,
}

impl Node {
    pub(super) fn new(now: Instant, address: Address, config: &Config) -> Self {
        Self {
            address,
            is_located: true,
            link: Link::Down { dial_at: now },
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            queue: Queue::default(),
            backoff: Backoff::new(config.reconnect_delay_max),
            ready_since: None,
            was_useful: false,
            fault: None,
            untracked: None,
            is_announced: false,
            slots: 0,
            idle_until: now,
            // `CLUSTER SHARDS` tells the port without TLS first.
            question: if config.tls().is_some() { Question::Slots } else { Question::Shards },
        }
    }

    /// Return why a command cannot be sent now. `waiting` commands wait elsewhere.
    pub(super) fn refusal(
        &mut self,
        now: Instant,
        command: &Command,
        waiting: usize,
        config: &Config,
    ) -> Option<Error> {
        if self.in_flight() + waiting >= config.inflight_max {
            return Some(Error::new(ErrorKind::Overloaded, "the limit is `inflight_max`"));
        }
        if self.link.open().is_some_and(|(_, conn)| conn.unwritten() > UNWRITTEN_MAX) {
            let text = "the server does not read what is sent";
            return Some(Error::new(ErrorKind::Overloaded, text));
        }
        if let Some(fault) = self.fault.as_ref().filter(|fault| is_lasting(fault))
            && !self.is_ready()
        {
            return Some(fault.clone());
        }
        // A lock that is not released would outlast the server's trouble.
        let passes = command.releases_lock() || self.breaker.allows(now);
        if passes { None } else { Some(self.resting(config)) }
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

    pub(super) fn send(&mut self, now: Instant, issued: Issued, locks: &LockSettings) {
        match self.link.ready_mut() {
            Some(conn) => conn.send(now, issued, locks),
            None => self.queue.push(issued),
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.link.is_ready()
    }

    /// Move to another address, which is dialed at once.
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
        (self.untracked.is_none() || mutant!(UntrackedTrusted)) && self.is_ready()
    }

    /// Return how many commands wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.link.open().map_or(0, |(_, conn)| conn.awaited()) + self.queue.len()
    }

    pub(super) fn on_ready(&mut self, ctx: Context<'_>, untracked: Option<String>, rng: &mut Rng) {
        self.breaker.on_answer();
        self.ready_since = Some(ctx.now);
        self.was_useful = false;
        self.fault = None;
        self.untracked = untracked;
        if let Some((_, conn)) = self.link.open_mut() {
            conn.on_logged_in(ctx.now, true, rng);
            for issued in self.queue.take() {
                conn.send(ctx.now, issued, ctx.lock_settings);
            }
        }
    }

    pub(super) fn on_answer(&mut self, reply: &Reply) {
        self.breaker.on_answer();
        self.was_useful |= !matches!(reply, Reply::Refused(_));
    }

    /// Return the event that announces the ready connection.
    pub(super) fn announce(&mut self, slots: SlotSet) -> RouterEvent {
        self.is_announced = true;
        RouterEvent::Up { address: self.address.clone(), untracked: self.untracked.clone(), slots }
    }

    /// Give the connection up, to dial again after a pause.
    pub(super) fn on_disconnect(
        &mut self,
        now: Instant,
        reason: &Error,
        rng: &mut Rng,
    ) -> Disconnected {
        if let Some(since) = self.ready_since.take() {
            self.backoff.on_lost(now.saturating_duration_since(since), self.was_useful);
        }
        let dial_at = now + self.backoff.pause(rng);
        let (unanswered, was_ready) = self.link.on_disconnect(dial_at);
        // One malformed reply does not condemn a server that was ready.
        let counts = !was_ready || !is_lasting(reason);
        self.fault = counts.then(|| reason.clone());
        self.is_announced = false;
        Disconnected { was_ready, unanswered }
    }

    /// Hang up. The unanswered commands join the queue.
    pub(super) fn hang_up(&mut self, effects: &mut Effects) {
        for issued in self.link.hang_up(effects) {
            self.queue.push(issued);
        }
    }

    /// Report the commands that were issued at `limit` or before and whose sender still waits.
    pub(super) fn report_overdue(&mut self, now: Instant, limit: Instant, effects: &mut Effects) {
        if let Some((_, conn)) = self.link.open_mut() {
            while let Some((token, command)) = conn.next_overdue(limit)
                && !mutant!(OverdueNever)
            {
                self.breaker.on_failure(now);
                effects.events.push_back(RouterEvent::Overdue { token, command });
            }
        }
        while let Some(issued) = self.queue.pop_until(limit) {
            if issued.token.is_some() {
                self.breaker.on_failure(now);
                effects.fail(issued, self.unavailable());
            }
        }
    }

    fn unavailable(&self) -> Error {
        let no_answer =
            || Error::new(ErrorKind::Unavailable, "no connection within `command_timeout`");
        self.fault.clone().unwrap_or_else(no_answer)
    }

    /// Return when something is due; `redials` is whether a new connection will be wanted.
    pub(super) fn poll_timeout(&self, redials: bool, config: &Config) -> Option<Instant> {
        let queued = self.queue.first_at().map(|issued_at| issued_at + config.command_timeout);
        earliest(self.link.poll_timeout(redials && self.is_located, config), queued)
    }

    /// Return the connection if it has bytes to write.
    pub(super) fn transmits(&self) -> Option<ConnId> {
        self.link.open().filter(|(_, conn)| conn.unwritten() > 0).map(|(id, _)| id)
    }
}

/// Return whether a fault will last longer than a call: a refused login, or a port that is not
/// Redis.
pub(super) fn is_lasting(fault: &Error) -> bool {
    matches!(fault.kind(), ErrorKind::Authentication | ErrorKind::Protocol)
}
