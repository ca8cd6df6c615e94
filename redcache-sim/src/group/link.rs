//! One connection between a process and a server or a sentinel.

use std::collections::VecDeque;

use redcache_core::engine::ConnId;

use crate::wiring::Wire;

/// The far end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FarEnd {
    Server(usize),
    Sentinel(usize),
}

/// A connection, from the dial to its end on both sides.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) wire: Wire,
    /// `None` if nothing listens at the address.
    pub(super) to: Option<FarEnd>,
    /// Whether the sentinel has accepted the connection.
    pub(super) is_accepted: bool,
    /// The password that the process has sent last.
    pub(super) sent_password: Vec<u8>,
    /// The password that a sentinel has accepted last, and where its answer ends in the pipe.
    pub(super) accepted: Option<(u64, Vec<u8>)>,
    /// Whether the client has subscribed to switches.
    pub(super) is_subscribed: bool,
    /// Bytes of an incomplete command at the far end.
    pub(super) received: Vec<u8>,
    /// The role in the server's greeting, and where the greeting ends in the pipe.
    pub(super) greeting: Option<(u64, Role)>,
    /// The primaries that a sentinel has named, and where each name ends in the pipe. `None` ends
    /// the session, because the sentinel does not know the service.
    pub(super) named: VecDeque<(u64, Option<usize>)>,
}

/// The role in a server's greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Primary,
    Replica,
}

impl Link {
    pub(super) fn new(process: usize, conn: ConnId, to: Option<FarEnd>) -> Self {
        Self {
            wire: Wire::new(process, conn),
            to,
            is_accepted: false,
            sent_password: Vec::new(),
            accepted: None,
            is_subscribed: false,
            received: Vec::new(),
            greeting: None,
            named: VecDeque::new(),
        }
    }

    /// Return the server at the far end.
    pub(super) fn server(&self) -> Option<usize> {
        match self.to {
            Some(FarEnd::Server(server)) => Some(server),
            Some(FarEnd::Sentinel(_)) | None => None,
        }
    }

    /// Return the role that the process knows from the greeting.
    pub(super) fn known_role(&self) -> Option<Role> {
        self.greeting.filter(|(end, _)| *end <= self.wire.down.delivered).map(|(_, role)| role)
    }

    /// Return whether everything that the far end sent has arrived.
    pub(super) fn is_quiet(&self) -> bool {
        self.wire.down.sent == self.wire.down.delivered
            && self.wire.down.end.is_none()
            && !self.wire.down.dead
    }
}
