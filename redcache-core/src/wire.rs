//! The path of commands to a server.
//!
//! The router picks the server; a connection turns commands into bytes and bytes into replies.

pub(crate) mod backoff;
mod conn;
mod framing;
pub(crate) mod inbound;
pub(crate) mod input;
pub(crate) mod issued;
mod login;
mod pieces;
pub(crate) mod router;
pub(crate) mod value_memory;
