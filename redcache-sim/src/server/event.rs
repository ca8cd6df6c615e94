//! What a server asks its driver to do.

use super::client::ClientId;

/// What a server wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes to the client.
    Transmit {
        /// The connection to send on.
        client: ClientId,
        /// What to send; never empty.
        bytes: Vec<u8>,
    },
    /// End the connection. The server has forgotten the client already.
    HangUp {
        /// The connection to end, once all its bytes are sent.
        client: ClientId,
    },
}
