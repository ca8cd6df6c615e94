//! One server: the connection to it, what waits for that, and whether it is worth asking.

use std::collections::VecDeque;
use std::time::Instant;

use super::breaker::Breaker;
use super::{Action, ConnId, Effects, RouterEvent, earliest};
use crate::api::config::{Address, Config};
use crate::api::error::{Error, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;
use crate::protocol::topology::Question;
use crate::rng::Rng;
use crate::wire::backoff::Backoff;
use crate::wire::conn::Conn;
use crate::wire::inbound::{Inbound, Input};
use crate::wire::issued::Issued;

/// How many bytes may wait to be written before further commands are refused.
const UNWRITTEN_MAX: usize = 256 << 20;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    link: Link,
    breaker: Breaker,
    /// Commands that wait for a ready connection, oldest first.
    queue: VecDeque<Issued>,
    backoff: Backoff,
    ready_since: Option<Instant>,
    /// Why the last attempt to connect failed.
    fault: Option<Error>,
    /// Why the server does not report changes on the connection, if it does not.
    untracked: Option<String>,
    /// The engine was told that the connection is ready.
    pub(super) is_announced: bool,
    /// How many slots of the cluster it owns.
    pub(super) slots: usize,
    /// Until then it is kept although it owns no slot.
    pub(super) idle_until: Instant,
    /// How it tells what it knows of the cluster.
    pub(super) question: Question,
}

#[derive(Debug)]
enum Link {
    Down { dial_at: Instant },
    Dialing { conn: ConnId, until: Instant },
    Open { id: ConnId, conn: Box<Conn>, until: Instant },
}

/// A connection that is no longer, and what it still unanswered, oldest first.
#[derive(Debug)]
pub(super) struct Disconnected {
    pub(super) was_ready: bool,
    pub(super) unanswered: Vec<Issued>,
}

/// Something that the server said, or that it makes no sense.
#[derive(Debug)]
pub(super) enum Received {
    Nothing,
    Inbound(Inbound),
    /// The connection is of no further use; perhaps because of the answer to this command.
    ProtocolError(Error, Option<Issued>),
}

impl Node {
    pub(super) fn new(now: Instant, address: Address, config: &Config) -> Self {
        Self {
            address,
            link: Link::Down { dial_at: now },
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            queue: VecDeque::new(),
            backoff: Backoff::new(config.reconnect_delay_max),
            ready_since: None,
            fault: None,
            untracked: None,
            is_announced: false,
            slots: 0,
            idle_until: now,
            question: Question::Shards,
        }
    }

