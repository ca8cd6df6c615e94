//! A command and its reply.

use std::time::Instant;

use crate::api::error::{Error, ErrorKind};
use crate::protocol::command::Command;
use crate::protocol::reply::Reply;

/// A command and the server's reply to it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) command: Command,
    pub(crate) reply: Reply,
    pub(crate) sent_at: Instant,
    /// The server may have executed an earlier copy of the command, sent on a connection that was
    /// lost.
    pub(crate) interrupted: bool,
}

/// Return the error for a reply of a type that its command cannot have.
pub(crate) fn mismatch() -> Error {
    Error::new(ErrorKind::Protocol, "the reply does not fit the command")
}
