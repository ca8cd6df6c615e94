//! From a command to the connection that carries it, and from a lost connection to the next one.
//!
//! A command that the router has taken is answered exactly once, with a [`News::Reply`] or a [`News::Failed`], no later
//! than the command timeout. It is sent again only if the server has said that it did not execute it, or if executing
//! it twice is the same as once.

use std::collections::VecDeque;
use std::time::Instant;

use crate::command::{Command, Token, Wire};
use crate::config::{Address, Config};
use crate::conn::backoff::Backoff;
use crate::conn::{Conn, Inbound, Input, Issued};
use crate::error::{CacheError, ErrorKind, Transient};
use crate::key::Key;
use crate::reply::Reply;
use crate::rng::Rng;

mod breaker;

use breaker::Breaker;

/// Names one connection attempt and, if it succeeds, the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

/// What the router has to tell the engine.
#[derive(Debug)]
pub(crate) enum News {
    /// A command was answered. Without a token its sender has given up, but the effect is there.
    Reply {
        token: Option<Token>,
        command: Command,
        reply: Reply,
        sent_at: Instant,
        /// It may have been executed before, on a connection that was lost.
        interrupted: bool,
    },
    /// A command got no answer.
    Failed {
        token: Token,
        command: Command,
        error: CacheError,
    },
    /// The sender of a command has waited long enough; its answer will come without a token.
    Overdue {
        token: Token,
        key: Key,
    },
    Invalidated(Vec<Key>),
    Flushed,
    /// The connection is ready; `untracked` says why the server will not report changes.
    Up {
        untracked: Option<String>,
    },
    /// The connection is gone, and with it all that was tracked.
    Down {
        reason: CacheError,
    },
    /// An attempt to connect failed.
    NotUp {
        reason: CacheError,
    },
}

/// What the router wants of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Dial { conn: ConnId, address: Address },
    HangUp { conn: ConnId },
}

/// How often one command is sent before its failure is final.
const ATTEMPTS_MAX: u8 = 5;
/// How long a command waits after a refusal that passes by itself.
const RETRY_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
/// How many bytes may wait to be written before further commands are refused.
const UNWRITTEN_MAX: usize = 256 << 20;

#[derive(Debug)]
pub(crate) struct Router {
    link: Link,
    breaker: Breaker,
    /// Commands that wait for a ready connection, oldest first.
    queue: VecDeque<Issued>,
    /// Commands that the server refused for the moment, and when to try them again.
    paused: VecDeque<(Instant, Issued)>,
    news: VecDeque<News>,
    wishes: VecDeque<Wish>,
    backoff: Backoff,
    rng: Rng,
    dialed: u64,
    /// Why the last attempt failed.
    fault: Option<CacheError>,
    closed: bool,
}

#[derive(Debug)]
enum Link {
    Down { dial_at: Instant },
    Dialing { conn: ConnId, until: Instant },
    Open { id: ConnId, conn: Box<Conn>, until: Instant },
}

impl Router {
    pub(crate) fn new(now: Instant, config: &Config, rng: Rng) -> Self {
        Self {
            link: Link::Down { dial_at: now },
            breaker: Breaker::new(config.breaker_failures, config.breaker_pause),
            queue: VecDeque::new(),
            paused: VecDeque::new(),
            news: VecDeque::new(),
            wishes: VecDeque::new(),
            backoff: Backoff::new(config.reconnect_delay_max),
            rng,
            dialed: 0,
            fault: None,
            closed: false,
        }
    }