    /// Why a command cannot be sent now.
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
        if matches!(&self.link, Link::Open { conn, .. } if conn.unwritten() > UNWRITTEN_MAX) {
            let text = "the server does not read what is sent";
            return Some(Error::new(ErrorKind::Overloaded, text));
        }
        if let Some(fault) = self.fault.as_ref().filter(|fault| is_lasting(fault))
            && !self.is_ready()
        {
            return Some(fault.clone());
        }
        // A lock that is not given back would outlast the server's trouble.
        let passes = command.gives_back() || self.breaker.allows(now);
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
        match &mut self.link {
            Link::Open { conn, .. } if conn.is_ready() || mutant!(HandshakeNotGated) => {
                conn.send(now, issued, locks);
            }
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => {
                enqueue(&mut self.queue, issued);
            }
        }
    }

    /// Asks what it knows of the cluster; gives the connection on which the answer will come.
    pub(super) fn ask_topology(&mut self) -> Option<ConnId> {
        match &mut self.link {
            Link::Open { id, conn, .. } if conn.is_ready() => {
                conn.ask_topology(self.question);
                Some(*id)
            }
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(&self.link, Link::Open { conn, .. } if conn.is_ready())
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.link, Link::Down { .. })
    }

    /// It may be that nobody is there.
    pub(super) fn is_in_trouble(&self) -> bool {
        !self.is_ready() && self.fault.is_some()
    }

    /// The server reports changes of what is read on the connection.
    pub(super) fn is_tracked(&self) -> bool {
        (self.untracked.is_none() || mutant!(UntrackedTrusted)) && self.is_ready()
    }

    /// How many commands wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        let awaited = match &self.link {
            Link::Open { conn, .. } => conn.awaited(),
            Link::Down { .. } | Link::Dialing { .. } => 0,
        };
        awaited + self.queue.len()
    }

    /// Says whether this was the connection that was wished for.
    pub(super) fn handle_connected(&mut self, now: Instant, id: ConnId, config: &Config) -> bool {
        match self.link {
            Link::Dialing { conn, until } if conn == id => {
                let conn = Box::new(Conn::open(now, config));
                self.link = Link::Open { id, conn, until };
                true
            }
            _ => false,
        }
    }

    /// Whether this is its connection, or the attempt to make it.
    pub(super) fn has(&self, id: ConnId) -> bool {
        match &self.link {
            Link::Dialing { conn, .. } => *conn == id,
            Link::Open { id: open, .. } => *open == id,
            Link::Down { .. } => false,
        }
    }

    /// Takes the next thing that the server said.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        id: ConnId,
        input: &mut Input<'_>,
        config: &Config,
        locks: &LockSettings,
    ) -> Received {
        match &mut self.link {
            Link::Open { id: open, conn, .. } if *open == id => {
                match conn.next(now, input, config, locks) {
                    Ok(None) => Received::Nothing,
                    Ok(Some(inbound)) => Received::Inbound(inbound),
                    Err(error) => Received::ProtocolError(error, conn.take_front()),
                }
            }
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => Received::Nothing,
        }
    }

    pub(super) fn on_ready(
        &mut self,
        now: Instant,
        untracked: Option<String>,
        locks: &LockSettings,
    ) {
        self.breaker.on_answer();
        self.ready_since = Some(now);
        self.fault = None;
        self.untracked = untracked;
        if let Link::Open { conn, .. } = &mut self.link {
            for issued in self.queue.drain(..) {
                conn.send(now, issued, locks);
            }
        }
    }

    pub(super) fn on_answer(&mut self, reply: &Reply) {
        self.breaker.on_answer();
        if !matches!(reply, Reply::Refused(_)) {
            self.backoff.reset();
        }
    }

    /// What to tell of a connection that is ready.
    pub(super) fn announce(&mut self, slots: SlotSet) -> RouterEvent {
        self.is_announced = true;
        RouterEvent::Up { untracked: self.untracked.clone(), slots }
    }

    /// Gives the connection up, and dials again after a pause.
    pub(super) fn on_disconnect(
        &mut self,
        now: Instant,
        reason: &Error,
        rng: &mut Rng,
    ) -> Disconnected {
        if let Some(since) = self.ready_since.take() {
            self.backoff.on_lost(now.saturating_duration_since(since));
        }
        let dial_at = now + self.backoff.pause(rng);
        let link = std::mem::replace(&mut self.link, Link::Down { dial_at });
        let was_ready = matches!(&link, Link::Open { conn, .. } if conn.is_ready());
        // A server that once was ready is worth more than one nonsensical reply.
        let counts = !was_ready || !is_lasting(reason);
        self.fault = counts.then(|| reason.clone());
        self.is_announced = false;
        let unanswered = match link {
            Link::Open { conn, .. } => conn.end().collect(),
            Link::Down { .. } | Link::Dialing { .. } => Vec::new(),
        };
        Disconnected { was_ready, unanswered }
    }

    /// Takes what waits for a connection, oldest first.
    pub(super) fn take_queue(&mut self) -> VecDeque<Issued> {
        std::mem::take(&mut self.queue)
    }

    /// The connection, or the attempt to make it, is to end. What it still unanswered stays here.
    pub(super) fn hang_up(&mut self, effects: &mut Effects) {
        let dial_at = match &self.link {
            Link::Down { dial_at } => *dial_at,
            Link::Dialing { until, .. } | Link::Open { until, .. } => *until,
        };
        match std::mem::replace(&mut self.link, Link::Down { dial_at }) {
            Link::Open { id, conn, .. } => {
                effects.actions.push_back(Action::HangUp { conn: id });
                self.queue.extend(conn.end());
            }
            Link::Dialing { conn, .. } => effects.actions.push_back(Action::HangUp { conn }),
            Link::Down { .. } => {}
        }
    }

    /// Dials under this name if it is time.
    pub(super) fn dial(&mut self, now: Instant, conn: ConnId, config: &Config) -> Option<Action> {
        match self.link {
            Link::Down { dial_at } if dial_at <= now => {
                self.link = Link::Dialing { conn, until: now + config.connect_timeout };
                Some(Action::Dial { conn, address: self.address.clone() })
            }
            Link::Down { .. } | Link::Dialing { .. } | Link::Open { .. } => None,
        }
    }

    /// Probes a silent connection; gives the connection that is to be given up, and why.
    pub(super) fn overdue_link(
        &mut self,
        now: Instant,
        config: &Config,
    ) -> Option<(ConnId, &'static str)> {
        match &mut self.link {
            Link::Dialing { conn, until } if *until <= now => {
                Some((*conn, "no connection within `connect_timeout`"))
            }
            Link::Open { id, conn, until } if !conn.is_ready() && *until <= now => {
                Some((*id, "no handshake within `connect_timeout`"))
            }
            Link::Open { id, conn, .. } => conn
                .heartbeat(now, config.heartbeat_interval)
                .then_some((*id, "no sign of life within twice `heartbeat_interval`")),
            Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    /// Reports what was issued before `limit` and whose sender still waits.
    pub(super) fn report_overdue(&mut self, now: Instant, limit: Instant, effects: &mut Effects) {
        if let Link::Open { conn, .. } = &mut self.link {
            while let Some((token, key)) = conn.next_overdue(limit)
                && !mutant!(OverdueNever)
            {
                self.breaker.on_failure(now);
                effects.events.push_back(RouterEvent::Overdue { token, key });
            }
        }
        while self.queue.front().is_some_and(|issued| issued.issued_at <= limit) {
            if let Some(issued) = self.queue.pop_front()
                && issued.token.is_some()
            {
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

    /// A call was dropped, and so is its place among the replies.
    #[cfg(redcache_mutants)]
    pub(super) fn drop_slot(&mut self, token: crate::protocol::command::Token) {
        if let Link::Open { conn, .. } = &mut self.link {
            conn.drop_slot(token);
        }
    }

    /// When there is something to do next; `redials` says whether a new connection will be wanted.
    pub(super) fn poll_timeout(&self, redials: bool, config: &Config) -> Option<Instant> {
        let link = match &self.link {
            Link::Down { .. } if !redials => None,
            Link::Down { dial_at } => Some(*dial_at),
            Link::Dialing { until, .. } => Some(*until),
            Link::Open { conn, until, .. } if !conn.is_ready() => Some(*until),
            Link::Open { conn, .. } => {
                let overdue = conn.oldest_issued().map(|issued| issued + config.command_timeout);
                earliest(overdue, Some(conn.heartbeat_at(config.heartbeat_interval)))
            }
        };
        let queued = self.queue.front().map(|issued| issued.issued_at + config.command_timeout);
        earliest(link, queued)
    }

    pub(super) fn take_transmit(&mut self, id: ConnId, into: &mut Vec<u8>) -> bool {
        into.clear();
        match &mut self.link {
            Link::Open { id: open, conn, .. } if *open == id => conn.take_transmit(into),
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => false,
        }
    }

    /// Its connection, if that has bytes to write.
    pub(super) fn transmits(&self) -> Option<ConnId> {
        match &self.link {
            Link::Open { id, conn, .. } if conn.unwritten() > 0 => Some(*id),
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    /// How many bytes wait to be written, if that is its connection.
    pub(super) fn unwritten(&self, id: ConnId) -> usize {
        match &self.link {
            Link::Open { id: open, conn, .. } if *open == id => conn.unwritten(),
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => 0,
        }
    }

    /// The connection that is open.
    pub(super) fn open_conn(&self) -> Option<ConnId> {
        match &self.link {
            Link::Open { id, .. } => Some(*id),
            Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }
}

/// Queues a command in the order of issue, by which it is overdue; one that is tried again is older than the last.
pub(super) fn enqueue(queue: &mut VecDeque<Issued>, issued: Issued) {
    let later = |other: &Issued| other.issued_at > issued.issued_at;
    let behind = queue.iter().rev().take_while(|other| later(other)).count();
    queue.insert(queue.len() - behind, issued);
}

/// A login that was refused, or a port that is not Redis, will not mend itself within a call.
pub(super) fn is_lasting(fault: &Error) -> bool {
    matches!(fault.kind(), ErrorKind::Authentication | ErrorKind::Protocol)
}
