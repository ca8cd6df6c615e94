//! The names of connections and nodes.

/// Names one connection attempt and, if it succeeds, the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    pub(super) number: u64,
    pub(super) node: NodeId,
}

/// A connection that has bytes to write, and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// The connection.
    pub conn: ConnId,
    /// The number of bytes.
    pub bytes: usize,
    /// The size of all unanswered commands of the connection in bytes, these bytes included. The
    /// server has read everything else.
    pub unanswered: usize,
}

impl Transmit {
    /// Return the bytes of an open connection; `None` if there are none.
    pub(super) fn of(conn: ConnId, bytes: usize, unanswered: usize) -> Option<Self> {
        let unanswered = unanswered.max(bytes);
        (bytes > 0).then_some(Self { conn, bytes, unanswered })
    }
}

impl ConnId {
    /// Return `true` if the connection is one to a sentinel.
    pub fn is_to_sentinel(self) -> bool {
        self.node == NodeId::SENTINEL
    }
}

/// Names one credentials request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoginId {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

impl LoginId {
    /// Return the connection that logs in.
    pub fn conn(self) -> ConnId {
        self.conn
    }

    /// Return `true` if the login is one to a sentinel.
    pub fn is_to_sentinel(self) -> bool {
        self.conn.is_to_sentinel()
    }
}

/// Names a node as long as the router knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u16);

impl NodeId {
    /// The standalone server.
    pub(super) const ONLY: Self = Self(0);
    /// The id of the sentinel in a connection's name. No node has this id.
    pub(super) const SENTINEL: Self = Self(u16::MAX);

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}
