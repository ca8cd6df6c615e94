//! A command and its reply.

use crate::api::error::{Error, ErrorKind};
use crate::protocol::reply::Reply;
use crate::wire::issued::Issued;

/// A command and the server's reply to it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) issued: Issued,
    pub(crate) reply: Reply,
}

/// Return the error for a reply of a type that its command cannot have.
pub(crate) fn mismatch() -> Error {
    Error::new(ErrorKind::Protocol, "the reply does not fit the command")
}
