//! The messages that a server sends.

use crate::api::key::Key;
use crate::protocol::reply::Reply;
use crate::protocol::topology::{NoTopology, Topology};

use super::issued::Issued;

/// One message of the server.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The handshake is complete.
    Ready { untracked: Option<String> },
    /// The server refuses the login of the handshake; other credentials may be accepted.
    LoginRefused,
    /// The server has answered a login on the ready connection.
    LoggedIn { is_accepted: bool },
    /// A command is answered.
    Reply { issued: Issued, reply: Reply },
    /// The server has answered a `PING`.
    Pong,
    /// The server invalidated these keys.
    Invalidated(Vec<Key>),
    /// The server invalidated every key.
    Flushed,
    /// The node answered a topology query.
    Topology(Result<Topology, NoTopology>),
}
