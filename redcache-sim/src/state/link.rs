//! One connection between a process and the server: two pipes that keep the order of bytes and nothing else.
//!
//! Bytes arrive late, in pieces of any size, several sends at once, or never. A pipe may be held back for a while, go
//! dead without a word, or end at any byte.

use std::collections::VecDeque;

use bytes::Bytes;
use redcache_core::ConnId;

use crate::clock::Micros;
use crate::deque::pop_front_if;
use crate::server::ClientId;
use crate::state::pipe::Pipe;
use crate::state::slot_map::TopologyReply;

/// What the server owes the process on a link: news of a change that is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// This key has changed.
    Key(usize),
    /// Everything may have.
    All,
}

/// How far the conversation is before the first command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The process may say the next word of its handshake.
    Open,
    /// It has said one, and its answer has not come.
    Awaiting { last: bool },
    /// The answer ends at this place of the pipe to the process.
    Answered { ends_at: u64, last: bool },
    /// Commands may flow.
    Passed,
}

/// A connection, from the attempt to make it to its end on both sides.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) process: usize,
    /// Which life of the process it belongs to.
    pub(crate) life: u32,
    pub(crate) conn: ConnId,
    /// The server on the other side; `None` when nobody listens there.
    pub(crate) node: Option<usize>,
    pub(crate) client: Option<ClientId>,
    /// The process still uses it.
    pub(crate) is_current: bool,
    /// To the server.
    pub(crate) up: Pipe,
    /// To the process.
    pub(crate) down: Pipe,
    /// What the server has of a command that is not whole yet.
    pub(crate) received: Vec<u8>,
    pub(crate) gate: Gate,
    /// The server has confirmed that it tracks.
    pub(crate) tracked: bool,
    /// What is on its way to the process, and where it ends in the pipe.
    pub(crate) notices: VecDeque<(u64, Notice)>,
    /// Replies to writes of the process, by key, that are on their way.
    pub(crate) own_writes: VecDeque<(u64, usize)>,
    /// What nodes say of the cluster that is on its way.
    pub(crate) told: VecDeque<(u64, TopologyReply)>,
    /// The number of the map whose owners come next.
    pub(crate) epoch: Option<u64>,
    /// Keys that the process was told to be elsewhere, and by which of their owners.
    pub(crate) moved: Vec<(usize, u64)>,
    /// The last command was `ASKING`.
    pub(crate) asking: bool,
    /// When the connection before this one was lost.
    pub(crate) lost_at: Micros,
    /// Locks that were granted to the process, by key, whose answers are on their way.
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
            down: Pipe::default(),
            received: Vec::new(),
            gate: Gate::Open,
            tracked: false,
            notices: VecDeque::new(),
            own_writes: VecDeque::new(),
            told: VecDeque::new(),
            epoch: None,
            moved: Vec::new(),
            asking: false,
            lost_at: 0,
            granted: VecDeque::new(),
        }
    }

    /// Forgets what has reached the process, and gives the keys whose writes of its own were answered.
    pub(crate) fn settle(&mut self) -> Vec<usize> {
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

    /// The process will hear that `key` has changed, or that the whole promise is void.
    pub(crate) fn will_invalidate(&self, key: usize) -> bool {
        let concerns = |notice: &Notice| match notice {
            Notice::Key(other) => *other == key,
            Notice::All => true,
        };
        self.notices.iter().any(|(_, notice)| concerns(notice))
            || self.own_writes.iter().any(|(_, other)| *other == key)
    }

    /// The process knows from here that a key has gone to this owner, or a later one.
    pub(crate) fn knows_owner(&self, key: usize, version: u64) -> bool {
        self.moved.iter().any(|&(moved, to)| moved == key && to >= version)
    }

    /// The process will hear that the connection has ended, from the other side or by its own probes.
    pub(crate) fn will_end(&self) -> bool {
        self.down.end.is_some() || self.down.dead || self.client.is_none()
    }
}
