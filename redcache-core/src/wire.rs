//! How commands travel: the router picks a server, a connection turns commands into bytes and bytes into replies.

pub(crate) mod conn;
pub(crate) mod router;
