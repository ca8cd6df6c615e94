//! One connection between a process and a server: two pipes.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use redcache_core::engine::{ConnId, Engine, LongValue};

use crate::clock::Micros;
use crate::deque::pop_front_if;
use crate::server::ClientId;
use crate::state::near_history::ReadValue;
use crate::state::pipe::Pipe;
use crate::state::slot_map::TopologyReply;

/// An invalidation in transit to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// An invalidation of this key.
    Key(usize),
    /// An invalidation of all keys.
    All,
}

/// A value or an invalidation in transit to the process.
#[derive(Debug, Clone)]
pub(crate) enum KeyNews {
    Read(usize, ReadValue),
    /// An invalidation other than the echo of a command of the process.
    Changed(Notice),
}

/// The progress of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The process may send the next command of the handshake.
    Open,
    /// The reply to the last one is outstanding.
    Awaiting { last: bool },
    /// The reply ends at this position of the pipe to the process.
    Answered { ends_at: u64, last: bool },
    /// The handshake is complete.
    Passed,
}

/// A connection, from the dial to its end on both sides.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) process: usize,
    /// The life of the process that the link belongs to.
    pub(crate) life: u32,
    pub(crate) conn: ConnId,
    /// The server at the other end; `None` if nothing listens there.
    pub(crate) node: Option<usize>,
    pub(crate) client: Option<ClientId>,
    /// Whether the process still uses the link.
    pub(crate) is_current: bool,
    /// Bytes to the server.
    pub(crate) up: Pipe,
    /// The time at which a command last filled the link up to its limit of unanswered bytes.
    pub(crate) full_at: Option<Micros>,
    /// Bytes to the process.
    pub(crate) down: Pipe,
    pub(crate) long_value: LongValue,
    /// Bytes of an incomplete command at the server.
    pub(crate) received: Vec<u8>,
    pub(crate) gate: Gate,
    /// The time at which the handshake was complete.
    pub(crate) passed_at: Micros,
    /// Whether the last command of the handshake was `CLIENT TRACKING`.
    pub(crate) sets_tracking: bool,
    /// Whether `PING` was sent behind that command.
    pub(crate) probes: bool,
    /// Whether the server has confirmed tracking.
    pub(crate) tracked: bool,
    /// Invalidations in transit, and the positions at which they end in the pipe.
    pub(crate) notices: VecDeque<(u64, Notice)>,
    /// Values and changes of keys in transit, if stale answers are allowed.
    pub(crate) news: VecDeque<(u64, KeyNews)>,
    /// The ends of sent commands, and the times at which they were sent.
    pub(crate) sent: VecDeque<(u64, Micros)>,
    /// The ends of sent commands, and the keys that they name, if large values have a link of their
    /// own.
    pub(crate) sent_keys: VecDeque<(u64, usize)>,
    /// The number of executed bytes.
    pub(crate) executed: u64,
    /// Replies to the process's own writes in transit, by key.
    pub(crate) own_writes: VecDeque<(u64, usize)>,
    /// Topology replies in transit.
    pub(crate) told: VecDeque<(u64, TopologyReply)>,
    /// The epoch of the slot map that comes next.
    pub(crate) epoch: Option<u64>,
    /// Keys that a node redirected the process for, and the number of the owner it named.
    pub(crate) moved: Vec<(usize, u64)>,
    /// Whether the last command was `ASKING`.
    pub(crate) asking: bool,
    /// The keys that were read in pieces.
    pub(crate) in_pieces: BTreeSet<usize>,
    /// The time at which the connection before this one was lost.
    pub(crate) lost_at: Micros,
    /// Locks granted to the process whose replies are in transit, by key.
    pub(crate) granted: VecDeque<(u64, usize, Bytes)>,
}

impl Link {
    pub(crate) fn new(process: usize, life: u32, conn: ConnId, node: Option<usize>) -> Self {
        Self {
            process,
            life,
            conn,
            node,
            client: None,
            is_current: true,
            up: Pipe::default(),
            full_at: None,
            down: Pipe::default(),
            long_value: LongValue::default(),
            received: Vec::new(),
            gate: Gate::Open,
            passed_at: 0,
            sets_tracking: false,
            probes: false,
            tracked: false,
            notices: VecDeque::new(),
            news: VecDeque::new(),
            sent: VecDeque::new(),
            sent_keys: VecDeque::new(),
            executed: 0,
            own_writes: VecDeque::new(),
            told: VecDeque::new(),
            epoch: None,
            moved: Vec::new(),
            asking: false,
            in_pieces: BTreeSet::new(),
            lost_at: 0,
            granted: VecDeque::new(),
        }
    }

    /// Pass bytes to the engine of the process. `copies` is `true` for an adapter that copies long
    /// values itself.
    pub(crate) fn pass(
        &mut self,
        bytes: &[u8],
        (engine, at): (&mut Engine, Instant),
        copies: bool,
    ) {
        let conn = self.conn;
        if copies {
            let handle = |received| (engine.handle_received(at, conn, received), ());
            self.long_value.receive(bytes, handle);
        } else {
            engine.handle_read(at, conn, bytes);
        }
    }

    /// Remove the data that has reached the process and return the keys of its answered writes.
    pub(crate) fn take_delivered(&mut self) -> Vec<usize> {
        let delivered = self.down.delivered;
        while pop_front_if(&mut self.notices, |(end, _)| *end <= delivered).is_some() {}
        let mut written = Vec::new();
        while let Some((_, key)) = pop_front_if(&mut self.own_writes, |(end, _)| *end <= delivered)
        {
            written.push(key);
        }
        if let Gate::Answered { ends_at, last } = self.gate
            && ends_at <= delivered
        {
            self.gate = if last { Gate::Passed } else { Gate::Open };
        }
        written
    }

    /// Record that the server executes a command of `length` bytes. Return the instant at which it
    /// was sent.
    pub(crate) fn execute(&mut self, length: usize) -> Micros {
        self.executed += length as u64;
        let executed = self.executed;
        while pop_front_if(&mut self.sent_keys, |(end, _)| *end <= executed).is_some() {}
        let mut sent_at = 0;
        while let Some((_, at)) = pop_front_if(&mut self.sent, |(end, _)| *end <= executed) {
            sent_at = at;
        }
        sent_at
    }

    /// Return whether an invalidation of `key` is in transit to the process.
    pub(crate) fn will_invalidate(&self, key: usize) -> bool {
        let concerns = |notice: &Notice| match notice {
            Notice::Key(other) => *other == key,
            Notice::All => true,
        };
        self.notices.iter().any(|(_, notice)| concerns(notice))
            || self.own_writes.iter().any(|(_, other)| *other == key)
    }

    /// Return whether a node has redirected the process to this owner of the key, or a later one.
    pub(crate) fn knows_owner(&self, key: usize, version: u64) -> bool {
        self.moved.iter().any(|&(moved, to)| moved == key && to >= version)
    }

    /// Return whether the process will notice the end of the connection, by a close or by its
    /// heartbeat.
    pub(crate) fn will_end(&self) -> bool {
        self.down.end.is_some() || self.down.dead || self.client.is_none()
    }
}