    /// Sends a command, now or once there is a connection.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        token: Token,
        command: Command,
        config: &Config,
        wire: &Wire,
    ) {
        if let Some(error) = self.refusal(now, &command, config) {
            self.news.push_back(News::Failed { token, command, error });
            return;
        }
        let issued = Issued {
            token: Some(token),
            command,
            issued_at: now,
            sent_at: now,
            attempts: 0,
            interrupted: false,
        };
        self.dispatch(now, issued, wire);
    }

    fn refusal(&mut self, now: Instant, command: &Command, config: &Config) -> Option<CacheError> {
        // What is released on the way out still finds an open connection.
        if self.closed && !self.is_ready() {
            return Some(CacheError::closed());
        }
        let (awaited, unwritten) = match &self.link {
            Link::Open { conn, .. } => (conn.awaited(), conn.unwritten()),
            Link::Down { .. } | Link::Dialing { .. } => (0, 0),
        };
        if awaited + self.queue.len() + self.paused.len() >= config.inflight_max {
            return Some(CacheError::new(ErrorKind::Overloaded, "the limit is `inflight_max`"));
        }
        if unwritten > UNWRITTEN_MAX {
            return Some(CacheError::new(
                ErrorKind::Overloaded,
                "the server does not read what is sent",
            ));
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

    fn resting(&self, config: &Config) -> CacheError {
        let reason =
            self.fault.as_ref().map_or_else(String::new, |fault| format!(", last: {fault}"));
        let (failures, pause) = (config.breaker_failures, config.breaker_pause);
        let text = format!(
            "{failures} commands in a row went unanswered, next try within {pause:?}{reason}"
        );
        CacheError::new(ErrorKind::Unavailable, text)
    }

    fn dispatch(&mut self, now: Instant, issued: Issued, wire: &Wire) {
        match &mut self.link {
            Link::Open { conn, .. } if conn.is_ready() || mutant!(HandshakeNotGated) => {
                conn.send(now, issued, wire)
            }
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => self.enqueue(issued),
        }
    }

    /// A call was dropped, and so is its place among the replies.
    #[cfg(redcache_mutants)]
    pub(crate) fn drop_slot(&mut self, token: Token) {
        if let Link::Open { conn, .. } = &mut self.link {
            conn.drop_slot(token);
        }
    }

    /// Queues a command in the order of issue, by which it is overdue; one that is tried again is older than the last.
    fn enqueue(&mut self, issued: Issued) {
        let later = |other: &Issued| other.issued_at > issued.issued_at;
        let behind = self.queue.iter().rev().take_while(|other| later(other)).count();
        self.queue.insert(self.queue.len() - behind, issued);
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(&self.link, Link::Open { conn, .. } if conn.is_ready())
    }

    /// How many commands wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        let awaited = match &self.link {
            Link::Open { conn, .. } => conn.awaited(),
            Link::Down { .. } | Link::Dialing { .. } => 0,
        };
        awaited + self.queue.len() + self.paused.len()
    }

    pub(crate) fn handle_connected(&mut self, now: Instant, id: ConnId, config: &Config) {
        match self.link {
            Link::Dialing { conn, until } if conn == id => {
                let conn = Box::new(Conn::open(now, config));
                self.link = Link::Open { id, conn, until };
            }
            // An attempt that has been given up succeeded after all.
            _ => self.wishes.push_back(Wish::HangUp { conn: id }),
        }
    }

    /// The connection, or the attempt to make it, has failed.
    pub(crate) fn handle_disconnected(
        &mut self,
        now: Instant,
        id: ConnId,
        reason: &str,
        config: &Config,
    ) {
        let current = match &self.link {
            Link::Dialing { conn, .. } => *conn == id,
            Link::Open { id: open, .. } => *open == id,
            Link::Down { .. } => false,
        };
        if current {
            let text = format!("{}: {reason}", config.address);
            self.fall(now, CacheError::new(ErrorKind::Unavailable, text));
        }
    }

    /// Takes the next thing that the server said.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        id: ConnId,
        input: &mut Input<'_>,
        config: &Config,
        wire: &Wire,
    ) -> Option<News> {
        loop {
            let Link::Open { id: open, conn, .. } = &mut self.link else {
                return None;
            };
            if *open != id {
                return None;
            }
            match conn.next(now, input, config, wire) {
                Ok(None) => return None,
                Ok(Some(Inbound::Invalidated(keys))) => return Some(News::Invalidated(keys)),
                Ok(Some(Inbound::Flushed)) => return Some(News::Flushed),
                Ok(Some(Inbound::Ready { untracked })) => {
                    self.on_ready(now, wire);
                    return Some(News::Up { untracked });
                }
                Ok(Some(Inbound::Reply { issued, reply })) => {
                    if let Some(news) = self.on_reply(now, issued, reply, config) {
                        return Some(news);
                    }
                }
                Err(error) => {
                    let culprit = conn.take_front();
                    self.wishes.push_back(Wish::HangUp { conn: id });
                    self.fall(now, error.clone());
                    self.fail_culprit(culprit, error);
                    return None;
                }
            }
        }
    }

    fn on_ready(&mut self, now: Instant, wire: &Wire) {
        self.breaker.on_answer();
        self.backoff.reset();
        self.fault = None;
        if let Link::Open { conn, .. } = &mut self.link {
            for issued in self.queue.drain(..) {
                conn.send(now, issued, wire);
            }
        }
    }

    fn on_reply(
        &mut self,
        now: Instant,
        issued: Issued,
        reply: Reply,
        config: &Config,
    ) -> Option<News> {
        self.breaker.on_answer();
        if let Reply::Refused(refusal) = &reply
            && Transient::of(refusal.0.as_bytes()).is_some()
            && issued.token.is_some()
            && now + RETRY_PAUSE < issued.issued_at + config.command_timeout
        {
            if !mutant!(RefusedForgotten) {
                self.paused.push_back((now + RETRY_PAUSE, issued));
            }
            return None;
        }
        let Issued { token, command, sent_at, interrupted, .. } = issued;
        Some(News::Reply { token, command, reply, sent_at, interrupted })
    }

    /// Gives the connection up. What may be sent again waits for the next one.
    fn fall(&mut self, now: Instant, reason: CacheError) {
        let dial_at = now + self.backoff.pause(&mut self.rng);
        let link = std::mem::replace(&mut self.link, Link::Down { dial_at });
        let was_ready = matches!(&link, Link::Open { conn, .. } if conn.is_ready());
        // Before the news of any single command: from here on nothing is tracked.
        let down = if was_ready {
            News::Down { reason: reason.clone() }
        } else {
            News::NotUp { reason: reason.clone() }
        };
        self.news.push_back(down);
        if let Link::Open { conn, .. } = link {
            for issued in conn.end().collect::<Vec<_>>().into_iter().rev() {
                self.requeue(issued);
            }
        }
        // A server that once was ready is worth more than one nonsensical reply.
        let lasting = !was_ready && is_lasting(&reason);
        if lasting || self.closed {
            self.fail_queue(&reason);
        }
        self.fault = (lasting || !is_lasting(&reason)).then_some(reason);
    }

    /// The command whose reply made no sense is not tried again; one that is too large would be so each time.
    fn fail_culprit(&mut self, culprit: Option<Issued>, error: CacheError) {
        if let Some(Issued { token: Some(token), command, .. }) = culprit {
            self.news.push_back(News::Failed { token, command, error });
        }
    }

    fn requeue(&mut self, mut issued: Issued) {
        issued.interrupted = true;
        let Some(token) = issued.token else { return };
        let is_repeatable = issued.command.is_repeatable() || mutant!(RetryOfAnything);
        if is_repeatable && issued.attempts < ATTEMPTS_MAX {
            self.queue.push_front(issued);
        } else {
            let error = CacheError::new(ErrorKind::Interrupted, "");
            self.news.push_back(News::Failed { token, command: issued.command, error });
        }
    }

    fn fail_queue(&mut self, error: &CacheError) {
        let paused = self.paused.drain(..).map(|(_, issued)| issued);
        for Issued { token, command, .. } in self.queue.drain(..).chain(paused) {
            if let Some(token) = token {
                self.news.push_back(News::Failed { token, command, error: error.clone() });
            }
        }
    }

    /// Does what is due: dial, give up an attempt, probe, report commands that wait too long, try paused ones again.
    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config, wire: &Wire) {
        match &mut self.link {
            Link::Down { dial_at } if *dial_at <= now && !self.closed => self.dial(now, config),
            Link::Down { .. } => {}
            Link::Dialing { conn, until } if *until <= now => {
                let conn = *conn;
                self.give_up(now, conn, "no connection within `connect_timeout`", config);
            }
            Link::Open { id, conn, until } if !conn.is_ready() && *until <= now => {
                let id = *id;
                self.give_up(now, id, "no handshake within `connect_timeout`", config);
            }
            Link::Open { id, conn, .. } => {
                let id = *id;
                if conn.heartbeat(now, config.heartbeat_interval) {
                    let why = "no sign of life within twice `heartbeat_interval`";
                    self.give_up(now, id, why, config);
                }
            }
            Link::Dialing { .. } => {}
        }
        self.report_overdue(now, config);
        while self.paused.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, issued)) = self.paused.pop_front() {
                self.dispatch(now, issued, wire);
            }
        }
    }

    fn dial(&mut self, now: Instant, config: &Config) {
        self.dialed += 1;
        let conn = ConnId(self.dialed);
        self.link = Link::Dialing { conn, until: now + config.connect_timeout };
        self.wishes.push_back(Wish::Dial { conn, address: config.address.clone() });
    }

    fn give_up(&mut self, now: Instant, conn: ConnId, why: &str, config: &Config) {
        self.wishes.push_back(Wish::HangUp { conn });
        self.handle_disconnected(now, conn, why, config);
    }

    fn report_overdue(&mut self, now: Instant, config: &Config) {
        let Some(limit) = now.checked_sub(config.command_timeout) else {
            return;
        };
        if let Link::Open { conn, .. } = &mut self.link {
            while let Some((token, key)) = conn.next_overdue(limit)
                && !mutant!(OverdueNever)
            {
                self.breaker.on_failure(now);
                self.news.push_back(News::Overdue { token, key });
            }
        }
        while self.queue.front().is_some_and(|issued| issued.issued_at <= limit) {
            let Some(Issued { token: Some(token), command, .. }) = self.queue.pop_front() else {
                continue;
            };
            self.breaker.on_failure(now);
            let error = self.unavailable();
            self.news.push_back(News::Failed { token, command, error });
        }
    }

    fn unavailable(&self) -> CacheError {
        let no_answer =
            || CacheError::new(ErrorKind::Unavailable, "no connection within `command_timeout`");
        self.fault.clone().unwrap_or_else(no_answer)
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next.
    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        let link = match &self.link {
            Link::Down { .. } if self.closed => None,
            Link::Down { dial_at } => Some(*dial_at),
            Link::Dialing { until, .. } => Some(*until),
            Link::Open { conn, until, .. } if !conn.is_ready() => Some(*until),
            Link::Open { conn, .. } => {
                let overdue = conn.oldest_issued().map(|issued| issued + config.command_timeout);
                earliest(overdue, Some(conn.heartbeat_at(config.heartbeat_interval)))
            }
        };
        let queued = self.queue.front().map(|issued| issued.issued_at + config.command_timeout);
        let paused = self.paused.front().map(|(at, _)| *at);
        earliest(link, earliest(queued, paused))
    }

    /// Takes the next piece of news that did not come straight from the server.
    pub(crate) fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(crate) fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    pub(crate) fn take_transmit(&mut self, id: ConnId, into: &mut Vec<u8>) -> bool {
        into.clear();
        match &mut self.link {
            Link::Open { id: open, conn, .. } if *open == id => conn.take_transmit(into),
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => false,
        }
    }

    /// The connection that has bytes to write.
    pub(crate) fn transmits(&self) -> Option<ConnId> {
        match &self.link {
            Link::Open { id, conn, .. } if conn.unwritten() > 0 => Some(*id),
            Link::Open { .. } | Link::Down { .. } | Link::Dialing { .. } => None,
        }
    }

    /// How many bytes wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        match &self.link {
            Link::Open { conn, .. } => conn.unwritten(),
            Link::Down { .. } | Link::Dialing { .. } => 0,
        }
    }

    /// Makes no further connection; what is under way, and what is released, still gets through.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        if !self.is_ready() {
            self.hang_up();
        }
    }

    /// Ends the connection, whatever is under way.
    pub(crate) fn hang_up(&mut self) {
        self.closed = true;
        let closed = CacheError::closed();
        let dial_at = match &self.link {
            Link::Down { dial_at } => *dial_at,
            Link::Dialing { until, .. } | Link::Open { until, .. } => *until,
        };
        match std::mem::replace(&mut self.link, Link::Down { dial_at }) {
            Link::Open { id, conn, .. } => {
                self.wishes.push_back(Wish::HangUp { conn: id });
                self.queue.extend(conn.end());
            }
            Link::Dialing { conn, .. } => self.wishes.push_back(Wish::HangUp { conn }),
            Link::Down { .. } => {}
        }
        self.fail_queue(&closed);
    }
}

/// A login that was refused, or a port that is not Redis, will not mend itself within a call.
fn is_lasting(fault: &CacheError) -> bool {
    matches!(fault.kind(), ErrorKind::Auth | ErrorKind::Protocol)
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
